import { AsyncLocalStorage } from "node:async_hooks";
import { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { RedisClient } from "../src/client.ts";
import { Commands } from "../src/commands.ts";
import { connect, startOwnRedis } from "./harness/redis.ts";

const deadlineMs = 300;

/** Redis answers this 20 ms after it has come: well within the deadline, and in no stall's last moment. */
const askSlowly = (client: RedisClient) => client.blpop("none", 0.02);

function stall(ms: number): void {
  const until = Date.now() + ms;
  while (Date.now() < until);
}

function connectWith(port: number, { pipelines }: { pipelines: boolean }): Redis {
  const client = new Redis(port, { protocol: 2, enableAutoPipelining: pipelines });
  onTestFinished(() => {
    client.disconnect();
  });
  return client;
}

async function connected({ pipelines = false } = {}): Promise<Redis> {
  const { port } = await startOwnRedis();
  const client = connectWith(port, { pipelines });
  await client.ping();
  return client;
}

describe("a command that leaves only after a stall of the event loop is not late for that,", () => {
  it("where another who uses the same client has held its socket back before", async () => {
    const client = await connected();
    const [one, other] = [new Commands(client, { deadlineMs }), new Commands(client, { deadlineMs })];
    const get = () => one.send("a test", (redis) => redis.get("a"));
    const replies: Promise<unknown>[] = [get(), get()];
    // The first of its own turn, which would leave at once were it alone.
    replies.push(other.send("a test", askSlowly));
    stall(3 * deadlineMs);
    expect(await Promise.all(replies)).toEqual([null, null, null]);
  });

  it("where another who uses the same client holds its socket back when it should leave", async () => {
    const client = await connected();
    const [one, other] = [new Commands(client, { deadlineMs }), new Commands(client, { deadlineMs })];
    const get = (commands: Commands) => commands.send("a test", (redis) => redis.get("a"));
    const replies: Promise<unknown>[] = [get(one), get(other), get(other), one.send("a test", askSlowly)];
    // What `one` has sent has been held long enough; `other` still holds.
    stall(2);
    replies.push(get(one));
    stall(3 * deadlineMs);
    expect(await Promise.all(replies)).toEqual([null, null, null, null, null]);
  });

  it("where the client pipelines what is sent in one turn by itself", async () => {
    const client = await connected({ pipelines: true });
    const commands = new Commands(client, { deadlineMs });
    const reply = commands.send("a test", askSlowly);
    stall(3 * deadlineMs);
    expect(await reply).toBe(null);
  });

  it("where the client was still to connect", async () => {
    const { port } = await startOwnRedis();
    const commands = new Commands(connectWith(port, { pipelines: false }), { deadlineMs });
    const reply = commands.send("a test", askSlowly);
    stall(3 * deadlineMs);
    expect(await reply).toBe(null);
  });
});

describe("the first command of a turn", () => {
  it.each([false, true])("leaves at once; where the turn before ended with work that sent: %s", async (hasWork) => {
    const client = await connected();
    const commands = new Commands(client, { deadlineMs: 5_000 });
    const send = () => commands.send("a test", (redis) => redis.ping());
    const replies = [send()];
    if (hasWork) commands.together(() => void replies.push(send()));
    // In the event loop's next round: after the end of that turn, before that of the next.
    await new Promise<void>((resolve) => {
      setImmediate(() => {
        setTimeout(resolve, 1);
        stall(3);
      });
    });
    expect(replies).toHaveLength(hasWork ? 2 : 1);
    replies.push(send());
    expect(client.stream.writableCorked).toBe(0);
    await Promise.all(replies);
  });
});

describe("work that is given to leave with others", () => {
  it("is done in the async context of who gave it", async () => {
    const client = await connected();
    const commands = new Commands(client, { deadlineMs: 5_000 });
    const context = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const first = context.run("request 1", () => commands.send("a test", (redis) => redis.ping()));
    context.run("request 2", () => {
      commands.together(() => void seen.push(context.getStore()));
    });
    await first;
    await expect.poll(() => seen).toEqual(["request 2"]);
  });
});

describe("a command that is never answered", () => {
  it("is late though a test has stopped the clock, the timers going on", async () => {
    const client = await connected();
    vi.useFakeTimers({ toFake: ["Date", "performance"] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const commands = new Commands(client, { deadlineMs });
    const never = () => commands.send("a test", () => new Promise(() => undefined)).catch(() => "late");
    const [first, second] = [never(), never()];
    expect(await first).toBe("late");
    const limit = new Promise((resolve) => setTimeout(resolve, 10 * deadlineMs, "still waiting"));
    expect(await Promise.race([second, limit])).toBe("late");
  });
});

/** `outcomes`: what commands give, or how they fail. */
async function started(ownDeadlineMs = 5_000) {
  const redis = await startOwnRedis();
  const client = connect(redis.port);
  await client.ping();
  const commands = new Commands(client, { deadlineMs: ownDeadlineMs });
  const outcomes = (works: readonly Promise<unknown>[]) =>
    Promise.all(
      works.map((work) =>
        work.then(
          (value) => value,
          (error: unknown) =>
            String(
              (error as { failure?: string; replyCode?: string }).replyCode ?? (error as { failure?: string }).failure,
            ),
        ),
      ),
    );
  return { redis, client, commands, outcomes };
}

describe("of the commands of one turn", () => {
  it("each that Redis refuses fails by itself, and so does one that could not even be made", async () => {
    const { client, commands, outcomes } = await started();
    await client.set("a", "x");
    await client.config("SET", "maxmemory", "1");
    const get = () => commands.send("a test", (redis) => redis.get("a"));
    const set = () => commands.send("a test", (redis) => redis.set("b", "y"));
    const broken = () =>
      commands.send("a test", () => {
        throw new Error("a mistake");
      });
    const works = [broken(), get(), set(), broken(), get(), set(), get()];
    expect(await outcomes(works)).toEqual(["no-reply", "x", "OOM", "no-reply", "x", "OOM", "x"]);
    expect(client.stream.writableCorked).toBe(0);
  });

  it("all are late, each by its own deadline, where Redis answers none of them", async () => {
    const { redis, client, commands, outcomes } = await started(200);
    redis.kill("SIGSTOP");
    const ping = (withinMs?: number) => commands.send("a test", (own) => own.ping(), withinMs);
    const works = [ping(), ping(100), ping(), ping(50), ping()];
    const late: number[] = [];
    for (const [at, work] of works.entries()) void work.catch(() => late.push(at));
    expect(await outcomes(works)).toEqual(Array.from({ length: 5 }, () => "no-reply"));
    expect(late.slice(0, 2)).toEqual([3, 1]);
    redis.kill("SIGCONT");
    expect(await client.ping()).toBe("PONG");
  });

  it("those that have left before a stall of the event loop are late after it, if they are not answered", async () => {
    const { redis, commands, outcomes } = await started(100);
    redis.kill("SIGSTOP");
    const ping = () => commands.send("a test", (own) => own.ping());
    const works = [ping(), ping(), ping()];
    stall(300);
    expect(await outcomes(works)).toEqual(["no-reply", "no-reply", "no-reply"]);
    redis.kill("SIGCONT");
  });

  it("all leave in the order in which they were sent, those that the client's owner sends too", async () => {
    const { client, commands, outcomes } = await started();
    const works = Array.from({ length: 300 }, (_, n) =>
      n % 3 === 0 ? client.rpush("list", n) : commands.send("a test", (redis) => redis.rpush("list", n)),
    );
    await outcomes(works);
    expect(await client.lrange("list", 0, -1)).toEqual(Array.from({ length: 300 }, (_, n) => `${n}`));
  });

  it("all are answered where a test has faked all timers", async () => {
    const { client, commands } = await started();
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const works = Array.from({ length: 5 }, () => commands.send("a test", (redis) => redis.get("a")));
    commands.together(() => works.push(commands.send("a test", (redis) => redis.get("a"))));
    expect(await Promise.all(works)).toEqual([null, null, null, null, null]);
    expect(works).toHaveLength(6);
    expect(await works[5]).toBe(null);
    expect(client.stream.writableCorked).toBe(0);
  });
});

describe("a client that is ended in the middle of a turn", () => {
  it.each<[string, (client: Redis) => unknown]>([
    ["disconnect", (client) => client.disconnect()],
    ["quit", (client) => client.quit()],
    ["end of its socket", (client) => client.stream.end()],
  ])("has sent what was sent before: %s", async (_, end) => {
    const { redis, client, commands, outcomes } = await started(1_000);
    const works = ["a", "b", "c"].map((key) => commands.send("a test", (own) => own.set(key, key)));
    // Its own answer may be lost: Redis closes a connection on which something comes after a QUIT.
    Promise.resolve(end(client)).catch(() => undefined);
    const later = ["d", "e"].map((key) => commands.send("a test", (own) => own.set(key, key)));
    await Promise.all([outcomes(works), outcomes(later)]);
    const other = connect(redis.port);
    await expect.poll(() => other.mget("a", "b", "c")).toEqual(["a", "b", "c"]);
  });
});
