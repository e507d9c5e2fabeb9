import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sessionCookiesOf } from "./harness/client.ts";
import { pick, seededRandom, seedOfRun, shuffled } from "./harness/cache/random.ts";
import { eventually } from "./harness/eventually.ts";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { change, changeAtOnce, heldChange, sessionAt, signedIn } from "./harness/session/requests.ts";
import type { Change } from "./harness/session/session-server.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";

let redis: SessionRedis;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis();
  program = await buildServer();
});
afterAll(() => redis.stop());

async function startThree(settings: ServerSettings): Promise<SessionFleet> {
  return SessionFleet.start({ program, redis: redis.port, servers: [settings, settings, settings] });
}

for (const stack of ["store", "middleware"] as const) {
  describe(`three servers with ${stack}`, () => {
    let fleet: SessionFleet;
    beforeAll(async () => {
      // Rolling, so that each answer has a reason to set the cookie.
      fleet = await startThree({ stack, engine: { prefix: `${stack}:` }, maxAgeMs: 600_000, rolling: true });
    });
    afterAll(() => fleet.stop());

    test("changes to different values, made at the same moment on different servers, are all kept (S2)", async () => {
      const seed = seedOfRun();
      const random = seededRandom(seed);
      for (let round = 0; round < 20; round += 1) {
        const client = await signedIn(fleet.url(round + 1), {
          user: "ann",
          list: [],
          box: { old: 1, kept: 1 },
          counts: {},
        });
        const changes: Change[] = [
          { set: { [`field-${round}`]: random() } },
          { set: { "box/new": "n" } },
          { add: { "counts/a": 1 } },
          { remove: ["box/old"] },
          { append: { list: "first" } },
          { append: { list: "second" }, set: { "deep/down/here": [] } },
        ];
        const at = shuffled(changes, random).map((change) => ({ url: pick(fleet.urls, random), change }));
        const answers = await changeAtOnce(client, at);
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
        for (const url of fleet.urls) {
          const { list, ...rest } = (await sessionAt(url, client)) ?? {};
          expect(rest, `seed ${seed}, round ${round}`).toEqual({
            user: "ann",
            ...changes[0]?.set,
            box: { new: "n", kept: 1 },
            counts: { a: 1 },
            deep: { down: { here: [] } },
          });
          expect([...(list as string[])].sort(), `seed ${seed}, round ${round}`).toEqual(["first", "second"]);
        }
      }
    });

    test("thirty requests at once over three servers lose none of their appended items (S2)", async () => {
      const client = await signedIn(fleet.url(1), { user: "ann", cart: [] });
      const items = Array.from({ length: 30 }, (_, index) => `item-${index}`);
      await changeAtOnce(
        client,
        items.map((item, index) => ({ url: fleet.url(index + 1), change: { append: { cart: item } } })),
      );
      const { cart } = (await sessionAt(fleet.url(1), client)) ?? {};
      expect([...(cart as string[])].sort()).toEqual([...items].sort());
    });

    test("of two changes to the very same value the later commit wins, on every server (S2)", async () => {
      const client = await signedIn(fleet.url(1), { user: "ann", colour: "none" });
      const first = await heldChange(fleet.url(1), client, { set: { colour: "blue" } });
      const second = await heldChange(fleet.url(2), client, { set: { colour: "red" } });
      second.release();
      await second.answer;
      first.release();
      await first.answer;
      for (const url of fleet.urls) expect(await sessionAt(url, client)).toMatchObject({ colour: "blue" });
    });

    for (const [what, pending] of [
      ["change", { set: { colour: "blue" } }],
      ["read", {}],
    ] as const) {
      test(`a session signed out on one server stays gone, whatever ${what} was in flight on another (S3)`, async () => {
        const client = await signedIn(fleet.url(1), { user: "ann" });
        const [before, slow] = [client.copy(), client.copy()];
        const held = await heldChange(fleet.url(2), slow, pending);
        await client.request("POST", `${fleet.url(1)}/sign-out`);
        held.release();
        const answer = await held.answer;
        for (const url of fleet.urls) {
          expect(await sessionAt(url, before)).toBeUndefined();
          expect(await sessionAt(url, slow)).toBeUndefined();
        }
        // express-session sets the cookie of a changed session before it saves; only session() can know.
        if (stack === "middleware") expect(sessionCookiesOf(answer)).toEqual([]);
      });
    }
  });

  describe(`three servers with ${stack} and short limits`, () => {
    const prefix = `${stack}-brief:`;
    const idleMs = 1_000;
    const absoluteMs = 2_500;
    /** What a busy machine may add to a time that was measured. */
    const slackMs = 500;
    let fleet: SessionFleet;
    beforeAll(async () => {
      fleet = await startThree({ stack, engine: { prefix, ids: "plain", idleMs, absoluteMs } });
    });
    afterAll(() => fleet.stop());

    test("a session that nobody uses ends between 1 and 1.1 times its idle limit (S6)", async () => {
      const client = await signedIn(fleet.url(1), { user: "ann" });
      const start = performance.now();
      const key = `${prefix}${String(client.sessionId)}`;
      await eventually("the record has gone", async () => (await redis.client.exists(key)) === 0);
      const livedMs = performance.now() - start;
      // What was measured began after the record's life did.
      expect(livedMs).toBeGreaterThan(idleMs - slackMs / 10);
      expect(livedMs).toBeLessThan(1.1 * idleMs + slackMs);
      for (const url of fleet.urls) expect(await sessionAt(url, client)).toBeUndefined();
    });

    test("uses on any server keep it alive, until the absolute limit ends it everywhere, used and changed or not (S6)", async () => {
      const start = performance.now();
      const client = await signedIn(fleet.url(1), { user: "ann" });
      let uses = 0;
      const isGone = async () => {
        uses += 1;
        await change(fleet.url(uses), client, uses % 3 === 0 ? { add: { uses: 1 } } : {});
        return (await sessionAt(fleet.url(uses + 1), client)) === undefined;
      };
      await eventually("the session has ended", isGone, { everyMs: 50 });
      const livedMs = performance.now() - start;
      expect(livedMs).toBeGreaterThan(absoluteMs);
      expect(livedMs).toBeLessThan(absoluteMs + slackMs);
      for (const url of fleet.urls) expect(await sessionAt(url, client)).toBeUndefined();
    });

    test("a change in flight when the limit passes brings nothing back (S3, S6)", async () => {
      const client = await signedIn(fleet.url(1), { user: "ann" });
      const held = await heldChange(fleet.url(2), client, { set: { colour: "blue" } });
      const isGone = async () => (await sessionAt(fleet.url(3), client)) === undefined;
      await eventually("the session has ended", isGone, { everyMs: 50 });
      held.release();
      await held.answer;
      for (const url of fleet.urls) expect(await sessionAt(url, client)).toBeUndefined();
    });
  });
}

