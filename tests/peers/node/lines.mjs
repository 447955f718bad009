// What the JavaScript peers share: one JSON line on stdout for each thing that happens, everything else on stderr.

import { createRequire } from "node:module";
import { join } from "node:path";

// The packages lie under target/, where no import from here would find them.
const modules = process.env.TAUTLINE_PEERS_NODE_MODULES;
if (!modules) {
  console.error("TAUTLINE_PEERS_NODE_MODULES is not set: run scripts/test, or source target/peers/env");
  process.exit(2);
}
export const require = createRequire(join(modules, "peer.js"));

export function wanted(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
  return value;
}

export function say(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** An event of Slack's in the words the tests wait for. */
export function received(type, body, retry_num, retry_reason, envelope_id) {
  say("received", { id: body?.event_id ?? envelope_id, envelope_id, type, retry_num, retry_reason });
}

/** Slack's own logger writes part of its lines to stdout. */
const toStderr = (...words) => console.error(...words);
export const logger = {
  debug: () => {},
  info: () => {},
  warn: toStderr,
  error: toStderr,
  setLevel: () => {},
  getLevel: () => "warn",
  setName: () => {},
};

/** Says each moment in the life of a SocketModeClient. */
export function follow(client) {
  for (const moment of ["connecting", "authenticated", "connected", "reconnecting", "disconnecting", "disconnected"]) {
    client.on(moment, () => say(moment));
  }
  client.on("error", (error) => say("error", { error: String(error) }));
}

/** Starts, and stops when stdin ends. A peer that cannot start says why and exits with code 1. */
export async function live(start, stop) {
  // A reconnect of the SDK that Slack refuses for good rejects a promise that nobody holds.
  process.on("unhandledRejection", (error) => fail(error));
  process.stdin.on("end", async () => {
    // The SDK's own stop waits for the server to close TCP, which Slack leaves to the client.
    const waited = new Promise((resolve) => setTimeout(resolve, 1000));
    await Promise.race([stop(), waited]);
    say("ended");
    process.exit(0);
  });
  process.stdin.resume();
  await start().catch(fail);
}

function fail(error) {
  say("unable_to_socket_mode_start", { error: error?.data?.error ?? String(error) });
  process.exit(1);
}
