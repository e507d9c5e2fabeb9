import { describe, expect, it, vi } from "vitest";
import { cookie, startEngine } from "./harness/engine.ts";
import { type NearEngine, after, keysOf, nearHits, openGroup, until, untilCopied } from "./harness/near.ts";
import { testClient } from "./harness/redis.ts";

const clients = [testClient(), testClient(), testClient()] as const;
const user = { userOf: ({ user }: Readonly<Record<string, unknown>>) => user as string | undefined };

type Three = [NearEngine, NearEngine, NearEngine];

describe("sessions with near copies", () => {
  it("need no command while nobody changes them", async () => {
    const [one] = (await openGroup(clients)) as Three;
    await one.create("a", { n: 1 });
    await untilCopied("a", one);
    const sent = vi.spyOn(one.client, "sendCommand");
    for (let read = 0; read < 100; read += 1) expect(await one.data("a")).toEqual({ n: 1 });
    expect(sent).not.toHaveBeenCalled();
    sent.mockRestore();
  });

  it("show another server's change at once, on all servers", async () => {
    const [one, two, three] = (await openGroup(clients)) as Three;
    await one.create("a", { n: 0 });
    for (let n = 1; n <= 30; n += 1) {
      await untilCopied("a", one, two, three);
      await two.change("a", { n });
      for (const engine of [three, one, two]) expect(await engine.data("a")).toEqual({ n });
    }
    expect(two.near.counts()).toMatchObject({ stalls: 0, gaps: 0 });
    expect(one.sessions.counts()["copy-revoked"]).toBeGreaterThanOrEqual(30);
  });

  it("show the change of another engine of the same server at once", async () => {
    const [one] = (await openGroup(clients)) as Three;
    const { sessions: other } = startEngine(one.client, { prefix: one.prefix, near: one.near });
    await one.create("a", { n: 0 });
    for (let n = 1; n <= 30; n += 1) {
      await untilCopied("a", one);
      const tracked = await other.load("a");
      if (tracked) await other.commit(tracked, { ...other.read(tracked), n });
      expect(await one.data("a")).toEqual({ n });
    }
  });

  it("are not seen to be deleted by hand, until somebody destroys them", async () => {
    const [one, two] = (await openGroup(clients)) as Three;
    await one.create("a", { n: 1 });
    await untilCopied("a", one);
    expect(await two.client.del(keysOf(two, "a").record)).toBe(1);
    expect(await one.data("a")).toEqual({ n: 1 });
    await two.sessions.destroy("a");
    expect(await one.sessions.load("a")).toBeUndefined();
  });

  it("are merged where two servers change what both have copies of", async () => {
    const [one, two] = (await openGroup(clients)) as Three;
    await one.create("a", {});
    await untilCopied("a", one, two);
    const [mine, theirs] = await Promise.all([one.load("a"), two.load("a")]);
    await Promise.all([
      one.sessions.commit(mine.tracked, { ...mine.fields, x: 1 }),
      two.sessions.commit(theirs.tracked, { ...theirs.fields, y: 2 }),
    ]);
    for (const engine of [one, two]) expect(await engine.data("a")).toEqual({ x: 1, y: 2 });
  });

  it("have ended everywhere when destroy has returned", async () => {
    const [one, two, three] = (await openGroup(clients)) as Three;
    await one.create("a", { n: 1 });
    await untilCopied("a", one, two, three);
    await two.sessions.destroy("a");
    for (const { sessions } of [one, two, three]) expect(await sessions.load("a")).toBeUndefined();
  });

  it("have all ended everywhere when destroyForUser has returned", async () => {
    const engines = (await openGroup(clients, user)) as Three;
    const [one, two] = engines;
    const ids = ["a", "b", "c"];
    for (const id of ids) await one.create(id, { user: "alice" });
    for (const id of ids) await untilCopied(id, ...engines);
    expect(await two.sessions.destroyForUser("alice")).toBe(3);
    for (const { sessions } of engines) {
      for (const id of ids) expect(await sessions.load(id)).toBeUndefined();
    }
  });

  it("have all ended when clear has returned", async () => {
    const engines = (await openGroup(clients)) as Three;
    await engines[0].create("a", { n: 1 });
    await untilCopied("a", ...engines);
    await engines[1].sessions.clear();
    for (const { sessions } of engines) expect(await sessions.load("a")).toBeUndefined();
  });

  it("are known by their new id alone when rotate has returned", async () => {
    const engines = (await openGroup(clients)) as Three;
    const [one, two] = engines;
    await one.create("a", { n: 1 });
    await untilCopied("a", ...engines);
    const { tracked, fields } = await two.load("a");
    await two.sessions.rotate(tracked, { ...fields, n: 2 }, { newId: "b" });
    for (const engine of engines) {
      expect(await engine.sessions.load("a")).toBeUndefined();
      expect(await engine.data("b")).toEqual({ n: 2 });
    }
  });

  it("are led to by an old id, for a grace, as they are now", async () => {
    const engines = (await openGroup(clients, user)) as Three;
    const [one, two] = engines;
    await one.create("a", { user: "alice", n: 1 });
    await untilCopied("a", ...engines);
    const { tracked, fields } = await two.load("a");
    await two.sessions.rotate(tracked, fields, { newId: "b", graceMs: 60_000 });
    await untilCopied("b", ...engines);
    await one.change("b", { n: 2 });
    for (const engine of engines) expect(await engine.data("a")).toEqual({ user: "alice", n: 2 });
  });

  it("are seen as they were overwritten", async () => {
    const engines = (await openGroup(clients)) as Three;
    await engines[0].create("a", { n: 1 });
    await untilCopied("a", ...engines);
    await engines[1].sessions.overwrite("a", { cookie, n: 2 });
    for (const engine of engines) expect(await engine.data("a")).toEqual({ n: 2 });
  });

  it("are encrypted at rest all the same", async () => {
    const encryption = { keys: [Buffer.alloc(32, 7).toString("base64")] };
    const engines = (await openGroup(clients, { encryption })) as Three;
    await engines[0].create("a", { n: 1 });
    await untilCopied("a", ...engines);
    await engines[1].change("a", { n: 2 });
    for (const engine of engines) expect(await engine.data("a")).toEqual({ n: 2 });
  });

  it("stay alive by their uses, which are recorded as seldom as without", async () => {
    const [one] = (await openGroup(clients)) as Three;
    const { record } = keysOf(one, "a");
    await one.create("a", { cookie: { ...cookie, originalMaxAge: 1_000 } });
    await untilCopied("a", one);
    const lives = async () => (await one.client.pttl(record)) > 0;
    const touches = vi.spyOn(one.client, "evalsha");
    const end = performance.now() + 2_500;
    while (performance.now() < end) {
      const { tracked } = await one.load("a");
      await one.sessions.touch(tracked);
      await after(10);
      expect(await lives()).toBe(true);
    }
    // At most one each tenth of a second; reads of copies that have ended are among them.
    expect(touches.mock.calls.length).toBeLessThan(60);
    touches.mockRestore();
  });

  it("end in memory when they end in Redis", async () => {
    const [one] = (await openGroup(clients)) as Three;
    await one.create("a", { cookie: { ...cookie, originalMaxAge: 600 } });
    await untilCopied("a", one);
    await until(async () => expect(await one.client.exists(keysOf(one, "a").record)).toBe(0));
    expect(await one.sessions.load("a")).toBeUndefined();
  });

  it("are kept within a bound", async () => {
    const [one] = (await openGroup(clients, { maxCopies: 2 })) as Three;
    for (const id of ["a", "b", "c"]) await one.create(id, { n: 1 });
    for (const id of ["a", "b", "c"]) await untilCopied(id, one);
    expect(one.sessions.counts()["copy-evicted"]).toBeGreaterThanOrEqual(1);
    expect(one.near.status().copies.count).toBe(2);
  });

  it("are not kept any more when the engine is closed", async () => {
    const [one] = (await openGroup(clients)) as Three;
    await one.create("a", { n: 1 });
    await untilCopied("a", one);
    one.sessions.close();
    expect(one.near.status().copies.count).toBe(0);
    expect(await nearHits(one, "a", 3)).toBe(0);
  });

  it("are read from Redis by who lists them", async () => {
    const [one] = (await openGroup(clients, user)) as Three;
    await one.create("a", { user: "alice" });
    await untilCopied("a", one);
    await one.client.del(keysOf(one, "a").record);
    expect(await one.sessions.listForUser("alice")).toEqual([]);
  });
});
