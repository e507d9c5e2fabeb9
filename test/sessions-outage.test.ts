import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { report } from "./harness/cache/report.ts";
import { FaultProxy } from "./harness/fault-proxy.ts";
import { buildServer } from "./harness/session/build-server.ts";
import {
  busy,
  loading,
  loadingSettings,
  networkFault,
  outOfMemory,
  readOnly,
  type RedisFault,
} from "./harness/session/faults.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { type Outage, throughOutage, type Work } from "./harness/session/outage.ts";
import { heldChange, sessionAt, signedIn } from "./harness/session/requests.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";

let redis: SessionRedis;
let proxy: FaultProxy;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis(loadingSettings);
  proxy = await FaultProxy.start(redis.port);
  program = await buildServer();
});

/** S10: a load has half a second, a commit three and a half; the rest is for a busy machine. */
const withinMs = { read: 2_000, write: 5_000 };

/** Half of what a command may take: nothing was sent to Redis. */
const atOnceMs = 250;

type Statuses = Readonly<Record<Exclude<Work, "in flight">, number>>;

const answered: Statuses = { read: 200, change: 200, "sign-in": 200 };
const refused: Statuses = { read: 503, change: 503, "sign-in": 503 };
const readOnlyStatuses: Statuses = { read: 200, change: 503, "sign-in": 503 };

interface Trouble {
  readonly what: string;
  readonly fault: () => RedisFault;
  readonly session: Statuses;
  /** Where express-session answers before it saves: 200 to what is then refused. */
  readonly store?: Statuses;
}

const troubles: readonly Trouble[] = [
  { what: "refuses connections", fault: () => networkFault(proxy, "refuse", "resets"), session: refused },
  { what: "is a black hole", fault: () => networkFault(proxy, "hold", "heldChunks"), session: refused },
  { what: "is 200 ms away", fault: () => networkFault(proxy, { delayMs: 200 }, "delayedChunks"), session: answered },
  {
    what: "is a replica (READONLY)",
    fault: () => readOnly(redis),
    session: readOnlyStatuses,
    store: { ...readOnlyStatuses, change: 200 },
  },
  { what: "loads its data (LOADING)", fault: () => loading(redis), session: refused },
  { what: "runs a script without end (BUSY)", fault: () => busy(redis), session: refused },
  { what: "has no memory left (OOM)", fault: () => outOfMemory(redis), session: readOnlyStatuses, store: answered },
];

const found: { readonly adapter: string; readonly what: string; readonly outage: Outage }[] = [];
afterAll(async () => {
  await proxy.stop();
  await redis.stop();
  await report("sessions-outage", {
    title: "Sessions while something is wrong with Redis, on three servers",
    columns: ["Redis", "adapter", ...works, "longest wait, ms", "then, ms", "false “done”", "recovered after, ms"],
    rows: found.map(({ what, adapter, outage }) => [
      what,
      adapter,
      ...works.map((work) => statusesOf(outage, work).join(", ")),
      longestMs(outage.first),
      longestMs(outage.second),
      outage.falselyAcknowledged,
      Math.round(outage.recoveredAfterMs),
    ]),
    details: [
      "status of each kind of request; in flight: a change whose session was loaded before the fault",
      "then: the longest wait of a second round of requests, when the servers have seen that something is wrong",
    ],
  });
});

const works: readonly Work[] = ["read", "in flight", "change", "sign-in"];

