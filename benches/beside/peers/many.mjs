// What the JavaScript clients of this benchmark share: so many of them in one process, against the Slack of the first argument.

import { logger } from "../../../tests/peers/node/lines.mjs";

const [slackApiUrl, count] = process.argv.slice(2);
let handled = 0;

export { logger, slackApiUrl };

/** An event was handled. */
export const counted = () => {
  handled += 1;
};

/** Starts what `make` makes of each app's token. Says `up`, and at the end of stdin how many events were handled. */
export async function run(make) {
  const tokens = Array.from({ length: Number(count) }, (_, app) => `xapp-1-A${String(app).padStart(6, "0")}-1-bench`);
  await Promise.all(tokens.map((token) => make(token).start()));
  console.log("up");
  process.stdin.on("end", () => process.stdout.write(`${handled}\n`, () => process.exit(0)));
  process.stdin.resume();
}
