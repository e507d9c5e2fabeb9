import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Client, sessionCookie } from "./harness/client.ts";
import { pick, seededRandom, seedOfRun } from "./harness/cache/random.ts";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { killedSignIns } from "./harness/session/killed-sign-in.ts";
import { indexing } from "./harness/session/races.ts";
import { endAll, handlesOf, heldChange, sessionAt, signedIn } from "./harness/session/requests.ts";
import type { RedisPorts, ServerSettings } from "./harness/session/server-settings.ts";
import { startSessionCluster, startSessionRedis } from "./harness/session/session-redis.ts";
import { Traffic } from "./harness/session/traffic.ts";
import { sessionSecret } from "./harness/stack.ts";

let program: string;
beforeAll(async () => {
  program = await buildServer();
});

interface Topology {
  readonly name: string;
  readonly start: () => Promise<{ readonly ports: RedisPorts; stop(): Promise<void> }>;
}

const topologies: readonly Topology[] = [
  {
    name: "one Redis",
    start: async () => {
      const redis = await startSessionRedis();
      return { ports: redis.port, stop: () => redis.stop() };
    },
  },
  // A record and the index of its user are on different nodes there.
  { name: "a Cluster of three nodes", start: startSessionCluster },
];

test("a server that is killed at any point of a sign-in leaves no session that a log-out-everywhere does not find (S8)", async () => {
  const redis = await startSessionRedis();
  const fleet = await SessionFleet.start({ program, redis: redis.port, servers: [indexing, indexing] });
  try {
    const left = await killedSignIns(fleet, redis);
    expect(left.length).toBeGreaterThan(2);
    expect(left).toEqual(left.map(() => 0));
  } finally {
    await fleet.stop();
    await redis.stop();
  }
});

