import { Client, sessionCookiesOf } from "../client.ts";
import type { SessionFleet } from "./fleet.ts";
import { type Finding, inEveryOrder, type Side } from "./interleavings.ts";
import { change, endAll, handlesOf, sessionAt, signedIn } from "./requests.ts";
import type { Change } from "./session-server.ts";
import type { ServerSettings } from "./server-settings.ts";

/** Two requests on two of three servers, in every order of their commands. What it gives are the orders in which it failed. */
export type Race = (fleet: SessionFleet) => AsyncGenerator<Finding>;

/** Commands are held for longer than an app would wait. */
const patient = { commandDeadlineMs: 10_000, commitDeadlineMs: 20_000 };

/** Servers that index sessions by user. */
export const indexing: ServerSettings = {
  stack: "middleware",
  engine: { prefix: "races:", ...patient },
  userField: "user",
};

/** Servers on which a user may have so many sessions. */
export function limiting(beyond: "reject" | "oldest", sessions = 1): ServerSettings {
  const engine = { prefix: `${beyond}-${sessions}:`, maxPerUser: { sessions, beyond }, ...patient };
  return { stack: "middleware", engine, userField: "user" };
}

/** A server of the step before sessions move, and two of the step after; a user may have two sessions, if that is told. */
export function acrossMove(beyond?: "reject" | "oldest"): readonly ServerSettings[] {
  const limit = beyond && { maxPerUser: { sessions: 2, beyond } };
  const engine = { prefix: `moving-${beyond}:`, ...patient, ...limit };
  const before: ServerSettings = { ...indexing, engine: { ...engine, ids: "plain", migrateTo: "hashed" } };
  const after: ServerSettings = { ...indexing, engine: { ...engine, ids: "hashed", migrateFrom: "plain" } };
  return [before, after, after];
}

/** How long an old id leads to the new one: for as long as any race takes. */
const graceMs = 60_000;

/** Has Redis know the servers' scripts, so that a command is the same each time. */
export async function warmUp(fleet: SessionFleet): Promise<void> {
  for (const url of fleet.urls) {
    const client = await signedIn(url, { user: "warm-up" });
    await change(url, client, { set: { a: 1 } });
    await client.request("POST", `${url}/sign-out`);
  }
}

/** S8: signed in and listed, or gone. */
export function signInAndLogOutEverywhere(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const user = `racer-${number}`;
    const [old, client] = [await signedIn(fleet.url(3), { user }), new Client()];
    await meet(signingIn(fleet.url(1), client, user), signingOutEverywhere(fleet.url(2), user));
    const isSignedIn = (await sessionAt(fleet.url(3), client)) !== undefined;
    const listed = await handlesOf(fleet.url(3), user);
    await endAll(fleet.url(3), user);
    return {
      found: { old: await found(fleet, old), listed: listed.length, later: await found(fleet, client) },
      expected: { old: [], listed: isSignedIn ? 1 : 0, later: [] },
    };
  });
}

/** S8: a session that becomes a user's without a new sign-in is that user's and listed, or gone; and nobody else's. */
export function takeoverAndLogOutEverywhere(by: "change" | "rotation"): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const [guest, user] = [`${by}-guest-${number}`, `${by}-member-${number}`];
      const [old, client] = [await signedIn(fleet.url(3), { user }), await signedIn(fleet.url(3), { user: guest })];
      const takeover =
        by === "change"
          ? changing(fleet.url(1), client, { set: { user } })
          : rotating(fleet.url(1), client, { graceMs, user });
      await meet(takeover, signingOutEverywhere(fleet.url(2), user));
      const isSignedIn = (await sessionAt(fleet.url(3), client.copy())) !== undefined;
      const listed = [await handlesOf(fleet.url(3), guest), await handlesOf(fleet.url(3), user)];
      await endAll(fleet.url(3), user);
      return {
        found: {
          old: await found(fleet, old),
          listed: listed.map(({ length }) => length),
          later: await found(fleet, client),
        },
        expected: { old: [], listed: [0, isSignedIn ? 1 : 0], later: [] },
      };
    });
}

/** S3, S8: the change brings nothing back. */
export function changeAndLogOutEverywhere(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const user = `changer-${number}`;
    const client = await signedIn(fleet.url(3), { user });
    await meet(changing(fleet.url(1), client.copy(), { set: { a: 1 } }), signingOutEverywhere(fleet.url(2), user));
    const listed = await handlesOf(fleet.url(3), user);
    return { found: [await found(fleet, client), listed], expected: [[], []] };
  });
}

