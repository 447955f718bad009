"""slack_sdk's Socket Mode client on asyncio and aiohttp, as its documentation shows it."""

import asyncio

from many import API, TOKENS, counted, live
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient


async def on_request(client, request):
    await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
    counted()


async def main():
    clients = []
    for token in TOKENS:
        client = SocketModeClient(app_token=token, web_client=AsyncWebClient(base_url=API))
        client.socket_mode_request_listeners.append(on_request)
        await client.connect()
        clients.append(client)
    await asyncio.to_thread(live)


asyncio.run(main())
