import type { Redis } from "ioredis";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { CircuitBreaker, type BreakerState } from "../src/breaker.ts";
import { Commands } from "../src/commands.ts";
import { connect, startOwnRedis } from "./harness/redis.ts";

const failures = 3;
const deadlineMs = 50;
const notSent = expect.objectContaining({ failure: "not-sent" }) as Error;
const noReply = expect.objectContaining({ failure: "no-reply" }) as Error;

async function startWithBreaker({ breakMs }: { breakMs: number }) {
  const redis = await startOwnRedis();
  const client = connect(redis.port);
  await client.ping();
  const changes: BreakerState[] = [];
  const breaker = new CircuitBreaker(new Commands(client, { deadlineMs }), {
    failures,
    breakMs,
    onChange: (state) => changes.push(state),
  });
  let sent = 0;
  const send = (command: (client: Redis) => Promise<unknown> = (redis) => redis.ping()) =>
    breaker.send("a test", () => {
      sent += 1;
      return command(client);
    });
  return { redis, client, breaker, changes, send, sent: () => sent };
}

async function failOften(send: () => Promise<unknown>, expected: Error): Promise<void> {
  for (let n = 0; n < failures; n += 1) await expect(send()).rejects.toEqual(expected);
}

describe("the circuit breaker", () => {
  it("sends nothing more once Redis has not answered several times in a row", async () => {
    const { redis, breaker, changes, send, sent } = await startWithBreaker({ breakMs: 60_000 });
    redis.kill("SIGSTOP");
    await failOften(send, noReply);
    expect(breaker.state).toBe("open");

    for (let n = 0; n < 100; n += 1) await expect(send()).rejects.toEqual(notSent);
    expect(sent()).toBe(failures);
    expect(changes).toEqual(["open"]);
  });

  it("lets one command through after its time, and fails the others at once meanwhile", async () => {
    const { redis, changes, send, sent } = await startWithBreaker({ breakMs: 0 });
    redis.kill("SIGSTOP");
    await failOften(send, noReply);

    const probe = send();
    await expect(Promise.all([send(), send()])).rejects.toEqual(notSent);
    expect(sent()).toBe(failures + 1);
    await expect(probe).rejects.toEqual(noReply);
    expect(changes).toEqual(["open", "half-open", "open"]);
  });

  it("closes when Redis answers again", async () => {
    const { redis, changes, send } = await startWithBreaker({ breakMs: 20 });
    redis.kill("SIGSTOP");
    await failOften(send, noReply);
    redis.kill("SIGCONT");
    await vi.waitFor(async () => {
      expect(await send()).toBe("PONG");
    });
    expect(changes.at(-1)).toBe("closed");
    await expect(Promise.all([send(), send(), send()])).resolves.toEqual(["PONG", "PONG", "PONG"]);
  });

  it("is closed in time though the wall clock was set back", async () => {
    const { redis, send } = await startWithBreaker({ breakMs: 20 });
    redis.kill("SIGSTOP");
    await failOften(send, noReply);
    redis.kill("SIGCONT");
    const anHourAgo = Date.now() - 3_600_000;
    const clock = vi.spyOn(Date, "now").mockReturnValue(anHourAgo);
    onTestFinished(() => clock.mockRestore());
    // Not waitFor, which asks the wall clock.
    const deadline = performance.now() + 10_000;
    while (performance.now() < deadline && (await send().catch(() => "no")) !== "PONG");
    expect(await send()).toBe("PONG");
  });

  it("counts failures in a row only", async () => {
    const { breaker, client, send } = await startWithBreaker({ breakMs: 60_000 });
    const lost = () => client.blpop("nothing", 0.1);
    for (let n = 0; n < 2 * failures; n += 1) {
      await expect(send(lost)).rejects.toEqual(noReply);
      await vi.waitFor(async () => {
        expect(await client.ping()).toBe("PONG");
      });
      if (n % 2 === 1) await send();
    }
    expect(breaker.state).toBe("closed");
  });

  it("stays closed when Redis refuses what it was asked: it is there", async () => {
    const { breaker, send } = await startWithBreaker({ breakMs: 60_000 });
    const wrong = () => send((client) => client.call("NO-SUCH-COMMAND"));
    await failOften(wrong, expect.objectContaining({ failure: "refused", replyCode: "ERR" }) as Error);
    expect(breaker.state).toBe("closed");
  });

  it("stays closed when Redis refuses writes for want of memory: reads go on", async () => {
    const { breaker, client, send } = await startWithBreaker({ breakMs: 60_000 });
    await client.config("SET", "maxmemory", "1");
    const write = () => send((client) => client.set("key", "value"));
    await failOften(write, expect.objectContaining({ failure: "refused", replyCode: "OOM" }) as Error);
    expect(breaker.state).toBe("closed");
  });

  it("opens when a replica stands in the primary's place", async () => {
    const { breaker, client, send } = await startWithBreaker({ breakMs: 60_000 });
    await client.replicaof("127.0.0.1", 1);
    const write = () => send((client) => client.set("key", "value"));
    await failOften(write, expect.objectContaining({ failure: "refused", replyCode: "READONLY" }) as Error);
    expect(breaker.state).toBe("open");
  });
});
