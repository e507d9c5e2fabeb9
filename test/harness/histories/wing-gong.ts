import { gone, never, type Operation } from "./linearizability.ts";

/** What a register does: the version after an operation, or `undefined` where it can't do that operation in this state. */
export type Register = (version: number, operation: Operation) => number | undefined;

/** A register that takes writes in any order; what was destroyed stays so. */
export const anyOrder: Register = (version, operation) => {
  if (operation.kind === "read") return operation.version === version ? version : undefined;
  return version === gone && operation.version !== gone ? undefined : operation.version;
};

/** The same whose versions never fall: the source's. */
export const orderOfVersions: Register = (version, operation) => {
  const next = anyOrder(version, operation);
  const falls = operation.kind === "write" && next !== undefined && next !== gone && next <= version;
  return falls ? undefined : next;
};

/**
 * Whether any order of the operations explains a history: the search of Wing and Gong, with a memo of what was tried. Slow and
 * plain, for histories of up to 30 operations: by this the fast check is judged.
 */
export function isLinearizable(operations: readonly Operation[], register: Register): boolean {
  const tried = new Set<string>();
  const search = (done: number, version: number): boolean => {
    const left = operations.filter((_, index) => (done & (1 << index)) === 0);
    if (left.every(({ returnedAt }) => returnedAt === never)) return true;
    const state = `${done} ${version}`;
    if (tried.has(state)) return false;
    tried.add(state);
    const firstReturn = Math.min(...left.map(({ returnedAt }) => returnedAt));
    return operations.some((operation, index) => {
      if ((done & (1 << index)) !== 0 || operation.calledAt > firstReturn) return false;
      const next = register(version, operation);
      return next !== undefined && search(done | (1 << index), next);
    });
  };
  return search(0, 0);
}