/** S8: one is signed in, and it is the one listed. */
export function twoSignIns(beyond: "reject" | "oldest"): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const user = `twin-${number}`;
      const clients = [new Client(), new Client()] as const;
      const { left, right } = await meet(
        signingIn(fleet.url(1), clients[0], user),
        signingIn(fleet.url(2), clients[1], user),
      );
      const sessions = await Promise.all(clients.map((client) => sessionAt(fleet.url(3), client)));
      const refused = [left, right].filter(({ status }) => status === 409);
      return {
        found: {
          alive: sessions.filter((session) => session !== undefined).length,
          listed: (await handlesOf(fleet.url(3), user)).length,
          refused: refused.length,
          cookies: refused.flatMap(sessionCookiesOf),
        },
        expected: { alive: 1, listed: 1, refused: beyond === "reject" ? 1 : 0, cookies: [] },
      };
    });
}

/** S7, S8: the session that is rotated counts as one, not as two nor as none. `allowed`: how many the user may have. */
export function signInAndRotation(beyond: "reject" | "oldest", allowed: 1 | 2): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const user = `turning-${number}`;
      const [client, other] = [await signedIn(fleet.url(3), { user }), new Client()];
      const { left, right } = await meet(
        signingIn(fleet.url(1), other, user),
        rotating(fleet.url(2), client, { graceMs }),
      );
      const sessions = await Promise.all([client, other].map((one) => sessionAt(fleet.url(3), one)));
      const isRefused = allowed === 1 && beyond === "reject";
      const isEnded = allowed === 1 && beyond === "oldest";
      return {
        found: {
          alive: sessions.map((session) => session !== undefined),
          listed: (await handlesOf(fleet.url(3), user)).length,
          statuses: [left.status, isEnded || right.status],
        },
        expected: {
          alive: [!isEnded, !isRefused],
          listed: allowed,
          statuses: [isRefused ? 409 : 200, isEnded || 200],
        },
      };
    });
}

/** S7, S8: who ends all others stays signed in, and the others are gone. `leadsMs`: how long the old id leads to the new. */
export function rotationAndEndOfOthers(leadsMs: number): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const user = `staying-${leadsMs}-${number}`;
      const [client, other] = [await signedIn(fleet.url(3), { user }), await signedIn(fleet.url(3), { user })];
      const { left, right } = await meet(
        signingOutElsewhere(fleet.url(1), client.copy()),
        rotating(fleet.url(2), client, { graceMs: leadsMs }),
      );
      // Without a grace it may come with an id that is dead by then: it was nobody's request.
      const isHeard = leadsMs > 0 || left.status === 200;
      const alive = [await found(fleet, client), await found(fleet, other)].map(({ length }) => length);
      return {
        found: { alive, listed: (await handlesOf(fleet.url(3), user)).length, rotated: right.status },
        expected: { alive: [3, isHeard ? 0 : 3], listed: isHeard ? 1 : 2, rotated: 200 },
      };
    });
}

/** S7: the change is kept, by the old id and by the new. */
export function changeAndRotation(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const user = `rotated-${number}`;
    const old = await signedIn(fleet.url(3), { user });
    const client = old.copy();
    const { left, right } = await meet(
      changing(fleet.url(1), old.copy(), { set: { a: 1 } }),
      rotating(fleet.url(2), client, { graceMs, b: 1 }),
    );
    return oneSession(fleet, { user, a: 1, b: 1 }, { clients: [old, client], statuses: [left.status, right.status] });
  });
}

/** S7: it is one session after, by each of the three ids. */
export function twoRotations(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const user = `twice-${number}`;
    const old = await signedIn(fleet.url(3), { user });
    const [first, second] = [old.copy(), old.copy()];
    const { left, right } = await meet(
      rotating(fleet.url(1), first, { graceMs, a: 1 }),
      rotating(fleet.url(2), second, { graceMs, b: 1 }),
    );
    const statuses = [left.status, right.status];
    return oneSession(fleet, { user, a: 1, b: 1 }, { clients: [old, first, second], statuses });
  });
}

/** S3, S7: gone under both ids, and listed no more. */
export function rotationAndEnd(how: "sign-out" | "log-out-everywhere"): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const user = `${how}-${number}`;
      const old = await signedIn(fleet.url(3), { user });
      const client = old.copy();
      const end = how === "sign-out" ? signingOut(fleet.url(1), old.copy()) : signingOutEverywhere(fleet.url(1), user);
      await meet(end, rotating(fleet.url(2), client, { graceMs }));
      const alive = [...(await found(fleet, old)), ...(await found(fleet, client))];
      return { found: [alive, await handlesOf(fleet.url(3), user)], expected: [[], []] };
    });
}

