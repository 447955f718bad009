"""Bolt for Python, which acks events by itself."""

from many import API, TOKENS, counted, live
from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk.web import WebClient

for token in TOKENS:
    app = App(client=WebClient(token="xoxb-bench", base_url=API))
    app.event("message")(counted)
    SocketModeHandler(app, token).connect()
live()
