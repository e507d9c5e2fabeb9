import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Commands } from "../src/commands.ts";
import { connect, connectCluster, startOwnCluster, startOwnRedis } from "./harness/redis.ts";

const deadlineMs = 5_000;

/**
 * `reads`: how many times Redis has read from a socket, this question included; `compute`: what a handler does for so long, while
 * Redis reads what has left.
 */
async function started() {
  const { port } = await startOwnRedis();
  const [client, other] = [connect(port), connect(port)];
  await Promise.all([client.ping(), other.ping()]);
  const commands = new Commands(client, { deadlineMs });
  const send = () => commands.send("a test", (redis) => redis.ping());
  const reads = async () => Number(/total_reads_processed:(\d+)/.exec(await other.info("stats"))?.[1]);
  // Else it would depend on the machine's speed how much is sent in one turn.
  let now = performance.now();
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  onTestFinished(() => clock.mockRestore());
  const compute = (ms: number) => {
    const until = Date.now() + 30;
    while (Date.now() < until);
    now += ms;
  };
  return { commands, send, reads, compute };
}

describe("commands of one turn of the event loop", () => {
  it("leave in one write", async () => {
    const { send, reads } = await started();
    const before = await reads();
    await Promise.all(Array.from({ length: 10 }, send));
    expect((await reads()) - before).toBe(2);
  });

  it("leave before a later one, where they have waited for others to be made", async () => {
    const { send, reads, compute } = await started();
    const before = await reads();
    const replies = [send()];
    compute(0.1);
    replies.push(send());
    compute(0.15);
    replies.push(send());
    compute(0.1);
    await Promise.all([...replies, send()]);
    // The first two, the last two, and the question.
    expect((await reads()) - before).toBe(3);
  });

  it("leave with those of the work that waits for their end, which is done once", async () => {
    const { commands, send, reads } = await started();
    const before = await reads();
    const replies = [send()];
    let done = 0;
    const work = () => {
      done += 1;
      replies.push(send());
    };
    commands.atTurnsEnd(work);
    commands.atTurnsEnd(work);
    expect(done).toBe(0);
    await replies[0];
    await Promise.all(replies);
    expect({ done, reads: (await reads()) - before }).toEqual({ done: 1, reads: 2 });
  });

  it("leave with those of work that is given while they leave", async () => {
    const { commands, send, reads } = await started();
    const before = await reads();
    const replies: Promise<string>[] = [];
    const again = () => {
      replies.push(send());
      if (replies.length < 3) commands.atTurnsEnd(again);
    };
    commands.atTurnsEnd(again);
    await expect.poll(() => replies.length).toBe(3);
    await Promise.all(replies);
    expect((await reads()) - before).toBe(2);
  });
});

describe("work for a turn's end", () => {
  it("is done though its client has not connected yet", async () => {
    const { port } = await startOwnRedis();
    const client = connect(port);
    const commands = new Commands(client, { deadlineMs });
    await new Promise<void>((resolve) => commands.atTurnsEnd(resolve));
  });

  it("is done in a Cluster, whose commands leave one by one", async () => {
    const { port } = await startOwnCluster();
    const commands = new Commands(connectCluster(port, ""), { deadlineMs });
    await new Promise<void>((resolve) => commands.atTurnsEnd(resolve));
    expect(await commands.send("a test", (client) => client.get("a"))).toBeNull();
  });
});
