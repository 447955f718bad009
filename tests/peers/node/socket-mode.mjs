// @slack/socket-mode against the Slack at SLACK_API_URL: acks everything, says everything.

import { follow, live, logger, received, require, say, wanted } from "./lines.mjs";

const { SocketModeClient } = require("@slack/socket-mode");

const client = new SocketModeClient({
  appToken: wanted("SLACK_APP_TOKEN"),
  clientOptions: { slackApiUrl: wanted("SLACK_API_URL") },
  logger,
});
follow(client);

// What comes with a smaller retry number is left unacked, so that Slack sends it again.
const acksFrom = Number(process.env.PEER_ACKS_FROM_RETRY ?? 0);

client.on("slack_event", async ({ ack, envelope_id, type, body, retry_num, retry_reason }) => {
  received(type, body, retry_num, retry_reason, envelope_id);
  if ((retry_num ?? 0) < acksFrom) return;
  try {
    await ack(type === "slash_commands" ? { text: "pong" } : undefined);
  } catch (error) {
    // The socket went between the event and its ack: Slack sends the event again.
    say("ack_failed", { envelope_id, error: String(error) });
  }
});

await live(
  () => client.start(),
  () => client.disconnect(),
);
