import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { randomUUID } from "node:crypto";
import { beforeAll, expect, inject, it, onTestFinished } from "vitest";
import { buildProgram } from "../../../test/harness/mutant.ts";
import { uniquePrefix } from "./harness/redis.ts";

/** How a server takes part: not at all, by its writes, or by copies as well. */
type Step = "outside" | "writes" | "copies";

interface Answer {
  readonly value?: unknown;
  readonly nearHits: number;
}

let program: string;
beforeAll(async () => {
  program = await buildProgram("packages/session-store/test/harness/rollout-server.ts", "session-store", undefined, [
    "near-cache",
  ]);
}, 60_000);

class Server {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  constructor(step: Step, { prefix, group }: { prefix: string; group: string }) {
    this.#child = spawn(process.execPath, [program, inject("redisUrl"), prefix, group, step], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    onTestFinished(() => void this.#child.kill("SIGKILL"));
    if (!this.#child.stdout) throw new Error("a server without an output");
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** One at a time. */
  async ask(order: string): Promise<Answer> {
    this.#child.stdin?.write(`${order}\n`);
    const { value } = (await this.#answers.next()) as { value?: string };
    return JSON.parse(value ?? "null") as Answer;
  }

  async leave(): Promise<void> {
    const exit = once(this.#child, "exit");
    await this.ask("leave");
    await exit;
  }

  async die(): Promise<void> {
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
  }
}

/** Servers that take turns to write a session, and are all asked for it each time. */
class Deployment {
  readonly #names = { prefix: uniquePrefix(), group: `test-${randomUUID()}` };
  readonly servers: Server[] = [];
  #written = 0;
  /** Reads that gave less than what had been written when they began. */
  stale = 0;

  async start(step: Step): Promise<void> {
    const server = new Server(step, this.#names);
    await server.ask("read");
    this.servers.push(server);
    await this.use();
  }

  /** Replaces one server after the other. */
  async rollOut(step: Step, how: "leave" | "die"): Promise<void> {
    for (const server of [...this.servers]) {
      this.servers.splice(this.servers.indexOf(server), 1);
      await server[how]();
      await this.use();
      await this.start(step);
    }
  }

  async use(): Promise<void> {
    for (const writer of [...this.servers, ...this.servers]) {
      const n = this.#written + 1;
      const others = this.servers.filter((each) => each !== writer);
      const [{ value }] = await Promise.all([writer.ask(`write ${n}`), this.#read(others)]);
      expect(value).toBe("stored");
      this.#written = n;
      // The second may be answered from memory, and what it finds there is old at the next write.
      for (let read = 0; read < 3; read += 1) await this.#read(this.servers);
    }
  }

  /** How many reads of each were answered from memory. */
  async nearHits(): Promise<number[]> {
    return Promise.all(this.servers.map(async (each) => (await each.ask("read")).nearHits));
  }

  async #read(servers: readonly Server[]): Promise<void> {
    const least = this.#written;
    const values = await Promise.all(servers.map(async (each) => (await each.ask("read")).value));
    this.stale += values.filter((value) => typeof value === "number" && value < least).length;
  }
}

it("near copies are rolled out in two steps, and no read is stale on the way", { timeout: 60_000 }, async () => {
  const deployment = new Deployment();
  for (let count = 0; count < 3; count += 1) await deployment.start("outside");
  await deployment.rollOut("writes", "leave");
  expect(await deployment.nearHits()).toEqual([0, 0, 0]);
  await deployment.rollOut("copies", "leave");
  for (const hits of await deployment.nearHits()) expect(hits).toBeGreaterThan(0);
  await deployment.rollOut("copies", "die");
  for (const hits of await deployment.nearHits()) expect(hits).toBeGreaterThan(0);
  expect(deployment.stale).toBe(0);
});

it("in one step, servers that are in no group yet leave others with old copies", { timeout: 60_000 }, async () => {
  const deployment = new Deployment();
  for (let count = 0; count < 2; count += 1) await deployment.start("outside");
  await deployment.rollOut("copies", "leave");
  expect(deployment.stale).toBeGreaterThan(0);
});
