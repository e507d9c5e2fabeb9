import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Answer, Client, sessionCookiesOf } from "./harness/client.ts";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { inEveryOrder, type Side } from "./harness/session/interleavings.ts";
import { change, endAll, handlesOf, sessionAt, signedIn } from "./harness/session/requests.ts";
import type { Change } from "./harness/session/session-server.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";

/** Each race is run in up to some hundreds of orders of the commands of two servers. */
const timeout = 180_000;

/** Commands are held for longer than an app would wait. */
const patient = { commandDeadlineMs: 10_000, commitDeadlineMs: 20_000 };

let redis: SessionRedis;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis();
  program = await buildServer();
});
afterAll(() => redis.stop());

/** Servers whose scripts Redis knows, so that a command is the same each time. */
async function startWarm(servers: readonly ServerSettings[]): Promise<SessionFleet> {
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers });
  for (const url of fleet.urls) {
    const client = await signedIn(url, { user: "warm-up" });
    await change(url, client, { set: { a: 1 } });
    await client.request("POST", `${url}/sign-out`);
  }
  return fleet;
}

function signingIn(url: string, client: Client, user: string): Side {
  return { url, send: () => client.request("POST", `${url}/sign-in`, { json: { user } }) };
}

function signingOut(url: string, client: Client): Side {
  return { url, send: () => client.request("POST", `${url}/sign-out`) };
}

function signingOutEverywhere(url: string, user: string): Side {
  return { url, send: () => new Client().request("POST", `${url}/users/${user}/sign-out`, { json: {} }) };
}

function reading(url: string, client: Client): Side {
  return { url, send: () => client.request("GET", `${url}/session`) };
}

function changing(url: string, client: Client, json: Change): Side {
  return { url, send: () => change(url, client, json) };
}

function rotating(url: string, client: Client, json: { graceMs: number; [field: string]: unknown }): Side {
  return { url, send: () => client.request("POST", `${url}/rotate`, { json }) };
}

async function expectGone(fleet: SessionFleet, client: Client, order: string): Promise<void> {
  for (const url of fleet.urls) expect(await sessionAt(url, client), order).toBeUndefined();
}

describe("sessions of a user", () => {
  let fleet: SessionFleet;
  beforeAll(async () => {
    const settings = { stack: "middleware", engine: { prefix: "users:", ...patient }, userField: "user" } as const;
    fleet = await startWarm([settings, settings, settings]);
  });
  afterAll(() => fleet.stop());

  test(
    "a sign-in that meets a log-out-everywhere is signed in and listed, or gone (S8)",
    async () => {
      const outcomes = { signedIn: 0, gone: 0 };
      await inEveryOrder(async (meet, number) => {
        const user = `racer-${number}`;
        const [old, client] = [await signedIn(fleet.url(3), { user }), new Client()];
        const { order } = await meet(signingIn(fleet.url(1), client, user), signingOutEverywhere(fleet.url(2), user));
        await expectGone(fleet, old, order);
        const isSignedIn = (await sessionAt(fleet.url(3), client)) !== undefined;
        expect(await handlesOf(fleet.url(3), user), order).toHaveLength(isSignedIn ? 1 : 0);
        outcomes[isSignedIn ? "signedIn" : "gone"] += 1;
        await endAll(fleet.url(3), user);
        await expectGone(fleet, client, order);
      });
      expect(Math.min(outcomes.signedIn, outcomes.gone)).toBeGreaterThan(0);
    },
    timeout,
  );

  test(
    "a change that meets a log-out-everywhere brings nothing back (S3, S8)",
    async () => {
      await inEveryOrder(async (meet, number) => {
        const user = `changer-${number}`;
        const client = await signedIn(fleet.url(3), { user });
        const { order } = await meet(
          changing(fleet.url(1), client.copy(), { set: { a: 1 } }),
          signingOutEverywhere(fleet.url(2), user),
        );
        await expectGone(fleet, client, order);
        expect(await handlesOf(fleet.url(3), user), order).toEqual([]);
      });
    },
    timeout,
  );
});

