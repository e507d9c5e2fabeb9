import { afterAll, beforeAll, expect, test } from "vitest";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";
import { Traffic } from "./harness/session/traffic.ts";

let redis: SessionRedis;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis();
  program = await buildServer();
});
afterAll(() => redis.stop());

interface Step {
  readonly name: string;
  readonly settings: ServerSettings;
}

/** The steps from connect-redis to hashed ids. While servers are replaced one by one, those of two steps run at once. */
const steps: readonly [Step, ...Step[]] = [
  { name: "connect-redis", settings: { stack: "connect-redis", engine: {} } },
  { name: "plain", settings: lockstep({ ids: "plain" }) },
  { name: "plain, hashed elsewhere", settings: lockstep({ ids: "plain", migrateTo: "hashed" }) },
  { name: "hashed, from plain", settings: lockstep({ ids: "hashed", migrateFrom: "plain" }) },
  { name: "hashed", settings: lockstep({ ids: "hashed" }) },
  { name: "hashed, plain elsewhere", settings: lockstep({ ids: "hashed", migrateTo: "plain" }) },
  { name: "plain, from hashed", settings: lockstep({ ids: "plain", migrateFrom: "hashed" }) },
  { name: "plain again", settings: lockstep({ ids: "plain" }) },
  { name: "connect-redis again", settings: { stack: "connect-redis", engine: {} } },
];

function lockstep(engine: ServerSettings["engine"] & object): ServerSettings {
  return { stack: "middleware", engine };
}

/** Where connect-redis runs, changes that overlap are lost. */
function isLossy({ stack }: ServerSettings): boolean {
  return stack === "connect-redis";
}

test("three servers move from connect-redis to hashed ids and back, under traffic: nobody is signed out, and Lockstep loses no change", async () => {
  const [{ settings: start }, ...others] = steps;
  // Of two ages, as they may be where somebody has begun to move before.
  const servers = [start, { ...start, stack: "connect-redis-10" } as const, start];
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers });
  const traffic = await Traffic.start(fleet, { people: 5, tabs: 2 });
  try {
    await traffic.goneAround();
    let [before, lostBefore] = [start, 0];
    for (const { name, settings } of others) {
      if (isLossy(settings)) expect(await traffic.lostChanges(), `before ${name}`).toBe(lostBefore);
      await fleet.replaceAll(settings);
      await traffic.goneAround();
      expect({ logouts: traffic.logouts, failures: traffic.failures }, name).toEqual({ logouts: 0, failures: [] });
      if (isLossy(before)) lostBefore = await traffic.lostChanges();
      before = settings;
    }
  } finally {
    await traffic.pause();
    await fleet.stop();
  }
}, 180_000);
