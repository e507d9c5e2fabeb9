import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createSessions } from "../src/index.ts";
import { startEngine } from "./harness/engine.ts";
import { testClient } from "./harness/redis.ts";

const client = testClient();
const [first, second] = [randomBytes(32), randomBytes(32).toString("base64")] as const;

describe("G9: records encrypted at rest", () => {
  it("read as they were written, and say nothing in Redis", async () => {
    const { create, change, data, sessions, prefix } = startEngine(client, {
      encryption: { keys: [first] },
      userOf: ({ user }) => user as string,
    });
    await create("the-secret-id", { user: "ann", card: "4111 1111" });
    await change("the-secret-id", { name: "Ännchen" });
    expect(await data("the-secret-id")).toEqual({ user: "ann", card: "4111 1111", name: "Ännchen" });
    expect((await sessions.listForUser("ann"))[0]?.fields.card).toBe("4111 1111");
    const key = `${prefix}h:${sessions.handleOf("the-secret-id")}`;
    const stored = (await client.get(key)) ?? "";
    expect(stored).toMatch(/^E1\.[\w-]{8}\.[\w-]+$/);
    const contents = stored + Buffer.from(stored.split(".")[2] ?? "", "base64url").toString("latin1");
    expect(contents).not.toMatch(/ann|4111|cookie|secret/);
  });

  it("the same session is never stored alike", async () => {
    const { create, sessions, load, prefix } = startEngine(client, { encryption: { keys: [first] } });
    await create("a", { n: 1 });
    const key = `${prefix}h:${sessions.handleOf("a")}`;
    const before = await client.get(key);
    const { tracked, fields } = await load("a");
    expect(sessions.commitIfChanged(tracked, fields)).toBeUndefined();
    await sessions.commit(tracked, { ...fields, n: 2 });
    await sessions.commit(tracked, { ...fields, n: 1 });
    expect(await client.get(key)).not.toBe(before);
  });

  it.each([
    ["copied under another session's key", (raw: string) => raw, "b"],
    ["changed", (raw: string) => raw.slice(0, -3) + (raw.endsWith("AAA") ? "BBB" : "AAA"), "a"],
    ["cut short", (raw: string) => raw.slice(0, 20), "a"],
    ["of an unknown key", (raw: string) => raw.replace(/^E1\.[^.]+/, "E1.AAAAAAAA"), "a"],
    ["not encrypted", () => JSON.stringify({ cookie: { originalMaxAge: null }, admin: true }), "a"],
  ])("a record that is %s can't be used, and is kept", async (_what, forge, id) => {
    const { create, sessions, prefix, counted } = startEngine(client, { encryption: { keys: [first] } });
    await create("a", { n: 1 });
    const key = (of: string) => `${prefix}h:${sessions.handleOf(of)}`;
    const forged = forge((await client.get(key("a"))) ?? "");
    await client.set(key(id), forged);
    expect(await sessions.load(id)).toBeUndefined();
    expect(counted("corrupt")).toHaveLength(1);
    expect(await client.get(key(id))).toBe(forged);
  });

  it("without a key a record can't be used", async () => {
    const { create, prefix } = startEngine(client, { encryption: { keys: [first] } });
    await create("a", { n: 1 });
    const { sessions, counted } = startEngine(client, { prefix });
    expect(await sessions.load("a")).toBeUndefined();
    expect(counted("corrupt")).toHaveLength(1);
  });

  it("is turned on in steps while servers run", async () => {
    const off = startEngine(client);
    const { prefix } = off;
    const at = (rollout: "read" | "write" | undefined) =>
      startEngine(client, { prefix, encryption: { keys: [first], rollout } });
    const [reading, writing, done] = [at("read"), at("write"), at(undefined)];
    const isEncrypted = async () =>
      (await client.get(`${prefix}h:${off.sessions.handleOf("a")}`))?.startsWith("E1.") === true;
    await off.create("a", { n: 1 });
    await reading.change("a", { n: 2 });
    expect(await isEncrypted()).toBe(false);
    expect(await off.data("a")).toEqual({ n: 2 });
    const { tracked, fields } = await writing.load("a");
    expect(writing.sessions.isOutdated(tracked)).toBe(true);
    expect(await writing.sessions.commit(tracked, fields)).toBe("stored");
    expect(await isEncrypted()).toBe(true);
    const seen = await reading.load("a");
    expect(reading.sessions.isOutdated(seen.tracked)).toBe(false);
    expect(await done.data("a")).toEqual({ n: 2 });
  });

  it("replaces its key while servers run", async () => {
    const one = startEngine(client, { encryption: { keys: [first] } });
    const { prefix } = one;
    const both = startEngine(client, { prefix, encryption: { keys: [first, second] } });
    const turned = startEngine(client, { prefix, encryption: { keys: [second, first] } });
    const last = startEngine(client, { prefix, encryption: { keys: [second] } });
    await one.create("a", { n: 1 });
    expect(await both.data("a")).toEqual({ n: 1 });
    const { tracked, fields } = await turned.load("a");
    expect(turned.sessions.isOutdated(tracked)).toBe(true);
    expect(await turned.sessions.commit(tracked, fields)).toBe("stored");
    expect(await both.data("a")).toEqual({ n: 1 });
    expect(await last.data("a")).toEqual({ n: 1 });
  });

  it.each([
    [{ encryption: { keys: [] } }, /needs a key/],
    [{ encryption: { keys: ["short"] } }, /32 bytes/],
    // What `process.env` gives where the variable is not set.
    [{ encryption: { keys: [undefined as unknown as string] } }, /encryption\.keys.*32 bytes/],
    [{ ids: "plain", encryption: { keys: [first] } }, /hashed/],
  ] as const)("a mistaken option is a TypeError: %#", (options, message) => {
    expect(() => createSessions({ client, ...options })).toThrow(TypeError);
    expect(() => createSessions({ client, ...options })).toThrow(message);
  });
});
