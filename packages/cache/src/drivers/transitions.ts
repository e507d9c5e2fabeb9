import { isValueOf } from "../codec.ts";
import { type EntryRules, type Fill, type FillOutcome, type ReadReply, failurePauseMs, unkeptMs } from "./driver.ts";
import type { Item, PendingToken } from "./items.ts";

/** How many writes an item names: see {@link beginItem}. */
const maxTokens = 64;

/** What is known when an item is looked at. */
export interface Moment {
  /** On the clock of freshness, in ms. */
  readonly now: number;
  /** Whether this process has known the token for so long, on a monotonic clock, that its holder may be taken for dead. */
  readonly hasLapsed: (token: string, lifeMs: number) => boolean;
}

/** What an operation answers, and what it makes of the item: to be done only if the item is still what was looked at. */
export interface Transition<Reply> {
  readonly reply: Reply;
  /** Absent: the item stays as it is. */
  readonly next?: NextItem | "gone";
}

/** An item, and how long it must be kept at least, in ms. */
export interface NextItem {
  readonly item: Item;
  readonly lifeMs: number;
}

/** Reads an entry; `token` is given to the caller if it is to load or refresh it. The rules of `read.lua`, but for epochs. */
export function readItem(
  item: Item | undefined,
  { token, rules }: { token: string; rules: EntryRules },
  moment: Moment,
): Transition<ReadReply> {
  if (item?.kind === "value" || item?.kind === "refresh") {
    const overdueMs = moment.now - item.until;
    if (isValueOf(item.text, rules.revision)) {
      if (item.kind === "value" && overdueMs < 0) return { reply: hitOf(item.text, -overdueMs, rules) };
      if (overdueMs < rules.extraMs) return expiredItem(item, { token, rules }, moment);
    }
  }
  if (item?.kind === "unkept" && item.until > moment.now) return { reply: { outcome: "unkept" } };
  // C4
  if (item?.kind === "pending" && standing(item, moment).length > 0) return { reply: { outcome: "pending" } };
  if (item?.kind === "fill" && !moment.hasLapsed(item.token, rules.tokenLifeMs)) return { reply: { outcome: "busy" } };
  return { reply: { outcome: "fill", token }, next: fillOf(token, rules) };
}

/** Someone loads it. */
export function fillOf(token: string, { tokenLifeMs }: EntryRules): NextItem {
  return { item: { kind: "fill", token }, lifeMs: tokenLifeMs };
}

function hitOf(text: string, leftMs: number, { extraMs, asksLife }: EntryRules): ReadReply {
  return extraMs > 0 || asksLife ? { outcome: "hit", text, leftMs } : { outcome: "hit", text };
}

/** F5: answered as it is, and one caller is to refresh it. */
function expiredItem(
  item: Extract<Item, { kind: "value" | "refresh" }>,
  { token, rules }: { token: string; rules: EntryRules },
  moment: Moment,
): Transition<ReadReply> {
  const { now } = moment;
  const { until, text } = item;
  const reply = { outcome: "expired", text, overdueMs: Math.max(0, now - until) } as const;
  if (item.kind === "refresh") {
    const { token: holder, pausedUntil } = item;
    if (holder === undefined && isSoon(pausedUntil, now)) return { reply: { ...reply, refresh: "failed" } };
    if (holder !== undefined && !moment.hasLapsed(holder, rules.tokenLifeMs)) {
      return { reply: { ...reply, refresh: "running" } };
    }
  }
  const refresh: Item = { kind: "refresh", until, pausedUntil: 0, token, text };
  return { reply: { ...reply, refresh: { token } }, next: { item: refresh, lifeMs: until + rules.extraMs - now } };
}

/** Whether a pause lasts: not by a clock that is far ahead of this one. */
function isSoon(pausedUntil: number, now: number): boolean {
  return pausedUntil > now && pausedUntil - now <= failurePauseMs;
}

/**
 * Stores what was loaded, or gives the token back.
 *
 * C5: only with the token that the load was given, once; a write that has begun since has voided it, so that a slow load can't
 * put an old value over a newer one.
 */
