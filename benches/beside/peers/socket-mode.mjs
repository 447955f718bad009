// @slack/socket-mode, as its README shows it.

import { require } from "../../../tests/peers/node/lines.mjs";
import { counted, logger, run, slackApiUrl } from "./many.mjs";

const { SocketModeClient } = require("@slack/socket-mode");

await run((appToken) => {
  const client = new SocketModeClient({ appToken, clientOptions: { slackApiUrl }, logger });
  client.on("message", async ({ ack }) => {
    await ack();
    counted();
  });
  return client;
});
