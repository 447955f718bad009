"""slack_sdk's built-in Socket Mode client against the Slack at SLACK_API_URL: acks everything, says everything."""

import json
import logging
import os
import sys
from threading import Lock

from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web import WebClient

stdout = Lock()

# What comes with a smaller retry number is left unacked, so that Slack sends it again.
ACKS_FROM_RETRY = int(os.environ.get("PEER_ACKS_FROM_RETRY", "0"))


def say(event, **fields):
    """One JSON line for each thing that happens; listeners run on several threads."""
    with stdout:
        print(json.dumps({"event": event, **fields}), flush=True)


def wanted(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set")
    return value


def on_message(text):
    """The SDK has no event of its own for hello and disconnect."""
    try:
        message = json.loads(text)
    except ValueError:
        return
    if message.get("type") == "hello":
        say("connected")
    elif message.get("type") == "disconnect":
        say("disconnect", reason=message.get("reason"))


def on_request(client, request):
    say(
        "received",
        id=request.payload.get("event_id", request.envelope_id),
        envelope_id=request.envelope_id,
        type=request.type,
        retry_num=request.retry_attempt,
        retry_reason=request.retry_reason,
    )
    if (request.retry_attempt or 0) < ACKS_FROM_RETRY:
        return
    answer = {"text": "pong"} if request.type == "slash_commands" else None
    try:
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id, answer))
    except Exception as error:  # The socket went between the event and its ack: Slack sends the event again.
        say("ack_failed", envelope_id=request.envelope_id, error=str(error))


def main():
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    client = SocketModeClient(
        app_token=wanted("SLACK_APP_TOKEN"),
        web_client=WebClient(token=os.environ.get("SLACK_BOT_TOKEN"), base_url=wanted("SLACK_API_URL")),
        on_message_listeners=[on_message],
        on_error_listeners=[lambda error: say("error", error=str(error))],
        on_close_listeners=[lambda code, reason=None: say("disconnected", code=code)],
    )
    client.socket_mode_request_listeners.append(on_request)
    say("connecting")
    try:
        client.connect()
    except Exception as error:
        reason = error.response["error"] if isinstance(error, SlackApiError) else str(error)
        say("unable_to_socket_mode_start", error=reason)
        sys.stdout.flush()
        os._exit(1)  # The client's threads are no daemons.
    sys.stdin.read()
    client.close()
    say("ended")
    os._exit(0)


if __name__ == "__main__":
    main()