describe("rotation", () => {
  /** For as long as any race takes. */
  const graceMs = 60_000;
  let fleet: SessionFleet;
  beforeAll(async () => {
    const settings = { stack: "middleware", engine: { prefix: "rotating:", ...patient }, userField: "user" } as const;
    fleet = await startWarm([settings, settings, settings]);
  });
  afterAll(() => fleet.stop());

  /** Both the client that has the new id and one that still sends the old are signed in, as one listed session. */
  async function expectOneSession(user: string, clients: readonly Client[], fields: object, order: string) {
    for (const url of fleet.urls) {
      for (const client of clients) {
        expect(await sessionAt(url, client.copy()), order).toEqual({ user, ...fields });
      }
      expect(await handlesOf(url, user), order).toHaveLength(1);
    }
  }

  test(
    "a change with the old id is kept, whenever it meets the rotation (S7)",
    async () => {
      await inEveryOrder(async (meet, number) => {
        const user = `rotated-${number}`;
        const old = await signedIn(fleet.url(3), { user });
        const client = old.copy();
        const { order, left, right } = await meet(
          changing(fleet.url(1), old.copy(), { set: { a: 1 } }),
          rotating(fleet.url(2), client, { graceMs, b: 1 }),
        );
        expect([left.status, right.status], order).toEqual([200, 200]);
        expect(client.sessionId, order).not.toBe(old.sessionId);
        await expectOneSession(user, [client, old], { a: 1, b: 1 }, order);
      });
    },
    timeout,
  );

  test(
    "a session that two servers rotate at once is one session after (S7)",
    async () => {
      await inEveryOrder(async (meet, number) => {
        const user = `twice-${number}`;
        const old = await signedIn(fleet.url(3), { user });
        const clients = [old.copy(), old.copy()] as const;
        const { order, left, right } = await meet(
          rotating(fleet.url(1), clients[0], { graceMs, a: 1 }),
          rotating(fleet.url(2), clients[1], { graceMs, b: 1 }),
        );
        expect([left.status, right.status], order).toEqual([200, 200]);
        await expectOneSession(user, [...clients, old], { a: 1, b: 1 }, order);
      });
    },
    timeout,
  );

  test(
    "a session that is ended while it is rotated is gone under both ids, and listed no more (S3, S7)",
    async () => {
      for (const end of [signingOut, (url: string, _client: Client, user: string) => signingOutEverywhere(url, user)]) {
        await inEveryOrder(async (meet, number) => {
          const user = `ended-${end.name}-${number}`;
          const old = await signedIn(fleet.url(3), { user });
          const client = old.copy();
          const { order } = await meet(
            end(fleet.url(1), old.copy(), user),
            rotating(fleet.url(2), client, { graceMs }),
          );
          await expectGone(fleet, old, order);
          await expectGone(fleet, client, order);
          expect(await handlesOf(fleet.url(3), user), order).toEqual([]);
        });
      }
    },
    timeout,
  );

  test(
    "where the user changes, what was on its way with the old id finds nothing, and brings nothing back (S7)",
    async () => {
      await inEveryOrder(async (meet, number) => {
        const [guest, user] = [`guest-${number}`, `member-${number}`];
        const old = await signedIn(fleet.url(3), { user: guest });
        const client = old.copy();
        const { order } = await meet(
          changing(fleet.url(1), old.copy(), { set: { a: 1 } }),
          rotating(fleet.url(2), client, { graceMs, user }),
        );
        await expectGone(fleet, old, order);
        expect(await sessionAt(fleet.url(3), client), order).toMatchObject({ user });
        expect(await handlesOf(fleet.url(3), guest), order).toEqual([]);
        expect(await handlesOf(fleet.url(3), user), order).toHaveLength(1);
      });
    },
    timeout,
  );
});

for (const beyond of ["reject", "oldest"] as const) {
  describe(`at most one session of a user, beyond it: ${beyond}`, () => {
    let fleet: SessionFleet;
    beforeAll(async () => {
      const engine = { prefix: `${beyond}:`, maxPerUser: { sessions: 1, beyond }, ...patient };
      const settings = { stack: "middleware", engine, userField: "user" } as const;
      fleet = await startWarm([settings, settings, settings]);
    });
    afterAll(() => fleet.stop());

    test(
      "of two sign-ins at once one is signed in, and it is the one listed (S8)",
      async () => {
        await inEveryOrder(async (meet, number) => {
          const user = `twin-${number}`;
          const clients = [new Client(), new Client()] as const;
          const { order, left, right } = await meet(
            signingIn(fleet.url(1), clients[0], user),
            signingIn(fleet.url(2), clients[1], user),
          );
          const sessions = await Promise.all(clients.map((client) => sessionAt(fleet.url(3), client)));
          expect(
            sessions.filter((session) => session !== undefined),
            order,
          ).toHaveLength(1);
          expect(await handlesOf(fleet.url(3), user), order).toHaveLength(1);
          const refused = [left, right].filter(({ status }: Answer) => status === 409);
          expect(refused, order).toHaveLength(beyond === "reject" ? 1 : 0);
          expect(refused.flatMap(sessionCookiesOf), order).toEqual([]);
        });
      },
      timeout,
    );
  });
}

describe("sessions that move from plain to hashed ids", () => {
  const prefix = "moving:";
  const before = { stack: "middleware", engine: { prefix, ids: "plain", migrateTo: "hashed", ...patient } } as const;
  const after = { stack: "middleware", engine: { prefix, ids: "hashed", migrateFrom: "plain", ...patient } } as const;
  let fleet: SessionFleet;
  beforeAll(async () => {
    fleet = await startWarm([before, after, after]);
  });
  afterAll(() => fleet.stop());

  async function expectEverywhere(client: Client, fields: object, order: string): Promise<void> {
    for (const url of fleet.urls) expect(await sessionAt(url, client), order).toEqual({ user: "ann", ...fields });
  }

  test(
    "a change on a server of the step before is kept, whenever it meets the move (S1)",
    async () => {
      await inEveryOrder(async (meet) => {
        const client = await signedIn(fleet.url(1), { user: "ann" });
        const { order, left, right } = await meet(
          changing(fleet.url(1), client.copy(), { set: { a: 1 } }),
          reading(fleet.url(2), client.copy()),
        );
        expect([left.status, right.status], order).toEqual([200, 200]);
        await expectEverywhere(client, { a: 1 }, order);
      });
    },
    timeout,
  );

  test(
    "a session that is ended on a server of the step before is gone, whenever it meets the move (S3)",
    async () => {
      await inEveryOrder(async (meet) => {
        const client = await signedIn(fleet.url(1), { user: "ann" });
        const { order } = await meet(signingOut(fleet.url(1), client.copy()), reading(fleet.url(2), client.copy()));
        await expectGone(fleet, client, order);
      });
    },
    timeout,
  );

  test(
    "two servers that move a session at once both keep what they change (S1)",
    async () => {
      await inEveryOrder(async (meet) => {
        const client = await signedIn(fleet.url(1), { user: "ann" });
        const { order, left, right } = await meet(
          changing(fleet.url(2), client.copy(), { set: { a: 1 } }),
          changing(fleet.url(3), client.copy(), { set: { b: 1 } }),
        );
        expect([left.status, right.status], order).toEqual([200, 200]);
        await expectEverywhere(client, { a: 1, b: 1 }, order);
      });
    },
    timeout,
  );
});
