/** One read or write of one key, as its caller saw it. */
export interface Operation {
  readonly kind: "read" | "write";
  /** When it was called, in ns on a monotonic clock that all processes of the machine share. */
  readonly calledAt: number;
  /** When it returned, in ns on the same clock; {@link never}: its caller was not told how it ended. */
  readonly returnedAt: number;
  /**
   * What a read gave or a write made: 0 is what was there first, {@link gone} what is left of a value that was destroyed.
   * `undefined`: a write that took no effect, as far as anybody knows.
   */
  readonly version: number | undefined;
  /** Who did it, in the words of a report. */
  readonly by: string;
}

/** The return of an operation whose caller was not told how it ended. It may take effect at any time after its call, or never. */
export const never = Infinity;

/** The version of a value that was destroyed: later than any other. Many may destroy it, and nothing follows it. */
export const gone = 2 ** 50;

/**
 * - `stale`: a read gave less than was there before it was called.
 * - `future`: a read gave a version before anybody had called its write.
 * - `unwritten`: a read gave a version that nobody has written.
 * - `twice`: two writes have made one version.
 * - `order`: a write was called when a later version was there already.
 */
export type ViolationKind = "stale" | "future" | "unwritten" | "twice" | "order";

export interface Violation {
  readonly kind: ViolationKind;
  /** The operation that is wrong. */
  readonly operation: Operation;
  /** The one that proves it; `undefined` where there should be one and is none. */
  readonly proof: Operation | undefined;
}

/**
 * Whether one key's history is that of a linearizable register, in O(n log n).
 *
 * What makes it fast: the order of the writes is known. The source numbers them 1, 2, 3 at the moment each takes effect there. So
 * this is stricter than to ask whether *any* order explains the history: it has to be the source's.
 *
 * The argument. Give a write of version v the rank 2v and a read of it the rank 2v + 1. A sequence of operations is one of such a
 * register exactly if its ranks never fall and the write of each version that is read is in it. A sequence explains a history
 * exactly if it also keeps each operation that had returned before another was called in front of that other (Herlihy and Wing).
 *
 * - Necessary: if A had returned before B was called, A has to stand in front of B; with the higher rank it has to stand behind.
 * - Sufficient: if there is no such pair, sort by rank, and by call within a rank. The ranks never fall, and no operation stands
 *   in front of one that had returned before it was called: not one of a lower rank, as there is no such pair; and not one of its
 *   own rank, as these are reads of one version and sorted by call.
 *
 * So one condition says all: **no operation has a lower rank than one that had returned before it was called.** The stale read, the
 * read from the future and the write out of order are its three cases. A write that nobody knows the end of may be left out if
 * nobody has read it, and returns never otherwise. Of several that destroy the value the one called first counts as its write; the
 * others find nothing, as reads do. That is the choice which forbids least. Operations that touch in one ns overlap.
 *
 * @returns what is wrong, in the order of the calls; each wrong operation once
 */
export function violationsOf(operations: readonly Operation[]): Violation[] {
  const violations: Violation[] = [];
  const writes = writesByVersion(operations, violations);
  const ranked = rankedOf(operations, writes, violations);
  const byCall = ranked.toSorted((one, other) => one.operation.calledAt - other.operation.calledAt);
  const byReturn = ranked.toSorted((one, other) => one.operation.returnedAt - other.operation.returnedAt);
  let returned = 0;
  let highest: Ranked | undefined;
  for (const { operation, rank } of byCall) {
    for (
      let next = byReturn[returned];
      next !== undefined && next.operation.returnedAt < operation.calledAt;
      next = byReturn[(returned += 1)]
    ) {
      if (highest === undefined || next.rank > highest.rank) highest = next;
    }
    if (highest === undefined || highest.rank <= rank) continue;
    violations.push({ kind: operation.kind === "read" ? "stale" : "order", operation, proof: highest.operation });
  }
  return violations.sort((one, other) => one.operation.calledAt - other.operation.calledAt);
}

interface Ranked {
  readonly operation: Operation;
  readonly rank: number;
}

function writesByVersion(operations: readonly Operation[], violations: Violation[]): ReadonlyMap<number, Operation> {
  const writes = new Map<number, Operation>();
  for (const operation of operations) {
    if (operation.kind === "read" || operation.version === undefined) continue;
    const other = writes.get(operation.version);
    if (other === undefined) writes.set(operation.version, operation);
    else if (operation.version !== gone) violations.push({ kind: "twice", operation, proof: other });
    else if (operation.calledAt < other.calledAt) writes.set(gone, operation);
  }
  return writes;
}

/** Those that take part. A read that is wrong by itself proves nothing about others, and is told of here. */
function rankedOf(
  operations: readonly Operation[],
  writes: ReadonlyMap<number, Operation>,
  violations: Violation[],
): Ranked[] {
  const seen = new Set<number>();
  const ranked: Ranked[] = [];
  for (const operation of operations) {
    const { kind, version } = operation;
    if (kind === "write" || version === undefined) continue;
    const write = writes.get(version);
    if (version !== 0 && write === undefined) {
      violations.push({ kind: "unwritten", operation, proof: undefined });
    } else if (write !== undefined && operation.returnedAt < write.calledAt) {
      violations.push({ kind: "future", operation, proof: write });
    } else {
      seen.add(version);
      ranked.push({ operation, rank: 2 * version + 1 });
    }
  }
  for (const operation of operations) {
    const { kind, version, returnedAt } = operation;
    if (kind === "read" || version === undefined || (returnedAt === never && !seen.has(version))) continue;
    const rank = writes.get(version) === operation || version !== gone ? 2 * version : 2 * version + 1;
    ranked.push({ operation, rank });
  }
  return ranked;
}
