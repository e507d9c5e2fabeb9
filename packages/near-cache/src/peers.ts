import { clockDrift } from "./options.ts";

/** A member of the group, as its row in Redis tells it. */
export interface Row {
  readonly nonce: string;
  readonly renewals: number;
  readonly applied: number;
  readonly copies: boolean;
  readonly label: string;
}

const prefix = "member:";

/** How many members' answers are remembered: many more than there are. */
const maxAnswers = 4_096;

/** @param hash the group's: names and texts in turns */
export function readRows(hash: readonly string[]): Row[] {
  return hash.flatMap((name, index) => {
    const row =
      index % 2 === 0 && name.startsWith(prefix) ? readRow(name.slice(prefix.length), hash[index + 1]) : undefined;
    return row === undefined ? [] : [row];
  });
}

/** @returns `undefined`: it is gone */
export function readRow(nonce: string, text: string | undefined): Row | undefined {
  const [, renewals, applied, copies, label] = /^(\d+) (\d+) ([01]) (\S*)$/.exec(text ?? "") ?? [];
  if (label === undefined) return undefined;
  return {
    nonce,
    renewals: Number(renewals),
    applied: Number(applied),
    copies: copies === "1",
    label: decodeURIComponent(label),
  };
}

interface Peer {
  row: Row;
  /** When this process was first told of so many renewals, on its monotonic clock. */
  since: number;
}

/** What a member knows of the group, itself included. */
export class Peers {
  readonly #leaseMs: number;
  readonly #peers = new Map<string, Peer>();
  /** What they have said themselves, which comes before their rows tell it; of those too that are not listed yet. */
  readonly #answers = new Map<string, number>();

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  get rows(): readonly Row[] {
    return [...this.#peers.values()].map(({ row }) => row);
  }

  /** The whole group: who is not among these is gone. */
  list(rows: readonly Row[]): void {
    const present = new Set(rows.map(({ nonce }) => nonce));
    for (const nonce of this.#peers.keys()) if (!present.has(nonce)) this.remove(nonce);
    for (const row of rows) this.see(row);
  }

  see(row: Row): void {
    const known = this.#peers.get(row.nonce);
    // C3: from the receipt of the reply that told of this renewal first.
    const since = known?.row.renewals === row.renewals ? known.since : performance.now();
    this.#peers.set(row.nonce, { row, since });
  }

  heard(nonce: string, applied: number): void {
    // Without what they have said their rows tell it later.
    if (this.#answers.size >= maxAnswers) this.#answers.clear();
    this.#answers.set(nonce, Math.max(applied, this.#answers.get(nonce) ?? 0));
  }

  remove(nonce: string): void {
    this.#peers.delete(nonce);
    this.#answers.delete(nonce);
  }

  /** Nothing that was known counts any more. */
  clear(): void {
    this.#peers.clear();
    this.#answers.clear();
  }

  isListed(nonce: string): boolean {
    return this.#peers.has(nonce);
  }

  labelOf(nonce: string): string {
    return this.#peers.get(nonce)?.row.label ?? "";
  }

  /** Up to which number a member has applied all revocations. */
  appliedBy(nonce: string): number {
    return Math.max(this.#peers.get(nonce)?.row.applied ?? 0, this.#answers.get(nonce) ?? 0);
  }

  /** C3: in how many ms its lease will have lapsed for certain, unless it renews. */
  lapsesInMs(nonce: string): number {
    const since = this.#peers.get(nonce)?.since ?? performance.now();
    return since + this.#leaseMs * (1 + clockDrift) - performance.now();
  }

  /** With how many renewals it may be removed; `undefined`: it may not be yet. */
  lapsedAt(nonce: string): number | undefined {
    return this.lapsesInMs(nonce) <= 0 ? this.#peers.get(nonce)?.row.renewals : undefined;
  }
}