for (const { adapter, settings } of [
  { adapter: "RedisStore", settings: { stack: "store" } },
  { adapter: "session()", settings: { stack: "middleware" } },
] as const satisfies readonly { adapter: string; settings: ServerSettings }[]) {
  describe(adapter, () => {
    let fleet: SessionFleet;
    beforeAll(async () => {
      fleet = await SessionFleet.start({ program, redis: proxy.port, servers: [settings, settings, settings] });
    });
    afterAll(() => fleet.stop());

    for (const { what, fault, session, store = session } of troubles) {
      test(`while Redis ${what} every request is answered in time, no cookie is replaced, and then all are signed in as before (S10)`, async () => {
        const outage = await throughOutage(fleet, fault());
        found.push({ adapter, what, outage });
        const { read, change, "sign-in": signIn } = settings.stack === "store" ? store : session;
        expect(statusesOf(outage, "read")).toEqual([read]);
        expect(statusesOf(outage, "change")).toEqual([change]);
        expect(statusesOf(outage, "sign-in")).toEqual([signIn]);
        expect(outage.isEveryoneSignedIn).toBe(true);
        for (const { work, waitedMs, cookies } of [...outage.first, ...outage.second]) {
          expect(waitedMs).toBeLessThan(work === "read" ? withinMs.read : withinMs.write);
          // A new client's cookie replaces none; that of a sign-in that failed is still not session()'s to send.
          if (work !== "sign-in" || (settings.stack === "middleware" && signIn === 503)) expect(cookies).toEqual([]);
        }
        if (read === 503) {
          // The breaker is open: but for one command a second, with which a server looks whether Redis is back.
          const waits = outage.second.map(({ waitedMs }) => waitedMs).sort((a, b) => b - a);
          expect(waits[fleet.urls.length]).toBeLessThan(atOnceMs);
        }
        if (settings.stack === "middleware") {
          expect(statusesOf(outage, "in flight")).toEqual([change]);
          expect(outage.falselyAcknowledged).toBe(0);
        }
      });
    }
  });
}

for (const { adapter, stack } of [
  { adapter: "RedisStore, anonymous", stack: "store" },
  { adapter: "session(), anonymous", stack: "middleware" },
] as const) {
  describe(adapter, () => {
    let fleet: SessionFleet;
    beforeAll(async () => {
      const settings = { stack, onUnavailable: "anonymous" } as const;
      fleet = await SessionFleet.start({ program, redis: proxy.port, servers: [settings, settings, settings] });
    });
    afterAll(() => fleet.stop());

    for (const { what, fault } of troubles.filter(({ session }) => session === refused)) {
      test(`while Redis ${what} the app goes on without sessions, no cookie is replaced, and then all are signed in as before (S10)`, async () => {
        const outage = await throughOutage(fleet, fault());
        found.push({ adapter, what, outage });
        for (const { work, status, waitedMs, cookies } of outage.second) {
          // 401 is what the app answers to whom it does not know, and 503 where it needs a session.
          expect(status).toBe(work === "sign-in" ? 503 : 401);
          expect(waitedMs).toBeLessThan(withinMs.read);
          expect(cookies).toEqual([]);
        }
        expect(outage.isEveryoneSignedIn).toBe(true);
        for (const { work, waitedMs, cookies } of outage.first) {
          expect(waitedMs).toBeLessThan(withinMs.write);
          if (work !== "sign-in") expect(cookies).toEqual([]);
        }
      });
    }
  });
}

test("while Redis has no memory left a session can be ended, and stays gone (S3)", async () => {
  const settings = { stack: "middleware" } as const;
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers: [settings, settings] });
  const fault = outOfMemory(redis);
  try {
    const client = await signedIn(fleet.url(1), { user: "ann" });
    const before = client.copy();
    const held = await heldChange(fleet.url(2), before, { set: { colour: "blue" } });
    await fault.begin();
    expect((await client.request("POST", `${fleet.url(1)}/sign-out`)).status).toBe(200);
    await fault.end();
    held.release();
    await held.answer;
    for (const url of fleet.urls) expect(await sessionAt(url, before)).toBeUndefined();
  } finally {
    await fault.end();
    await fleet.stop();
  }
});

function statusesOf({ first, second }: Outage, work: Work): number[] {
  const of = [...first, ...second].filter((answer) => answer.work === work);
  return [...new Set(of.map(({ status }) => status))].sort();
}

function longestMs(answers: Outage["first"]): number {
  return Math.round(Math.max(...answers.map(({ waitedMs }) => waitedMs)));
}