export function storeItem(
  item: Item | undefined,
  { token, result }: Fill,
  { extraMs }: EntryRules,
  { now }: Moment,
): Transition<FillOutcome> {
  if ((item?.kind !== "fill" && item?.kind !== "refresh") || item.token !== token) return { reply: "refused" };
  if (typeof result === "object" && "text" in result) {
    return { reply: "stored", next: valueOf(result, { extraMs, now }) };
  }
  if (result === "unkept") return { reply: "released", next: unkeptAt(now) };
  if (item.kind === "fill") return { reply: "released", next: "gone" };
  const { until, text } = item;
  const lifeMs = until + extraMs - now;
  if (result === "unused") return { reply: "released", next: { item: { kind: "value", until, text }, lifeMs } };
  const paused: Item = { kind: "refresh", until, pausedUntil: now + result.pauseMs, token: undefined, text };
  return { reply: "released", next: { item: paused, lifeMs } };
}

/** What is not to be kept, or can't be. */
export function unkeptAt(now: number): NextItem {
  return { item: { kind: "unkept", until: now + unkeptMs }, lifeMs: unkeptMs };
}

function valueOf(
  { text, lifeMs }: { text: string; lifeMs: number },
  { extraMs, now }: { extraMs: number; now: number },
): NextItem {
  return { item: { kind: "value", until: now + lifeMs, text }, lifeMs: lifeMs + extraMs };
}

/**
 * A write begins: nothing is served or filled until it has ended or lapsed (C4), and a fill token goes with the entry (C5).
 *
 * Of two writes that overlap nobody can say whose value is the last: what they give is not stored.
 *
 * An item names so many writes and no more. A further one seals those: they become one token that nobody ends, so that it
 * stands for them until it lapses, and the item neither grows nor forgets a write that is pending.
 */
export function beginItem(
  item: Item | undefined,
  token: string,
  { pendingMs }: EntryRules,
  moment: Moment,
): Transition<undefined> {
  const others = item?.kind === "pending" ? standing(item, moment) : [];
  const named = others.length < maxTokens ? others : [{ token: sealSign + token, isDropped: true }];
  const tokens = [...dropped(named), { token, isDropped: others.length > 0 }];
  const lifeMs = Math.max(pendingMs, item?.kind === "pending" ? item.lifeMs : 0);
  return { reply: undefined, next: pendingOf(tokens, lifeMs) };
}

/** A write is over; what it gave is stored if it is certain to be the last. */
export function endItem(
  item: Item | undefined,
  { token, value }: { token: string; value: { text: string; lifeMs: number } | undefined },
  { extraMs }: EntryRules,
  moment: Moment,
): Transition<"stored" | "dropped" | "lapsed"> {
  // A mark that was lost, or has lapsed: an old value may have been loaded before the write was done.
  if (item?.kind !== "pending") return { reply: "lapsed", ...(item && { next: "gone" }) };
  const own = item.tokens.find((each) => each.token === token);
  const others = standing(item, moment).filter((each) => each.token !== token);
  if (own === undefined) {
    const reply = others.some((each) => each.token.startsWith(sealSign)) ? "dropped" : "lapsed";
    return { reply, next: pendingOf(dropped(others), item.lifeMs) };
  }
  if (others.length > 0) return { reply: "dropped", next: pendingOf(others, item.lifeMs) };
  if (own.isDropped || value === undefined) return { reply: "dropped", next: "gone" };
  return { reply: "stored", next: valueOf(value, { extraMs, now: moment.now }) };
}

/**
 * The source has changed, and no pending write tells of it. C5: a fill token goes with the entry. What a pending write gives is
 * not stored: the source may have changed after it.
 */
export function dropItem(item: Item | undefined, moment: Moment): Transition<undefined> {
  if (item === undefined) return { reply: undefined };
  if (item.kind !== "pending") return { reply: undefined, next: "gone" };
  // Writing it anew would lengthen the lives of the dead.
  if (item.tokens.every(({ isDropped }) => isDropped)) return { reply: undefined };
  return { reply: undefined, next: pendingOf(dropped(standing(item, moment)), item.lifeMs) };
}

/** What no token of a writer starts with. */
const sealSign = "*";

/**
 * The writes that are still pending. A dead writer's token lapses by what this process has seen of it, not only with its item,
 * whose life each further write begins anew.
 */
function standing(item: Extract<Item, { kind: "pending" }>, { hasLapsed }: Moment): PendingToken[] {
  return item.tokens.filter(({ token }) => !hasLapsed(token, item.lifeMs));
}

function dropped(tokens: readonly PendingToken[]): PendingToken[] {
  return tokens.map(({ token }) => ({ token, isDropped: true }));
}

function pendingOf(tokens: readonly PendingToken[], lifeMs: number): NextItem | "gone" {
  return tokens.length === 0 ? "gone" : { item: { kind: "pending", lifeMs, tokens }, lifeMs };
}
