/** A write that is pending, as the item of its entry tells of it. */
export interface PendingToken {
  readonly token: string;
  /** What the write gives must not be stored: another write, or an invalidation, came between. */
  readonly isDropped: boolean;
}

/**
 * All there is of one entry, in one item, for servers that change a single item atomically and no more. Times are ms on a
 * clock of freshness: it decides how old a value may be served, and never whether one may be stored.
 */
export type Item =
  | {
      readonly kind: "value";
      /** When its life is over. */
      readonly until: number;
      /** As the codec has written it. */
      readonly text: string;
    }
  | {
      /** A value whose life is over, and which someone refreshes. */
      readonly kind: "refresh";
      readonly until: number;
      /** Of who refreshes it; `undefined`: that has just failed. */
      readonly token: string | undefined;
      /** Without a token: until when nobody tries again. Else 0. */
      readonly pausedUntil: number;
      readonly text: string;
    }
  /** Someone loads it. */
  | { readonly kind: "fill"; readonly token: string }
  /** It was loaded, and is not to be kept, which is to be believed for so long. */
  | { readonly kind: "unkept"; readonly until: number }
  | {
      /** Writes are pending. */
      readonly kind: "pending";
      /** How long each may be. */
      readonly lifeMs: number;
      readonly tokens: readonly PendingToken[];
    };

const noToken = "-";
const dropSign = "!";

/**
 * ```
 * v<until> <text>
 * r<until> <paused until, or 0> <token, or -> <text>
 * f<token>
 * u<until>
 * p<life> <token>[!],<token>[!]…
 * ```
 */
export function formatItem(item: Item): string {
  switch (item.kind) {
    case "value":
      return `v${item.until} ${item.text}`;
    case "refresh":
      return `r${item.until} ${item.pausedUntil} ${item.token ?? noToken} ${item.text}`;
    case "fill":
      return `f${item.token}`;
    case "unkept":
      return `u${item.until}`;
    case "pending":
      return `p${item.lifeMs} ${item.tokens.map(formatToken).join()}`;
  }
}

/** @returns `undefined` for what {@link formatItem} has not written */
export function parseItem(text: string): Item | undefined {
  switch (text[0]) {
    case "v":
      return parseValue(text);
    case "r":
      return parseRefresh(text);
    case "f":
      return { kind: "fill", token: text.slice(1) };
    case "u":
      return /^u\d+$/.test(text) ? { kind: "unkept", until: Number(text.slice(1)) } : undefined;
    case "p":
      return parsePending(text);
    default:
      return undefined;
  }
}

function parseValue(text: string): Item | undefined {
  const match = /^v(\d+) /.exec(text);
  return match ? { kind: "value", until: Number(match[1]), text: text.slice(match[0].length) } : undefined;
}

function parseRefresh(text: string): Item | undefined {
  const match = /^r(\d+) (\d+) (\S+) /.exec(text);
  if (!match) return undefined;
  const token = match[3] === noToken ? undefined : match[3];
  const [until, pausedUntil] = [Number(match[1]), Number(match[2])];
  return { kind: "refresh", until, pausedUntil, token, text: text.slice(match[0].length) };
}

function parsePending(text: string): Item | undefined {
  const match = /^p(\d+) (\S+)$/.exec(text);
  if (!match) return undefined;
  return { kind: "pending", lifeMs: Number(match[1]), tokens: (match[2] ?? "").split(",").map(parseToken) };
}

function formatToken({ token, isDropped }: PendingToken): string {
  return isDropped ? token + dropSign : token;
}

function parseToken(text: string): PendingToken {
  const isDropped = text.endsWith(dropSign);
  return { token: isDropped ? text.slice(0, -dropSign.length) : text, isDropped };
}
