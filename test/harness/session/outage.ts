import { type Answer, Client, sessionCookiesOf } from "../client.ts";
import { eventually } from "../eventually.ts";
import type { RedisFault } from "./faults.ts";
import type { SessionFleet } from "./fleet.ts";
import { change, heldChange, sessionAt, signedIn } from "./requests.ts";
import type { Change } from "./session-server.ts";

/** What clients ask for. `in flight`: a change whose session was loaded before the fault began. */
export type Work = "in flight" | "read" | "change" | "sign-in";

/** The status of an answer that ended before it was complete. */
const brokenOff = 0;

/** How one request was answered. */
interface Answered {
  readonly work: Work;
  readonly status: number;
  readonly waitedMs: number;
  readonly cookies: readonly string[];
}

/** What servers did while a fault lasted, and after. */
export interface Outage {
  /** Of all servers: what was in flight, and the first requests of each kind. */
  readonly first: readonly Answered[];
  /** A request of each kind again, when the servers have seen that something is wrong. */
  readonly second: readonly Answered[];
  /** From the end of the fault until every server has read and changed the session again. */
  readonly recoveredAfterMs: number;
  /** How many changes were answered as done and are not there afterwards. */
  readonly falselyAcknowledged: number;
  /** Whether all that were signed in before still are, on every server, by the cookie they had. */
  readonly isEveryoneSignedIn: boolean;
}

/** Requests of every kind to every server before, during and after a fault. */
export async function throughOutage(fleet: SessionFleet, fault: RedisFault): Promise<Outage> {
  const people = await Promise.all(fleet.urls.map((url, index) => signedIn(url, { user: `user-${index}` })));
  const ids = people.map(({ sessionId }) => sessionId);
  const changes = new Changes();
  const inFlight = await Promise.all(
    zip(fleet, people).map(async ({ url, person }) => {
      const change = changes.next(person);
      return { change, request: await heldChange(url, person, change.json) };
    }),
  );
  await fault.begin();
  let first, second;
  try {
    const caught = inFlight.map(({ change, request }) => {
      request.release();
      return changes.settle(change, timed("in flight", request.answer));
    });
    first = [...(await Promise.all(caught)), ...(await wave(fleet, people, changes))];
    // More failures in a row than a breaker needs, where everything fails.
    first.push(...(await wave(fleet, people, changes)));
    second = await wave(fleet, people, changes);
  } finally {
    await fault.end();
  }
  const endedAt = performance.now();
  await Promise.all(people.map((person) => untilRecovered(fleet, person, changes)));
  const recoveredAfterMs = performance.now() - endedAt;
  return {
    first,
    second,
    recoveredAfterMs,
    falselyAcknowledged: await changes.countMissing(fleet.url(1)),
    isEveryoneSignedIn: people.every(({ sessionId }, index) => sessionId === ids[index]),
  };
}

/** A read, a change and a sign-in at every server at once. */
async function wave(fleet: SessionFleet, people: readonly Client[], changes: Changes): Promise<Answered[]> {
  const requests = zip(fleet, people).flatMap(({ url, person }) => [
    timed("read", person.request("GET", `${url}/session`)),
    changes.make(url, person),
    timed("sign-in", new Client().request("POST", `${url}/sign-in`, { json: { user: "new" } })),
  ]);
  return Promise.all(requests);
}

async function untilRecovered(fleet: SessionFleet, person: Client, changes: Changes): Promise<void> {
  for (const url of fleet.urls) {
    await eventually("the session can be read and changed again", async () => {
      const { status } = await changes.make(url, person);
      return status === 200 && (await person.request("GET", `${url}/session`)).status === 200;
    });
  }
}

interface OwnChange {
  readonly person: Client;
  readonly name: string;
  readonly json: Change;
}

/** Changes, each of a value of its own, so that afterwards one sees which of them were made. */
class Changes {
  readonly #acknowledged: OwnChange[] = [];
  #last = 0;

  next(person: Client): OwnChange {
    this.#last += 1;
    const name = `change-${this.#last}`;
    return { person, name, json: { set: { [name]: true } } };
  }

  make(url: string, person: Client): Promise<Answered> {
    const own = this.next(person);
    return this.settle(own, timed("change", change(url, person, own.json)));
  }

  async settle(own: OwnChange, request: Promise<Answered>): Promise<Answered> {
    const answered = await request;
    if (answered.status === 200) this.#acknowledged.push(own);
    return answered;
  }

  async countMissing(url: string): Promise<number> {
    const isThere = async ({ person, name }: OwnChange) => name in ((await sessionAt(url, person)) ?? {});
    const found = await Promise.all(this.#acknowledged.map(isThere));
    return found.filter((isFound) => !isFound).length;
  }
}

async function timed(work: Work, request: Promise<Answer>): Promise<Answered> {
  const start = performance.now();
  const { status, cookies } = await request.then(
    (answer) => ({ status: answer.status, cookies: sessionCookiesOf(answer) }),
    () => ({ status: brokenOff, cookies: [] }),
  );
  return { work, status, waitedMs: performance.now() - start, cookies };
}

function zip(fleet: SessionFleet, people: readonly Client[]): { url: string; person: Client }[] {
  return people.map((person, index) => ({ person, url: fleet.url(index + 1) }));
}
