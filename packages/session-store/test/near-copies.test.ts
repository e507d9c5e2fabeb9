import { describe, expect, it } from "vitest";
import {
  type NearEngine,
  holdReplies,
  keysOf,
  nearHits,
  nearWith,
  openGroup,
  until,
  untilCopied,
} from "./harness/near.ts";
import { cookie } from "./harness/engine.ts";
import { testClient } from "./harness/redis.ts";

const clients = [testClient(), testClient()] as const;
const user = { userOf: ({ user }: Readonly<Record<string, unknown>>) => user as string | undefined };

type Two = [NearEngine, NearEngine];

describe("a near copy of a session", () => {
  it("is not made of what is not there, has ended or has gone on", async () => {
    const [one] = (await openGroup(clients, user)) as Two;
    await one.create("ended", { n: 1 });
    await one.sessions.destroy("ended");
    await one.create("rotated", { user: "alice" });
    const { tracked, fields } = await one.load("rotated");
    await one.sessions.rotate(tracked, fields, { newId: "next" });
    const before = one.sessions.counts()["copy-kept"];
    for (const id of ["none", "ended", "rotated"]) expect(await nearHits(one, id, 5)).toBe(0);
    expect(one.sessions.counts()["copy-kept"]).toBe(before);
  });

  it("is not made of a record that can't be read", async () => {
    const [one] = (await openGroup(clients)) as Two;
    await one.client.set(keysOf(one, "bytes").record, Buffer.from([0xff, 0xfe]));
    await one.client.zadd(keysOf(one, "set").record, 1, "x");
    for (const id of ["bytes", "set"]) expect(await nearHits(one, id, 5)).toBe(0);
  });

  it("is not made while a write is pending, and is again when that has lapsed (C4)", async () => {
    const [one] = (await openGroup(clients)) as Two;
    await one.create("a", { n: 1 });
    await untilCopied("settling", one);
    const { mark } = keysOf(one, "a");
    const [seconds] = await one.client.time();
    await one.client.hset(mark, "a token", (Number(seconds) + 2) * 1_000);
    expect(await nearHits(one, "a", 5)).toBe(0);
    await untilCopied("a", one);
    expect(await one.client.exists(mark)).toBe(0);
  });

  it("is not made of what a read brings that a write has overtaken (C5)", async () => {
    const { held, hold } = holdReplies(clients[0]);
    const [one, two] = (await openGroup([held, clients[1]])) as Two;
    await two.create("a", { n: 1 });
    await untilCopied("settling", one);
    const { arrived, release } = hold();
    const loading = one.sessions.load("a");
    await arrived;
    await two.change("a", { n: 2 });
    release();
    await loading;
    expect(await one.data("a")).toEqual({ n: 2 });
  });

  it("is not lengthened by a use that a write has overtaken (C5, C10)", async () => {
    const { held, hold } = holdReplies(clients[0]);
    const [one, two] = (await openGroup([held, clients[1]])) as Two;
    await two.create("a", { n: 1 });
    await untilCopied("a", one);
    const { tracked } = await one.load("a");
    const { arrived, release } = hold();
    const touching = one.sessions.touch(tracked, { always: true });
    await arrived;
    await two.change("a", { n: 2, cookie: { ...cookie, originalMaxAge: 400 } });
    release();
    expect(await touching).toBe("alive");
    expect(await one.data("a")).toEqual({ n: 2 });
    await until(async () => expect(await two.client.exists(keysOf(two, "a").record)).toBe(0));
    expect(await one.sessions.load("a")).toBeUndefined();
  });

  it("is not served without a lease (C1)", async () => {
    const wrap = (near: NearEngine["near"]) => nearWith(near, { mayServe: () => false });
    const [one] = (await openGroup([clients[0]], { wrap })) as [NearEngine];
    await one.create("a", { n: 1 });
    await until(async () => {
      await one.sessions.load("a");
      expect(one.sessions.counts()["copy-kept"]).toBeGreaterThan(0);
    });
    expect(await nearHits(one, "a", 5)).toBe(0);
  });
});
