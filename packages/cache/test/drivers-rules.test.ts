import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Driver, EntryRules, Fill, ReadReply } from "../src/drivers/driver.ts";
import { type EntryKeys, createKeys } from "../src/keys.ts";
import { type Shared, openDriver, rulesWith, setups } from "./harness/drivers.ts";
import { uniqueName } from "./harness/redis.ts";
import { until } from "./harness/until.ts";

const value = { text: 'v1:"value"', lifeMs: 60_000 };

async function read(driver: Driver, keys: EntryKeys, rules: EntryRules): Promise<ReadReply> {
  const [group] = driver.read([{ keys }], rules);
  const [reply] = (await group?.replies) ?? [];
  if (reply === undefined) throw new Error("A read of one entry has one reply.");
  return reply;
}

function tokenOf(reply: ReadReply): string {
  if (reply.outcome === "fill") return reply.token;
  if (reply.outcome === "expired" && typeof reply.refresh === "object") return reply.refresh.token;
  throw new Error(`A token was expected, and not ${JSON.stringify(reply)}.`);
}

async function store(driver: Driver, { entry }: EntryKeys, fill: Omit<Fill, "key">, rules: EntryRules) {
  const [stored] = await driver.store([{ key: entry, ...fill }], rules);
  return stored?.outcome;
}

async function begin(driver: Driver, keys: EntryKeys, rules: EntryRules) {
  const pending = await driver.begin(keys, rules);
  if (pending === "crowded") throw new Error("No write is pending yet.");
  return pending;
}