describe('three servers with session() and conflict: "reject"', () => {
  let fleet: SessionFleet;
  beforeAll(async () => {
    fleet = await startThree({ stack: "middleware", engine: { prefix: "reject:", conflict: "reject" } });
  });
  afterAll(() => fleet.stop());

  test("of changes to the very same value all but one are refused, and leave nothing of theirs (S2)", async () => {
    const client = await signedIn(fleet.url(1), { user: "ann", colour: "none" });
    const colours = ["blue", "red", "green"];
    const answers = await changeAtOnce(
      client,
      colours.map((colour, index) => ({
        url: fleet.url(index + 1),
        change: { set: { colour, [`also-${colour}`]: true } },
      })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    const winner = colours[answers.findIndex(({ status }) => status === 200)] ?? "";
    for (const url of fleet.urls) {
      expect(await sessionAt(url, client)).toEqual({ user: "ann", colour: winner, [`also-${winner}`]: true });
    }
  });

  test("changes to different values are merged all the same (S2)", async () => {
    const client = await signedIn(fleet.url(1), { user: "ann" });
    const answers = await changeAtOnce(client, [
      { url: fleet.url(1), change: { set: { left: 1 } } },
      { url: fleet.url(2), change: { set: { right: 1 } } },
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(await sessionAt(fleet.url(3), client)).toEqual({ user: "ann", left: 1, right: 1 });
  });
});
