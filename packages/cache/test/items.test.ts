import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Item, formatItem, parseItem } from "../src/drivers/items.ts";
import { beginItem, dropItem, endItem, readItem } from "../src/drivers/transitions.ts";
import { rulesWith } from "./harness/drivers.ts";

const times = fc.nat({ max: 2 ** 45 });
const tokens = fc.stringMatching(/^\*?[\w-]{1,20}$/).filter((token) => token !== "-");
const texts = fc.json().map((json) => `v1:${json}`);
const items: fc.Arbitrary<Item> = fc.oneof(
  fc.tuple(times, texts).map(([until, text]) => ({ kind: "value" as const, until, text })),
  fc
    .tuple(times, times, fc.option(tokens, { nil: undefined }), texts)
    .map(([until, pausedUntil, token, text]) => ({ kind: "refresh" as const, until, pausedUntil, token, text })),
  tokens.map((token) => ({ kind: "fill" as const, token })),
  times.map((until) => ({ kind: "unkept" as const, until })),
  fc.tuple(times, fc.array(fc.tuple(tokens, fc.boolean()), { minLength: 1, maxLength: 5 })).map(([lifeMs, all]) => ({
    kind: "pending" as const,
    lifeMs,
    tokens: all.map(([token, isDropped]) => ({ token, isDropped })),
  })),
);

describe("an item as text", () => {
  it("is read back as it was", () => {
    fc.assert(
      fc.property(items, (item) => {
        expect(parseItem(formatItem(item))).toEqual(item);
      }),
    );
  });

  it.each(["", "x", "-", "v", "v1", "vx v1:1", "r1 2 v1:1", "p900", "p900 ", "p x", "u", "ux"])(
    "that nobody here has written is none: %j",
    (text) => expect(parseItem(text)).toBeUndefined(),
  );
});

describe("an entry that very many write at the same time", () => {
  const rules = rulesWith();
  const moment = { now: 0, hasLapsed: () => false };
  const value = { text: "v1:1", lifeMs: 1_000 };

  function afterBegins(count: number) {
    let item: Item | undefined;
    for (let index = 0; index < count; index += 1) {
      const { next } = beginItem(item, `token-${index}`, rules, moment);
      item = next === "gone" ? undefined : next?.item;
    }
    return item;
  }

  it("has an item that stays small, and refuses nobody", () => {
    const item = afterBegins(1_000);
    expect(item).toBeDefined();
    expect(formatItem(item as Item).length).toBeLessThan(1_500);
  });

  it("stays pending when all whom it names have ended: others may be at it still, whom nobody names", () => {
    let item = afterBegins(70);
    for (let index = 0; index < 70; index += 1) {
      const { reply, next } = endItem(item, { token: `token-${index}`, value }, rules, moment);
      expect(reply).toBe("dropped");
      item = next === "gone" || next === undefined ? undefined : next.item;
    }
    expect(item).toMatchObject({ kind: "pending" });
    const lapsed = { now: 0, hasLapsed: () => true };
    expect(beginItem(item, "later", rules, lapsed).next).toMatchObject({
      item: { tokens: [{ token: "later", isDropped: false }] },
    });
  });

  it("is not written anew by an invalidation that changes nothing, which would lengthen the lives of the dead", () => {
    const item = afterBegins(2);
    expect(dropItem(item, moment)).toEqual({ reply: undefined });
  });
});

describe("an expired entry whose clock is another's", () => {
  const rules = rulesWith({ extraMs: 600_000 });
  const expired = { kind: "refresh" as const, until: 0, text: "v1:1" };
  const replyTo = (item: Item, moment: { now: number; dead?: boolean }) =>
    readItem(item, { token: "mine", rules }, { now: moment.now, hasLapsed: () => moment.dead ?? false }).reply;

  it("is refreshed by who is at it, whatever the clocks say, until he was seen for so long that he must be dead", () => {
    const item: Item = { ...expired, token: "other", pausedUntil: 0 };
    expect(replyTo(item, { now: 500_000 })).toMatchObject({ outcome: "expired", refresh: "running" });
    expect(replyTo(item, { now: 1, dead: true })).toMatchObject({ outcome: "expired", refresh: { token: "mine" } });
  });

  it("is left alone after a failure for no longer than such a pause lasts", () => {
    const item: Item = { ...expired, token: undefined, pausedUntil: 300_000 };
    expect(replyTo(item, { now: 299_500 })).toMatchObject({ outcome: "expired", refresh: "failed" });
    expect(replyTo(item, { now: 1 })).toMatchObject({ outcome: "expired", refresh: { token: "mine" } });
    expect(replyTo(item, { now: 300_001 })).toMatchObject({ outcome: "expired", refresh: { token: "mine" } });
  });
});
