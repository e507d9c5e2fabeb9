import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Client, signedInClient } from "../client.ts";
import type { Stack } from "../stack.ts";
import { everywhere, type Begun, type Fault } from "./fault.ts";
import type { Tally } from "./tally.ts";

/** Ten times a thousand thousand characters: what somebody stored who has no limit. */
const large = "x".repeat(10_000_000);

/** What a record of a session becomes. */
const damages: Readonly<Record<string, (text: string) => string>> = {
  "cut short": (text) => text.slice(0, text.length / 2),
  empty: () => "",
  "no JSON": () => "\u0000\u0001 not a session",
  "another type of JSON": () => "[1,2,3]",
  "without a cookie": () => `{"username":"alice"}`,
  "of a later version": (text) => text.replace(/"v":1/, `"v":99`),
  "with a prototype": (text) => text.replace(/^{/, `{"__proto__":{"username":"mallory"},`),
  encrypted: () => `E1.0.${"A".repeat(200)}`,
};

/** Records that are not what they should be. */
export const recordFaults: readonly Fault[] = [
  {
    name: "the records of some sessions are damaged",
    on: everywhere,
    lastsMs: 4_000,
    isUnnoticed: true,
    begin: (stack, { tally }) => withRecords(stack, tally, Object.values(damages)),
  },
  {
    name: "a session of 10 MB is used all the time",
    on: everywhere,
    lastsMs: 4_000,
    isUnnoticed: true,
    begin: (stack, { tally }) =>
      withRecords(stack, tally, [(text) => JSON.stringify({ ...(JSON.parse(text) as object), large })]),
  },
];

/** Sessions of their own become what `changes` make of them, and are used on all servers. */
async function withRecords(stack: Stack, tally: Tally, changes: readonly ((text: string) => string)[]): Promise<Begun> {
  const clients: Client[] = [];
  for (const change of changes) {
    const client = await signedInClient(stack.server(1));
    const key = await keyOf(stack, client.sessionId ?? "");
    const text = await stack.redis.get(key);
    await stack.redis.set(key, change(text ?? ""), "PX", 60_000);
    clients.push(client);
  }
  const over = new AbortController();
  let uses = 0;
  const using = (async () => {
    while (!over.signal.aborted) {
      for (const client of clients) {
        await tally.time(client.request("GET", `${stack.nginx}/api/cart`));
        await tally.time(client.request("POST", `${stack.nginx}/api/cart`, { json: { item: "one more" } }));
        uses += 2;
      }
      await delay(20);
    }
  })();
  return {
    end: async () => {
      over.abort();
      await using;
      // What could still be read is a session for a day.
      await Promise.all(clients.map((client) => client.request("POST", `${stack.nginx}/api/sign-out`)));
    },
    seen: () => uses,
  };
}

/** Where a session is, by the id in its cookie: ours keep it below a hash of that, connect-redis below the id. */
async function keyOf({ redis }: Stack, id: string): Promise<string> {
  const hashed = `sess:h:${createHash("sha256").update(id).digest("base64url")}`;
  return (await redis.exists(hashed)) === 1 ? hashed : `sess:${id}`;
}
