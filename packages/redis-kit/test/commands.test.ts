import { Cluster } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { RedisClient } from "../src/client.ts";
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
  it("leave in one write, but for the first, which leaves at once", async () => {
    const { send, reads, compute } = await started();
    const before = await reads();
    const first = send();
    compute(0);
    await Promise.all([first, ...Array.from({ length: 10 }, send)]);
    expect((await reads()) - before).toBe(3);
  });

  it("leave before a later one, where they have waited for others to be made", async () => {
    const { send, reads, compute } = await started();
    const before = await reads();
    const replies = [send()];
    for (const ms of [0.1, 0.15, 0.15, 0.1]) {
      compute(ms);
      replies.push(send());
    }
    await Promise.all(replies);
    // The first, those 0.1 and 0.25 ms later, those 0.4 and 0.5 ms later, and the question.
    expect((await reads()) - before).toBe(4);
  });
});

describe("work that sends something", () => {
  it("is done at once where nothing was sent in this turn", async () => {
    const { commands } = await started();
    let isDone = false;
    commands.together(() => (isDone = true));
    expect(isDone).toBe(true);
  });

  it("else leaves with what was, and is done once", async () => {
    const { commands, send, reads, compute } = await started();
    const before = await reads();
    const replies = [send()];
    compute(0);
    replies.push(send());
    const work = () => void replies.push(send());
    commands.together(work);
    commands.together(work);
    expect(replies).toHaveLength(2);
    await replies[1];
    await Promise.all(replies);
    expect({ replies: replies.length, reads: (await reads()) - before }).toEqual({ replies: 3, reads: 3 });
  });

  it("may give more while it leaves", async () => {
    const { commands, send, reads, compute } = await started();
    const before = await reads();
    const replies = [send()];
    compute(0);
    const again = () => {
      replies.push(send());
      if (replies.length < 4) commands.together(again);
    };
    commands.together(again);
    await expect.poll(() => replies.length).toBe(4);
    await Promise.all(replies);
    expect((await reads()) - before).toBe(3);
  });

  it("is done though its client has not connected yet, and in a Cluster", async () => {
    const [{ port }, cluster] = await Promise.all([startOwnRedis(), startOwnCluster()]);
    for (const client of [connect(port), connectCluster(cluster.port, "")]) {
      const commands = new Commands(client, { deadlineMs });
      const replies: Promise<string | null>[] = [];
      const work = () => void replies.push(commands.send("a test", (redis) => redis.get("a")));
      commands.together(work);
      commands.together(work);
      await expect.poll(() => replies.length).toBe(2);
      expect(await Promise.all(replies)).toEqual([null, null]);
    }
  });
});

describe("a command that a Cluster can't send", () => {
  const unready = "Cluster isn't ready and enableOfflineQueue options is false";
  const failureOn = (client: RedisClient, command: () => Promise<unknown>) =>
    new Commands(client, { deadlineMs }).send("a test", command).catch((thrown: unknown) => thrown);

  it("was not sent, if it was not ready", async () => {
    const client = new Cluster([{ host: "127.0.0.1", port: 1 }], { enableOfflineQueue: false });
    client.on("error", () => undefined);
    onTestFinished(() => client.disconnect());
    const refused = failureOn(client, () => client.get("a"));
    expect(await refused).toMatchObject({
      failure: "not-sent",
      cause: expect.objectContaining({ message: unready }) as Error,
    });
  });

  it("may have run, if it was: its connection closed, and there is no other", async () => {
    const { port } = await startOwnCluster();
    const client = connectCluster(port, "");
    await client.ping();
    expect(await failureOn(client, () => Promise.reject(new Error(unready)))).toMatchObject({ failure: "no-reply" });
  });
});

describe("a command that a Cluster redirects for too long", () => {
  const failure = async (last: string) => {
    const { commands } = await started();
    const error = new Error(`Too many Cluster redirections. Last error: ${last}`);
    return commands.send("a test", () => Promise.reject(error)).catch((thrown: unknown) => thrown);
  };

  it("may have run: its last refusal tells nothing of the tries before", async () => {
    const tryAgain = await failure("ReplyError: TRYAGAIN Multiple keys request during rehashing of slot");
    expect(tryAgain).toMatchObject({ failure: "no-reply", replyCode: "TRYAGAIN" });
    expect(await failure("Error: Connection is closed.")).toMatchObject({ failure: "no-reply", replyCode: undefined });
  });
});
