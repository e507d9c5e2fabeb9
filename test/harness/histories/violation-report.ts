import { gone, never, type Operation, type Violation, type ViolationKind } from "./linearizability.ts";

const shown = 10;

const verdicts: Readonly<Record<ViolationKind, string>> = {
  stale: "is stale",
  future: "is from the future",
  unwritten: "gave a version that nobody has written",
  twice: "made a version that another write had made",
  order: "was called when a later version was there already",
};

/** What is wrong with one key's history, the first ten of it, for people. Times are in ms from `startNs` on. */
export function describeViolations(key: string, violations: readonly Violation[], startNs = 0): string {
  const since = (operation: Operation): Operation => ({
    ...operation,
    calledAt: operation.calledAt - startNs,
    returnedAt: operation.returnedAt - startNs,
  });
  const lines = violations
    .slice(0, shown)
    .map(({ kind, operation, proof }) =>
      describeViolation({ kind, operation: since(operation), proof: proof && since(proof) }),
    )
    .map((line) => `  - ${line}`);
  const more = violations.length > shown ? [`  - and ${violations.length - shown} more`] : [];
  return [`${key}: ${violations.length} violations`, ...lines, ...more].join("\n");
}

function describeViolation({ kind, operation, proof }: Violation): string {
  const accused = `the ${describe(operation)} ${verdicts[kind]}`;
  if (proof === undefined) return `${accused}.`;
  return `${accused}: the ${describe(proof)}, ${relation(kind, operation, proof)}.`;
}

function relation(kind: ViolationKind, operation: Operation, proof: Operation): string {
  if (kind === "twice") return "is the other";
  if (kind === "future") return `was called ${ms(proof.calledAt - operation.returnedAt)} after it had returned`;
  return `had returned ${ms(operation.calledAt - proof.returnedAt)} before it was called`;
}

function describe({ kind, version, by, calledAt, returnedAt }: Operation): string {
  const what = version === gone ? "none" : `version ${version ?? "unknown"}`;
  const until = returnedAt === never ? "without an answer" : `to ${ms(returnedAt)}`;
  return `${kind} of ${what} by ${by}, from ${ms(calledAt)} ${until}`;
}

function ms(ns: number): string {
  return `${(ns / 1e6).toFixed(3)} ms`;
}
