// @slack/bolt in Socket Mode against the Slack at SLACK_API_URL: acks everything, says everything.

import { follow, live, logger, received, require, say, wanted } from "./lines.mjs";

const { App, SocketModeReceiver } = require("@slack/bolt");

const clientOptions = { slackApiUrl: wanted("SLACK_API_URL") };
const receiver = new SocketModeReceiver({
  appToken: wanted("SLACK_APP_TOKEN"),
  installerOptions: { clientOptions },
  logger,
});
const app = new App({ token: wanted("SLACK_BOT_TOKEN"), receiver, clientOptions, logger, ignoreSelf: false });
follow(receiver.client);

// Bolt does not tell its listeners the envelope's id and type: both are taken where the receiver takes them.
receiver.client.on("slack_event", ({ envelope_id, type, body, retry_num, retry_reason }) => {
  received(type, body, retry_num, retry_reason, envelope_id);
});

const any = /.*/;
app.event(any, async () => {});
app.command(any, async ({ ack }) => ack({ text: "pong" }));
for (const kind of ["action", "shortcut", "options"]) {
  app[kind](any, async ({ ack }) => ack());
}
for (const type of ["view_submission", "view_closed"]) {
  app.view({ callback_id: any, type }, async ({ ack }) => ack());
}
app.error(async (error) => say("error", { error: String(error) }));

await live(
  () => app.start(),
  () => app.stop(),
);
