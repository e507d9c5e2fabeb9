import { type Answer, Client, demoAccount, type HeldRequest, sessionCookiesOf, signedInClient } from "./client.ts";
import { CommandWatch, primariesOf } from "./command-watch.ts";
import { eventually } from "./eventually.ts";
import type { Stack } from "./stack.ts";

/** What a run of an anomaly found: how often it could have happened, how often it did, and anything else worth telling. */
export interface Outcome {
  readonly attempts: number;
  readonly violations: number;
  readonly detail: string;
}

/** Something that goes wrong between several servers, provoked on at least three of them. */
export type Anomaly<Needs = Stack> = (stack: Needs, release?: Release) => Promise<Outcome>;

/** How requests go on that have all loaded one session: at the same moment, or each when the one before was answered. */
export type Release = "at once" | "in turn";

/** What most anomalies need: servers, and the Redis in which they keep their sessions. */
export type SharedServers = Pick<Stack, "servers" | "server" | "redis">;

/** The server whose Redis `redirectRace` slows down: it needs a fault proxy. */
export const slowedServer = 1;

/** G2: two tabs on two servers add an item to one cart at the same moment. A violation is an item that is not in it. */
export const cart: Anomaly<SharedServers> = async (stack, release) => {
  const rounds = 100;
  const client = await signedInClient(stack.server(1));
  let lost = 0;
  await watching(stack, async (watch) => {
    for (let round = 0; round < rounds; round += 1) {
      const items = [`left-${round}`, `right-${round}`];
      const answers = await together({ watch, client, release }, items, (item, index) =>
        client.hold("POST", `${nth(stack, round + index)}/api/cart`, { json: { item } }),
      );
      expectSuccess(answers);
      const inCart = await itemsInCart(client, nth(stack, round + 2));
      lost += items.filter((item) => !inCart.includes(item)).length;
    }
  });
  return {
    attempts: 2 * rounds,
    violations: lost,
    detail: `${rounds} pairs of items, each pair added at the same moment`,
  };
};

/** G2: thirty requests over three servers each set a preference of their own. A violation is one that is not there. */
export const lostUpdate: Anomaly<SharedServers> = async (stack, release) => {
  const rounds = 20;
  const parallel = 30;
  let lost = 0;
  await watching(stack, async (watch) => {
    for (let round = 0; round < rounds; round += 1) {
      const client = await knownEverywhere(stack);
      const keys = names("field", parallel);
      const answers = await together({ watch, client, release }, keys, (key, index) =>
        client.hold("PUT", `${nth(stack, index)}/api/preferences/${key}`, { json: { value: key } }),
      );
      expectSuccess(answers);
      lost += await missingPreferences(stack, client, keys);
    }
  });
  return { attempts: rounds * parallel, violations: lost, detail: `${rounds} rounds of ${parallel} parallel requests` };
};

/** G2: the same with a page that sends six requests through nginx, at its natural pace. */
export const lostUpdateOfPage: Anomaly = async (stack) => {
  const rounds = 20;
  const parallel = 6;
  let lost = 0;
  for (let round = 0; round < rounds; round += 1) {
    const client = await knownEverywhere(stack);
    const keys = names("field", parallel);
    const answers = await Promise.all(
      keys.map((key) => client.request("PUT", `${stack.nginx}/api/preferences/${key}`, { json: { value: key } })),
    );
    expectSuccess(answers);
    lost += await missingPreferences(stack, client, keys);
  }
  return { attempts: rounds * parallel, violations: lost, detail: `${rounds} pages of ${parallel} requests, not held` };
};

/** G3: a slow write is in flight while the same session signs out on another server. A violation is a session that is back. */
export const revival: Anomaly<SharedServers> = async (stack) => {
  const rounds = 20;
  let revived = 0;
  await watching(stack, async (watch) => {
    for (let round = 0; round < rounds; round += 1) {
      const client = await knownEverywhere(stack);
      const slowTab = client.copy();
      const before = client.copy();
      let write: HeldRequest | undefined;
      await watch.whileLoading(client, 1, () => {
        write = slowTab.hold("PUT", `${nth(stack, round)}/api/preferences/slow`, { json: { value: "written" } });
      });
      expectSuccess([await client.request("POST", `${nth(stack, round + 1)}/api/sign-out`)]);
      write?.release();
      await write?.answer;
      const back = [await before.isSignedIn(nth(stack, round + 2)), await slowTab.isSignedIn(nth(stack, round + 2))];
      if (back.includes(true)) revived += 1;
    }
  });
  return { attempts: rounds, violations: revived, detail: "sign-outs, each with a slow write in flight" };
};

/**
 * G4: a form is posted to a server that needs 300 ms to reach Redis, and the page that it redirects to is asked of a
 * server that does not. A violation is a page without what the form changed.
 */