describe.each(setups)("the rules of a driver, on $name", ({ start }) => {
  let shared: Shared;
  beforeAll(async () => {
    shared = await start();
  });
  afterAll(() => shared.stop());

  /** Two servers' drivers and one entry. */
  function open(rules: Partial<EntryRules> = {}) {
    const name = uniqueName();
    const [driver, other] = [openDriver(shared.connect(), name), openDriver(shared.connect(), name)];
    return { driver, other, keys: createKeys(name, "thing").of("a"), rules: rulesWith(rules) };
  }

  /** A value whose life is over. */
  async function openExpired(extra: Partial<EntryRules> = {}) {
    const opened = open({ extraMs: 60_000, ...extra });
    const { driver, keys, rules } = opened;
    const token = tokenOf(await read(driver, keys, rules));
    await store(driver, keys, { token, result: { text: "v1:1", lifeMs: 1 } }, rules);
    const expired = () => until(async () => expect(await peek()).toBe("expired"));
    /** A look that leaves nothing behind. */
    const peek = async () => {
      const reply = await read(driver, keys, rules);
      if (reply.outcome === "expired" && typeof reply.refresh === "object") {
        await store(driver, keys, { token: reply.refresh.token, result: "unused" }, rules);
      }
      return reply.outcome;
    };
    await expired();
    return opened;
  }

  it("one reader of an absent entry is to fill it, the others see that it is busy", async () => {
    const { driver, other, keys, rules } = open();
    const replies = await Promise.all([read(driver, keys, rules), read(other, keys, rules)]);
    expect(replies.map(({ outcome }) => outcome).sort()).toEqual(["busy", "fill"]);
    const token = tokenOf(replies.find(({ outcome }) => outcome === "fill") as ReadReply);
    expect(await store(driver, keys, { token, result: value }, rules)).toBe("stored");
    expect(await read(other, keys, rules)).toEqual({ outcome: "hit", text: value.text });
  });

  it("C5: a token is good once, for its own entry, and for nothing after a write, a drop or another's token", async () => {
    const { driver, other, keys, rules } = open();
    const first = tokenOf(await read(driver, keys, rules));
    expect(await store(driver, keys, { token: `${first}x`, result: value }, rules)).toBe("refused");
    expect(await store(driver, keys, { token: first, result: "unused" }, rules)).toBe("released");
    expect(await store(driver, keys, { token: first, result: value }, rules)).toBe("refused");

    const second = tokenOf(await read(driver, keys, rules));
    await other.drop([keys]);
    expect(await store(driver, keys, { token: second, result: value }, rules)).toBe("refused");

    const third = tokenOf(await read(driver, keys, rules));
    const pending = await begin(other, keys, rules);
    expect(await store(driver, keys, { token: third, result: value }, rules)).toBe("refused");
    expect(await other.end(pending, undefined, rules)).toBe("dropped");
    expect(await store(driver, keys, { token: third, result: value }, rules)).toBe("refused");
  });

  it("the token of a dead loader lapses", async () => {
    const { driver, other, keys, rules } = open({ tokenLifeMs: 100 });
    const dead = tokenOf(await read(driver, keys, rules));
    await until(async () => expect((await read(other, keys, rules)).outcome).toBe("fill"));
    expect(await store(driver, keys, { token: dead, result: value }, rules)).toBe("refused");
  });

  it.each(["unused", { outcome: "failed", pauseMs: 60_000 }] as const)(
    "a token that is given back (%j) leaves an absent entry to the next reader",
    async (result) => {
      const { driver, other, keys, rules } = open();
      const token = tokenOf(await read(driver, keys, rules));
      expect(await store(driver, keys, { token, result }, rules)).toBe("released");
      expect((await read(other, keys, rules)).outcome).toBe("fill");
    },
  );

  it("an entry that is not to be kept is loaded by each reader for a while, and a write ends that", async () => {
    const { driver, other, keys, rules } = open();
    const unkept = async () => {
      const token = tokenOf(await read(driver, keys, rules));
      expect(await store(driver, keys, { token, result: "unkept" }, rules)).toBe("released");
      expect(await read(other, keys, rules)).toEqual({ outcome: "unkept" });
    };
    await unkept();
    const pending = await begin(driver, keys, rules);
    expect(await read(other, keys, rules)).toEqual({ outcome: "pending" });
    expect(await driver.end(pending, { text: "v1:2", lifeMs: 60_000 }, rules)).toBe("stored");
    await driver.drop([keys]);
    await unkept();
    await until(async () => expect((await read(other, keys, rules)).outcome).toBe("fill"));
  });

  it("C4: while a write is pending nothing is served, filled or dropped, and its value is stored at its end", async () => {
    const { driver, other, keys, rules } = open();
    const token = tokenOf(await read(driver, keys, rules));
    await store(driver, keys, { token, result: value }, rules);
    const pending = await begin(driver, keys, rules);
    expect(await read(other, keys, rules)).toEqual({ outcome: "pending" });
    expect(await driver.end(pending, { text: "v1:2", lifeMs: 60_000 }, rules)).toBe("stored");
    expect(await read(other, keys, rules)).toEqual({ outcome: "hit", text: "v1:2" });
  });

  it("of writes that overlap none is stored, in whatever order they end", async () => {
    const { driver, other, keys, rules } = open();
    const first = await begin(driver, keys, rules);
    const second = await begin(other, keys, rules);
    expect(await driver.end(first, value, rules)).toBe("dropped");
    expect(await read(driver, keys, rules)).toEqual({ outcome: "pending" });
    expect(await other.end(second, value, rules)).toBe("dropped");
    expect((await read(driver, keys, rules)).outcome).toBe("fill");
  });

  it("what a write gives is dropped if its entry was invalidated meanwhile", async () => {
    const { driver, other, keys, rules } = open();
    const pending = await begin(driver, keys, rules);
    await other.drop([keys]);
    expect(await read(other, keys, rules)).toEqual({ outcome: "pending" });
    expect(await driver.end(pending, value, rules)).toBe("dropped");
  });

  it("the mark of a dead writer lapses, and its end, should it come, drops what was filled since", async () => {
    const { driver, other, keys, rules } = open({ pendingMs: 100 });
    const pending = await begin(driver, keys, rules);
    let token = "";
    await until(async () => {
      token = tokenOf(await read(other, keys, rules));
    });
    expect(await store(other, keys, { token, result: value }, rules)).toBe("stored");
    expect(await driver.end(pending, value, rules)).toBe("lapsed");
    expect((await read(other, keys, rules)).outcome).toBe("fill");
  });

  it("the mark of a dead writer lapses though others go on writing, and their values are stored again", async () => {
    const { driver, other, keys, rules } = open({ pendingMs: 300 });
    await begin(driver, keys, rules);
    await until(async () => {
      const pending = await begin(other, keys, rules);
      expect(await other.end(pending, value, rules)).toBe("stored");
    });
  });

  it("an entry of another revision reads as missing, and each revision's write drops the other's entry", async () => {
    const { driver, other, keys, rules } = open();
    const newer = { ...rules, revision: 2 };
    const token = tokenOf(await read(driver, keys, rules));
    await store(driver, keys, { token, result: value }, rules);
    const newToken = tokenOf(await read(other, keys, newer));
    expect(await read(driver, keys, rules)).toEqual({ outcome: "busy" });
    await store(other, keys, { token: newToken, result: { text: "v2:2", lifeMs: 60_000 } }, newer);
    expect(await read(other, keys, newer)).toEqual({ outcome: "hit", text: "v2:2" });
    const pending = await begin(driver, keys, rules);
    expect(await read(other, keys, newer)).toEqual({ outcome: "pending" });
    await driver.end(pending, value, rules);
    expect((await read(other, keys, newer)).outcome).toBe("fill");
  });

  it("tells what is left of a hit's life where that is asked for", async () => {
    const { driver, keys, rules } = open({ asksLife: true });
    const token = tokenOf(await read(driver, keys, rules));
    await store(driver, keys, { token, result: value }, rules);
    const reply = await read(driver, keys, rules);
    expect(reply).toMatchObject({ outcome: "hit", text: value.text });
    const leftMs = reply.outcome === "hit" ? reply.leftMs : undefined;
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });

  it("an expired entry is answered as it is: one caller is to refresh it, and then it is new", async () => {
    const { driver, other, keys, rules } = await openExpired();
    const replies = await Promise.all([read(driver, keys, rules), read(other, keys, rules)]);
    for (const reply of replies) expect(reply).toMatchObject({ outcome: "expired", text: "v1:1" });
    const refreshes = replies.map((reply) => (reply.outcome === "expired" ? reply.refresh : undefined));
    expect(refreshes).toContain("running");
    const token = tokenOf(replies.find((_, index) => refreshes[index] !== "running") as ReadReply);
    expect(await store(driver, keys, { token, result: value }, rules)).toBe("stored");
    expect(await read(other, keys, rules)).toMatchObject({ outcome: "hit", text: value.text });
  });

  it("a refresh that failed leaves the old value, which nobody refreshes for a while", async () => {
    const { driver, other, keys, rules } = await openExpired();
    const token = tokenOf(await read(driver, keys, rules));
    const failed = { outcome: "failed", pauseMs: 300 } as const;
    expect(await store(driver, keys, { token, result: failed }, rules)).toBe("released");
    expect(await read(other, keys, rules)).toMatchObject({ outcome: "expired", text: "v1:1", refresh: "failed" });
    await until(async () => expect(tokenOf(await read(other, keys, rules))).not.toBe(token));
  });

  it("a refresh that is given back leaves the old value to the next, one that is not to be kept takes it away", async () => {
    const { driver, other, keys, rules } = await openExpired();
    const token = tokenOf(await read(driver, keys, rules));
    expect(await store(driver, keys, { token, result: "unused" }, rules)).toBe("released");
    const next = await read(other, keys, rules);
    expect(next).toMatchObject({ outcome: "expired", text: "v1:1" });
    expect(await store(other, keys, { token: tokenOf(next), result: "unkept" }, rules)).toBe("released");
    expect(await read(driver, keys, rules)).toEqual({ outcome: "unkept" });
  });

  it("whoever dies while refreshing is followed by another, and a write voids the refresh", async () => {
    const { driver, other, keys, rules } = await openExpired({ tokenLifeMs: 200 });
    const dead = tokenOf(await read(driver, keys, rules));
    let token = "";
    await until(async () => {
      token = tokenOf(await read(other, keys, rules));
    });
    expect(await store(driver, keys, { token: dead, result: value }, rules)).toBe("refused");
    const pending = await begin(driver, keys, rules);
    expect(await store(other, keys, { token, result: value }, rules)).toBe("refused");
    expect(await driver.end(pending, undefined, rules)).toBe("dropped");
  });

  it("an expired entry goes when the time for it is over too", async () => {
    const { driver, keys, rules } = open({ extraMs: 50 });
    const token = tokenOf(await read(driver, keys, rules));
    await store(driver, keys, { token, result: { text: "v1:1", lifeMs: 1 } }, rules);
    await until(async () => {
      const reply = await read(driver, keys, rules);
      if (reply.outcome === "expired" && typeof reply.refresh === "object") {
        await store(driver, keys, { token: reply.refresh.token, result: "unused" }, rules);
      }
      expect(reply.outcome).toBe("fill");
    });
  });
});
