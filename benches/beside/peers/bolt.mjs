// Bolt for JavaScript, which acks events by itself.

import { require } from "../../../tests/peers/node/lines.mjs";
import { counted, logger, run, slackApiUrl } from "./many.mjs";

const { App, SocketModeReceiver } = require("@slack/bolt");

const clientOptions = { slackApiUrl };

await run((appToken) => {
  const receiver = new SocketModeReceiver({ appToken, installerOptions: { clientOptions }, logger });
  const app = new App({ token: "xoxb-bench", receiver, clientOptions, logger });
  app.event("message", async () => counted());
  return app;
});