export const redirectRace: Anomaly = async (stack) => {
  const rounds = 10;
  const proxy = stack.proxy(slowedServer);
  const client = await knownEverywhere(stack);
  const [slow, fast] = [stack.server(slowedServer), stack.server(slowedServer + 1)];
  const delayedBefore = proxy.counts.delayedChunks;
  const lateMs: number[] = [];
  let misses = 0;
  await proxy.set({ delayMs: 300 });
  try {
    for (let round = 0; round < rounds; round += 1) {
      const item = `item-${round}`;
      const post = client.hold("POST", `${slow}/cart`, { form: { item } });
      post.release();
      const { status } = await post.head;
      if (status !== 302 && status !== 303) throw new Error(`Adding to the cart answered ${status}, not a redirect.`);
      const headersAt = performance.now();
      const visible = async () => (await itemsInCart(client, fast)).includes(item);
      if (await visible()) continue;
      misses += 1;
      await eventually("the item is in the cart", visible);
      lateMs.push(Math.round(performance.now() - headersAt));
    }
  } finally {
    await proxy.set("pass");
  }
  if (proxy.counts.delayedChunks - delayedBefore < rounds) throw new Error("The server's Redis was not slowed down.");
  const detail = misses === 0 ? "nothing late" : `visible ${median(lateMs)} ms (median) after the headers`;
  return { attempts: rounds, violations: misses, detail };
};

/** G4: Redis refuses every save. A violation is an answer that says that all went well, or one that sets a session cookie. */
export const failedSave: Anomaly = async (stack) => {
  const rounds = 10;
  const client = await knownEverywhere(stack);
  const counts = { signIn: 0, change: 0 };
  const reportsSuccess = (answer: Answer) => answer.status < 400 || sessionCookiesOf(answer).length > 0;
  // Redis has "no memory" left: it reads, and deletes, and stores nothing.
  const nodes = primariesOf(stack.redis);
  const [, before = "0"] = (await nodes[0]?.config("GET", "maxmemory")) ?? [];
  const setMemory = (bytes: string) => Promise.all(nodes.map((node) => node.config("SET", "maxmemory", bytes)));
  await setMemory("1");
  try {
    for (let round = 0; round < rounds; round += 1) {
      const server = nth(stack, round);
      const signIn = await new Client().request("POST", `${server}/api/sign-in`, { json: demoAccount });
      if (reportsSuccess(signIn)) counts.signIn += 1;
      const change = await client.request("PUT", `${server}/api/preferences/colour`, { json: { value: `${round}` } });
      if (reportsSuccess(change)) counts.change += 1;
    }
    const errors = await Promise.all(nodes.map((node) => node.info("errorstats")));
    if (!errors.join("").includes("errorstat_OOM")) throw new Error("Redis refused nothing.");
  } finally {
    await setMemory(before);
  }
  const detail = `reported as done: ${counts.signIn} sign-ins, ${counts.change} changes`;
  return { attempts: 2 * rounds, violations: counts.signIn + counts.change, detail };
};

/** Holds one request per item until each has loaded the session, then lets them go on. */
async function together(
  { watch, client, release = "at once" }: { watch: CommandWatch; client: Client; release: Release | undefined },
  items: readonly string[],
  hold: (item: string, index: number) => HeldRequest,
): Promise<Answer[]> {
  let held: HeldRequest[] = [];
  await watch.whileLoading(client, items.length, () => {
    held = items.map(hold);
  });
  const answers: Promise<Answer>[] = [];
  for (const request of held) {
    request.release();
    answers.push(request.answer);
    if (release === "in turn") await request.answer;
  }
  return Promise.all(answers);
}

async function watching(stack: SharedServers, run: (watch: CommandWatch) => Promise<void>): Promise<void> {
  const watch = await CommandWatch.start(stack.redis);
  try {
    await run(watch);
  } finally {
    watch.stop();
  }
}

/** A signed-in client whose session every server has seen, so that none has anything left to do for it the first time. */
async function knownEverywhere(stack: SharedServers): Promise<Client> {
  const client = await signedInClient(stack.server(1));
  for (const server of stack.servers) await read(client, `${server}/api/preferences`);
  return client;
}

async function itemsInCart(client: Client, server: string): Promise<string[]> {
  return (await read<{ items: string[] }>(client, `${server}/api/cart`)).items;
}

async function missingPreferences(stack: SharedServers, client: Client, keys: readonly string[]): Promise<number> {
  const kept = await read<Record<string, unknown>>(client, `${stack.server(1)}/api/preferences`);
  return keys.filter((key) => !(key in kept)).length;
}

async function read<T>(client: Client, url: string): Promise<T> {
  const answer = await client.request("GET", url);
  expectSuccess([answer]);
  return answer.body as T;
}

/** An update that was refused was not lost: it would be counted as a violation, or hide one. */
function expectSuccess(answers: readonly Answer[]): void {
  for (const { status, text } of answers) {
    if (status >= 300) throw new Error(`A request that must succeed answered ${status}: ${text}`);
  }
}

function nth(stack: SharedServers, index: number): string {
  return stack.server((index % stack.servers.length) + 1);
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
