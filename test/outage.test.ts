import { afterAll, beforeAll, expect, test } from "vitest";
import { type Answer, Client, demoAccount, sessionCookiesOf, signedInClient } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import type { Fault, FaultCounts } from "./harness/fault-proxy.ts";
import { type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
let stack: Stack;
const numbers = [1, 2, 3];

beforeAll(async () => {
  database = await startSharedDatabase();
  stack = await startStack({ sessionStack: "middleware", databaseUrl: database.url, proxied: numbers });
});
afterAll(async () => {
  await stack.stop();
  await database.stop();
});

/** S10: a load has half a second, a commit three and a half; the rest is for a busy machine. */
const readWithinMs = 2_000;
const writeWithinMs = 5_000;

async function setFault(fault: Fault): Promise<void> {
  await Promise.all(numbers.map((number) => stack.proxy(number).set(fault)));
}

/** What a fault did at every server since `before`. */
function counted(count: keyof FaultCounts): number[] {
  return numbers.map((number) => stack.proxy(number).counts[count]);
}

async function timed(withinMs: number, request: Promise<Answer>): Promise<Answer> {
  const start = performance.now();
  const answer = await request;
  expect(performance.now() - start).toBeLessThan(withinMs);
  return answer;
}

const outages: readonly { what: string; fault: Fault; seenIn: keyof FaultCounts }[] = [
  { what: "refuses connections", fault: "refuse", seenIn: "resets" },
  { what: "resets connections", fault: "reset", seenIn: "resets" },
  { what: "is a black hole", fault: "hold", seenIn: "heldChunks" },
  { what: "is ten seconds away", fault: { delayMs: 10_000 }, seenIn: "delayedChunks" },
];

for (const { what, fault, seenIn } of outages) {
  test(`while Redis ${what} every request is answered in time, no cookie is replaced, and then all are signed in as before`, async () => {
    const client = await signedInClient(stack.server(1));
    const id = client.sessionId;
    const before = counted(seenIn);

    await setFault(fault);
    try {
      for (const server of stack.servers) {
        const answers = await Promise.all([
          timed(readWithinMs, client.request("GET", `${server}/api/me`)),
          timed(readWithinMs, client.request("GET", `${server}/`)),
          timed(writeWithinMs, client.request("PUT", `${server}/api/preferences/colour`, { json: { value: "blue" } })),
          timed(writeWithinMs, new Client().request("POST", `${server}/api/sign-in`, { json: demoAccount })),
        ]);
        expect(answers.map(({ status }) => status)).toEqual([503, 503, 503, 503]);
        expect(answers.flatMap(sessionCookiesOf)).toEqual([]);
        expect((await client.request("GET", `${server}/livez`)).status).toBe(200);
        expect((await timed(readWithinMs, client.request("GET", `${server}/readyz`))).status).toBe(503);
      }
      for (const [index, count] of counted(seenIn).entries()) expect(count).toBeGreaterThan(before[index] ?? 0);
    } finally {
      await setFault("pass");
    }

    expect(client.sessionId).toBe(id);
    for (const server of stack.servers) {
      const recovered = async () => (await client.request("GET", `${server}/api/me`)).status === 200;
      await eventually("the same cookie is signed in again", recovered, { withinMs: 15_000, everyMs: 50 });
    }
  });
}

test("while Redis is 200 ms away all requests succeed", async () => {
  const client = await signedInClient(stack.server(1));
  const before = counted("delayedChunks");
  await setFault({ delayMs: 200 });
  try {
    for (const server of stack.servers) {
      const change = client.request("PUT", `${server}/api/preferences/colour`, { json: { value: server } });
      expect((await timed(writeWithinMs, change)).status).toBe(200);
      expect((await timed(readWithinMs, client.request("GET", `${server}/api/preferences`))).body).toEqual({
        colour: server,
      });
    }
    for (const [index, count] of counted("delayedChunks").entries()) expect(count).toBeGreaterThan(before[index] ?? 0);
  } finally {
    await setFault("pass");
  }
});