for (const { name, start } of topologies) {
  describe(`three servers on ${name}`, () => {
    let redis: Awaited<ReturnType<Topology["start"]>>;
    let fleet: SessionFleet;
    let limited: Record<"reject" | "oldest", SessionFleet>;
    beforeAll(async () => {
      redis = await start();
      fleet = await startThree({ stack: "middleware", userField: "user" });
      const limitedTo = (beyond: "reject" | "oldest") => {
        const engine = { prefix: `${beyond}:`, maxPerUser: { sessions: 3, beyond } };
        return startThree({ stack: "middleware", engine, userField: "user" });
      };
      limited = { reject: await limitedTo("reject"), oldest: await limitedTo("oldest") };
    });
    afterAll(async () => {
      await Promise.all([fleet, limited.reject, limited.oldest].map((each) => each.stop()));
      await redis.stop();
    });

    function startThree(settings: ServerSettings): Promise<SessionFleet> {
      return SessionFleet.start({ program, redis: redis.ports, servers: [settings, settings, settings] });
    }

    async function living(on: SessionFleet, clients: readonly Client[]): Promise<Client[]> {
      const sessions = await Promise.all(clients.map((client, index) => sessionAt(on.url(index + 1), client)));
      return clients.filter((_, index) => sessions[index] !== undefined);
    }

    test("every server lists the sessions of a user, and ends one, the others, or all of them everywhere (S8)", async () => {
      const user = "lister";
      const clients: Client[] = [];
      for (let number = 1; number <= 4; number += 1) clients.push(await signedIn(fleet.url(number), { user }));
      const [own, other] = clients as [Client, Client, Client, Client];
      const stranger = await signedIn(fleet.url(1), { user: "another" });
      for (const url of fleet.urls) expect(await handlesOf(url, user)).toHaveLength(4);

      const [oldest = ""] = await handlesOf(fleet.url(2), user);
      expect(await endAll(fleet.url(2), user, { only: oldest })).toBe(1);
      expect(await living(fleet, clients)).toEqual(clients.slice(1));
      await other.request("POST", `${fleet.url(3)}/sign-out-elsewhere`);
      expect(await living(fleet, clients)).toEqual([other]);
      expect(await endAll(fleet.url(1), user)).toBe(1);
      expect(await living(fleet, [...clients, own])).toEqual([]);
      for (const url of fleet.urls) expect(await handlesOf(url, user)).toEqual([]);
      expect(await living(fleet, [stranger])).toEqual([stranger]);
    });

    test("a handle that was listed reads nothing (S8)", async () => {
      const user = "handled";
      await signedIn(fleet.url(1), { user });
      const [handle = ""] = await handlesOf(fleet.url(2), user);
      // Even signed, as only the servers could.
      const signature = createHmac("sha256", sessionSecret).update(handle).digest("base64").replace(/=+$/, "");
      const thief = new Client();
      thief.cookies.set(sessionCookie, encodeURIComponent(`s:${handle}.${signature}`));
      expect(await sessionAt(fleet.url(1), thief)).toBeUndefined();
    });

    test("what was in flight when a user is signed out everywhere brings nothing back (S3, S8)", async () => {
      const user = "busy";
      const clients = await Promise.all(fleet.urls.map((url) => signedIn(url, { user })));
      const held = await Promise.all(
        clients.map((client, index) => heldChange(fleet.url(index + 2), client.copy(), { set: { a: 1 } })),
      );
      expect(await endAll(fleet.url(1), user)).toBe(3);
      for (const request of held) request.release();
      await Promise.all(held.map(({ answer }) => answer));
      expect(await living(fleet, clients)).toEqual([]);
      expect(await handlesOf(fleet.url(2), user)).toEqual([]);
    });

    test("whoever signs in while all are signed out is signed in and listed, or neither (S8)", async () => {
      const seed = seedOfRun();
      const random = seededRandom(seed);
      for (let round = 0; round < 100; round += 1) {
        const user = `racer-${round}`;
        const clients = [new Client(), new Client(), new Client()];
        const requests = clients.map((client) =>
          client.request("POST", `${pick(fleet.urls, random)}/sign-in`, { json: { user } }),
        );
        await Promise.all([...requests, endAll(pick(fleet.urls, random), user)]);
        const alive = await living(fleet, clients);
        expect(await handlesOf(fleet.url(1), user), `seed ${seed}, round ${round}`).toHaveLength(alive.length);
        await endAll(fleet.url(2), user);
        expect(await living(fleet, clients), `seed ${seed}, round ${round}`).toEqual([]);
      }
    });

    for (const beyond of ["reject", "oldest"] as const) {
      test(`of twelve sign-ins at once over three servers three are signed in, and listed; beyond them: ${beyond} (S8)`, async () => {
        const [user, on] = ["crowd", limited[beyond]];
        const clients = Array.from({ length: 12 }, () => new Client());
        const answers = await Promise.all(
          clients.map((client, index) => client.request("POST", `${on.url(index + 1)}/sign-in`, { json: { user } })),
        );
        expect(await living(on, clients)).toHaveLength(3);
        expect(await handlesOf(on.url(2), user)).toHaveLength(3);
        const refused = answers.filter(({ status }) => status === 409).length;
        expect(refused).toBe(beyond === "reject" ? 9 : 0);
        // There is room again once somebody signs out.
        await (await living(on, clients))[0]?.request("POST", `${on.url(3)}/sign-out`);
        const late = await signedIn(on.url(1), { user });
        expect(await living(on, [late])).toEqual([late]);
      });
    }

    test("sessions that get new ids under traffic stay signed in with what was in flight, and lose no change (S7)", async () => {
      const graceMs = 10_000;
      const traffic = await Traffic.start(fleet, { people: 3, tabs: 3 });
      try {
        for (let round = 0; round < 10; round += 1) {
          for (const client of traffic.clients) {
            const before = client.sessionId;
            const { status } = await fleet.use((url) => client.request("POST", `${url}/rotate`, { json: { graceMs } }));
            expect(status).toBe(200);
            expect(client.sessionId).not.toBe(before);
          }
        }
        await traffic.goneAround();
        expect(await traffic.lostChanges()).toBe(0);
        expect({ logouts: traffic.logouts, failures: traffic.failures }).toEqual({ logouts: 0, failures: [] });
      } finally {
        await traffic.pause();
      }
    });

    test("a session whose user changes with its id leaves the old id dead on every server at once (S7)", async () => {
      const client = await signedIn(fleet.url(1), { user: "before" });
      const old = client.copy();
      const json = { graceMs: 10_000, user: "after" };
      expect((await client.request("POST", `${fleet.url(2)}/rotate`, { json })).status).toBe(200);
      for (const url of fleet.urls) {
        expect(await sessionAt(url, old)).toBeUndefined();
        expect(await sessionAt(url, client)).toEqual({ user: "after" });
      }
      expect([await handlesOf(fleet.url(3), "before"), await handlesOf(fleet.url(3), "after")]).toMatchObject([
        [],
        [{}],
      ]);
    });
  });
}
