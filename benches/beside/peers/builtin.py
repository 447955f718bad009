"""slack_sdk's built-in Socket Mode client, as its documentation shows it."""

from many import API, TOKENS, counted, live
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web import WebClient


def on_request(client, request):
    client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
    counted()


for token in TOKENS:
    client = SocketModeClient(app_token=token, web_client=WebClient(base_url=API))
    client.socket_mode_request_listeners.append(on_request)
    client.connect()
live()
