import { channel, subscribe, unsubscribe } from "node:diagnostics_channel";
import { Registry } from "prom-client";
import { describe, expect, it, onTestFinished } from "vitest";
import { type CommandTiming, RedisStore, commandChannel } from "../src/index.ts";
import { registerSessionMetrics } from "../src/prometheus.ts";
import { cookie, failureOf, startEngine } from "./harness/engine.ts";
import { intercept, testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

describe("how long commands take", () => {
  it("is told on the diagnostics channel, and not measured where nobody listens", async () => {
    const told: CommandTiming[] = [];
    const hear = (timing: unknown) => told.push(timing as CommandTiming);
    const { create, sessions } = startEngine(client);
    expect(channel(commandChannel).hasSubscribers).toBe(false);
    await create("the-secret-id", {});
    subscribe(commandChannel, hear);
    onTestFinished(() => void unsubscribe(commandChannel, hear));
    await sessions.load("the-secret-id");
    expect(told).toEqual([
      { command: "the load of sessions", outcome: "answered", durationMs: expect.any(Number) as number },
    ]);
    const broken = startEngine(intercept(client, () => Promise.reject(new Error("the line is cut"))));
    await failureOf(broken.sessions.load("the-secret-id"));
    expect(told[1]).toMatchObject({ command: "the load of sessions", outcome: "failed" });
    expect(JSON.stringify(told)).not.toContain("secret");
  });
});

describe("metrics", () => {
  it("count what sessions went through, and time their commands, without ids", async () => {
    const [one, two] = [startEngine(client), startEngine(client)];
    const store = new RedisStore({ client, prefix: uniquePrefix() });
    const registry = new Registry();
    registerSessionMetrics(registry, [one.sessions, two.sessions, store]);
    await one.create("the-secret-id", { n: 1 });
    await two.create("the-secret-id", { n: 1 });
    const { tracked, fields } = await one.load("the-secret-id");
    await one.change("the-secret-id", { n: 2 });
    await one.sessions.commit(tracked, { ...fields, n: 3 });
    await one.sessions.destroy("the-secret-id");
    await one.sessions.commit(tracked, { ...fields, n: 4 });

    const scraped = await registry.metrics();
    const expected = { created: 2, destroyed: 1, merged: 1, conflicts: 1, gone: 1, corrupt: 0, breaker: 0 };
    for (const [event, count] of Object.entries(expected)) {
      expect(scraped).toContain(`lockstep_session_events_total{event="${event}"} ${count}`);
    }
    const labels = 'command="the load of sessions",outcome="answered"';
    expect(scraped).toContain(`lockstep_session_command_seconds_count{${labels}}`);
    expect(await registry.metrics()).toBe(scraped);
    expect(scraped).not.toMatch(/secret/);
    expect(scraped).not.toContain(one.sessions.handleOf("the-secret-id"));
  });

  it("of one engine need no list", async () => {
    const { sessions } = startEngine(client);
    const registry = new Registry();
    registerSessionMetrics(registry, sessions);
    await sessions.commit(sessions.born("a"), { cookie });
    expect(await registry.metrics()).toContain('lockstep_session_events_total{event="created"} 1');
  });
});
