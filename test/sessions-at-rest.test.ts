import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, sessionCookie } from "./harness/client.ts";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { change, sessionAt, signedIn } from "./harness/session/requests.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";
import { sessionAfterSwap } from "./harness/session/swapped-record.ts";
import { Traffic } from "./harness/session/traffic.ts";

let redis: SessionRedis;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis();
  program = await buildServer();
});
afterAll(() => redis.stop());

function newKey(): string {
  return randomBytes(32).toString("base64");
}

const [first, second] = [newKey(), newKey()];

/** From plain text to the first key, and from that to the second. While servers are replaced, those of two steps run at once. */
const steps: readonly NonNullable<ServerSettings["engine"]>["encryption"][] = [
  undefined,
  { keys: [first], rollout: "read" },
  { keys: [first], rollout: "write" },
  { keys: [first] },
  { keys: [first, second] },
  { keys: [second, first] },
  { keys: [second] },
];

test("encryption is turned on and its key replaced under traffic: nobody is signed out, and no change is lost", async () => {
  const settingsOf = (encryption: (typeof steps)[number]): ServerSettings => {
    return { stack: "middleware", engine: { prefix: "keys:", encryption }, userField: "user" };
  };
  const [start, ...others] = steps.map(settingsOf);
  if (start === undefined) throw new RangeError("There is no step.");
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers: [start, start, start] });
  const traffic = await Traffic.start(fleet, { people: 5, tabs: 2 });
  try {
    await traffic.goneAround();
    for (const settings of others) {
      await fleet.replaceAll(settings);
      await traffic.goneAround();
      const found = { logouts: traffic.logouts, failures: traffic.failures };
      expect(found, JSON.stringify(settings.engine?.encryption?.rollout)).toEqual({ logouts: 0, failures: [] });
    }
    expect(await traffic.lostChanges()).toBe(0);
  } finally {
    await traffic.pause();
    await fleet.stop();
  }
}, 180_000);

/** Everything that is in Redis, as a thief of a backup has it. */
async function dump(): Promise<Buffer> {
  // Compressed, a text could hide.
  await redis.client.config("SET", "rdbcompression", "no");
  await redis.client.save();
  const [, directory = ""] = await redis.client.config("GET", "dir");
  return readFile(join(directory, "dump.rdb"));
}

/** What nobody shall find: ids, cookies, and what a person has in the session, its names included. */
function secretsOf(client: Client, { user, ...others }: Readonly<Record<string, string>>): string[] {
  const cookies = [client.sessionId, client.cookies.get(sessionCookie)];
  return [...cookies, user, ...Object.entries(others).flat()].filter((secret) => secret !== undefined);
}

test("a dump of Redis holds no usable id, nor anything of what a session holds: not in records, forwards or indexes (G9)", async () => {
  const graceMs = 60_000;
  const values = (who: string) => ({ user: `${who}-user@example.org`, [`${who}-field`]: `${who}-value` });
  const sealed = { stack: "middleware", engine: { encryption: { keys: [first] } }, userField: "user" } as const;
  const open = { stack: "middleware", engine: { ids: "plain" }, userField: "user" } as const;
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers: [sealed, open] });
  try {
    const url = fleet.url(1);
    const client = await signedIn(url, values("hidden"));
    await change(url, client, { set: { "hidden-other": "hidden-text" } });
    const rotated = client.copy();
    await rotated.request("POST", `${url}/rotate`, { json: { graceMs } });
    expect(await sessionAt(url, client.copy())).toEqual(await sessionAt(url, rotated.copy()));
    const ended = await signedIn(url, values("ended"));
    const endedSecrets = secretsOf(ended, values("ended"));
    await ended.request("POST", `${url}/sign-out`);
    const seen = await signedIn(fleet.url(2), values("shown"));

    const bytes = await dump();
    const all = { ...values("hidden"), "hidden-other": "hidden-text" };
    const secrets = [...secretsOf(client, all), ...secretsOf(rotated, all), ...endedSecrets];
    expect(secrets.filter((secret) => bytes.includes(secret))).toEqual([]);
    // What is neither hashed nor encrypted would have been found.
    expect(bytes.includes(seen.sessionId ?? "")).toBe(true);
    expect(bytes.includes("shown-value")).toBe(true);
  } finally {
    await fleet.stop();
  }
});

test("a record that somebody has put in another's place is not read there (G9)", async () => {
  const prefix = "swapped:";
  const settings = { stack: "middleware", engine: { prefix, encryption: { keys: [first] } } } as const;
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers: [settings] });
  try {
    expect(await sessionAfterSwap(fleet.url(1), redis, prefix)).toBeUndefined();
  } finally {
    await fleet.stop();
  }
});
