// One server of a deployment that is rolled out anew, in a process of its own. To each line it answers with one: "read", "write <n>", "leave".
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { joinNearCache } from "@lockstep/near-cache";
import { createSessions } from "@lockstep/session-store";

const [url = "", prefix = "", group = "", step = ""] = process.argv.slice(2);
const client = new Redis(url);
const near =
  step === "outside" ? undefined : await joinNearCache({ client, group, leaseMs: 300, copies: step === "copies" });
const sessions = createSessions({ client, prefix, near });

async function read(): Promise<unknown> {
  const tracked = await sessions.load("a");
  return tracked && sessions.read(tracked)?.n;
}

async function write(n: number): Promise<unknown> {
  const tracked = (await sessions.load("a")) ?? sessions.born("a");
  const fields = sessions.read(tracked) ?? { cookie: { originalMaxAge: 60_000, expires: null } };
  return sessions.commit(tracked, { ...fields, n });
}

async function leave(): Promise<void> {
  sessions.close();
  await near?.close();
  client.disconnect();
  process.stdin.destroy();
}

for await (const line of createInterface({ input: process.stdin })) {
  const [order, n] = line.split(" ");
  if (order === "leave") await leave();
  const value = order === "write" ? await write(Number(n)) : order === "read" && (await read());
  process.stdout.write(`${JSON.stringify({ value, nearHits: sessions.counts()["near-hit"] })}\n`);
}