/** S7, fixation: what was on its way with the old id finds nothing, and brings nothing back. */
export function changeAndRotationToAnotherUser(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const [guest, user] = [`guest-${number}`, `member-${number}`];
    const old = await signedIn(fleet.url(3), { user: guest });
    const client = old.copy();
    await meet(
      changing(fleet.url(1), old.copy(), { set: { a: 1 } }),
      rotating(fleet.url(2), client, { graceMs, user }),
    );
    const listed = [await handlesOf(fleet.url(3), guest), await handlesOf(fleet.url(3), user)];
    const session = await sessionAt(fleet.url(3), client);
    return {
      found: { old: await found(fleet, old), user: session?.["user"], listed: listed.map(({ length }) => length) },
      expected: { old: [], user, listed: [0, 1] },
    };
  });
}

/** S1: the change on the server of the step before is kept. */
export function changeAndMove(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const user = `moved-${number}`;
    const client = await signedIn(fleet.url(1), { user });
    const { left, right } = await meet(
      changing(fleet.url(1), client.copy(), { set: { a: 1 } }),
      reading(fleet.url(2), client.copy()),
    );
    return oneSession(fleet, { user, a: 1 }, { clients: [client], statuses: [left.status, right.status] });
  });
}

/** S1: two servers move it at once, and both keep what they change. */
export function twoMoves(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet, number) => {
    const user = `moved-twice-${number}`;
    const client = await signedIn(fleet.url(1), { user });
    const { left, right } = await meet(
      changing(fleet.url(2), client.copy(), { set: { a: 1 } }),
      changing(fleet.url(3), client.copy(), { set: { b: 1 } }),
    );
    return oneSession(fleet, { user, a: 1, b: 1 }, { clients: [client], statuses: [left.status, right.status] });
  });
}

/** S8: of two sessions that a user may have, the one that is moved counts as one, not as two nor as none. */
export function signInAndMove(beyond: "reject" | "oldest"): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const user = `moving-${beyond}-${number}`;
      const [client, other] = [await signedIn(fleet.url(1), { user }), new Client()];
      const { left, right } = await meet(signingIn(fleet.url(3), other, user), reading(fleet.url(2), client.copy()));
      const alive = [await found(fleet, client), await found(fleet, other)].map(({ length }) => length);
      const listed = (await handlesOf(fleet.url(3), user)).length;
      return {
        found: { alive, listed, statuses: [left.status, right.status] },
        expected: { alive: [3, 3], listed: 2, statuses: [200, 200] },
      };
    });
}

/** S3: ended on the server of the step before it is gone on all. */
export function signOutAndMove(fleet: SessionFleet): AsyncGenerator<Finding> {
  return inEveryOrder(async (meet) => {
    const client = await signedIn(fleet.url(1), { user: "ann" });
    await meet(signingOut(fleet.url(1), client.copy()), reading(fleet.url(2), client.copy()));
    return { found: await found(fleet, client), expected: [] };
  });
}

/** S8: a log-out-everywhere on the server of either step finds it wherever it is. */
export function logOutEverywhereAndMove(step: "before" | "after"): Race {
  return (fleet) =>
    inEveryOrder(async (meet, number) => {
      const user = `mover-${step}-${number}`;
      const client = await signedIn(fleet.url(1), { user });
      const [ending, other] = step === "before" ? [fleet.url(1), fleet.url(2)] : [fleet.url(2), fleet.url(3)];
      await meet(signingOutEverywhere(ending, user), reading(other, client.copy()));
      return { found: [await found(fleet, client), await handlesOf(fleet.url(3), user)], expected: [[], []] };
    });
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

function signingOutElsewhere(url: string, client: Client): Side {
  return { url, send: () => client.request("POST", `${url}/sign-out-elsewhere`) };
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

/** What servers find for a client, where they find anything. */
async function found(fleet: SessionFleet, client: Client): Promise<unknown[]> {
  // Each time as it was: an answer may give the client another cookie.
  const sessions = await Promise.all(fleet.urls.map((url) => sessionAt(url, client.copy())));
  return sessions.filter((session) => session !== undefined);
}

/** Every client finds it on every server, and it is listed once. */
async function oneSession(
  fleet: SessionFleet,
  fields: { readonly user: string; readonly [field: string]: unknown },
  { clients, statuses }: { clients: readonly Client[]; statuses: readonly number[] },
): Promise<Finding> {
  const sessions = [];
  for (const client of clients) sessions.push(...(await found(fleet, client)));
  const listed = (await handlesOf(fleet.url(3), fields.user)).length;
  return {
    found: { sessions, listed, statuses },
    expected: {
      sessions: clients.flatMap(() => fleet.urls.map(() => fields)),
      listed: 1,
      statuses: statuses.map(() => 200),
    },
  };
}
