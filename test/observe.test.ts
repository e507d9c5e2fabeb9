import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Anomaly, cart, lostUpdate, type Release, revival, type SharedServers } from "./harness/anomalies.ts";
import { eventually } from "./harness/eventually.ts";
import { type ObservedServers, startObservedServers } from "./harness/observed-servers.ts";

const nothing = { setBack: 0, replaced: 0, revived: 0 };

interface Row {
  readonly name: string;
  readonly run: Anomaly<SharedServers>;
  /** The count that tells of it. */
  readonly counted: keyof typeof nothing;
}

const updates: readonly Row[] = [
  { name: "cart", run: cart, counted: "replaced" },
  { name: "lost-update", run: lostUpdate, counted: "setBack" },
];
const rows: readonly Row[] = [...updates, { name: "revival", run: revival, counted: "revived" }];

const report: string[] = [];
afterAll(() => {
  console.log(["\nWhat observe() counted of what was lost:", ...report, ""].join("\n"));
});

describe.each(["connect-redis", "RedisStore"] as const)(
  "observed: express-session and %s on three servers",
  (store) => {
    let servers: ObservedServers;
    beforeAll(async () => {
      servers = await startObservedServers(store);
    });
    afterAll(() => servers.stop());

    const losesSomething = store === "connect-redis";

    test.each(rows)("$name, one save after the other: all that is lost is counted", async ({ name, run, counted }) => {
      const { lost, seen } = await losses(servers, run, "in turn");
      report.push(`- ${store}, ${name}, one save after the other: ${seen[counted]} of ${lost}`);
      expect(seen).toEqual({ ...nothing, [counted]: lost });
      expect(lost > 0).toBe(losesSomething);
    });

    // A save in between another's check and that other's save is not seen.
    test.each(updates)("$name, at the same moment: no more is counted than is lost", async ({ name, run, counted }) => {
      const { lost, seen } = await losses(servers, run, "at once");
      report.push(`- ${store}, ${name}, at the same moment: ${seen[counted]} of ${lost}`);
      expect(seen).toEqual({ ...nothing, [counted]: seen[counted] });
      expect(seen[counted]).toBeLessThanOrEqual(lost);
      expect(seen[counted] > 0).toBe(losesSomething);
    });
  },
);

/** What an anomaly has lost, and what was counted meanwhile. */
async function losses(servers: ObservedServers, run: Anomaly<SharedServers>, release: Release) {
  const before = await servers.counts();
  const { attempts, violations } = await run(servers, release);
  const after = await eventually("each save of a loaded session was compared", async () => {
    const counts = await servers.counts();
    return counts.compared - before.compared === attempts && counts;
  });
  const since = (name: keyof typeof nothing) => after[name] - before[name];
  const seen = { setBack: since("setBack"), replaced: since("replaced"), revived: since("revived") };
  return { lost: violations, seen };
}
