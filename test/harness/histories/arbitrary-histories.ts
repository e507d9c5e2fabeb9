import fc from "fast-check";
import { gone, never, type Operation } from "./linearizability.ts";

const time = fc.nat(14);
const lasting = fc.oneof({ weight: 4, arbitrary: fc.nat(5) }, { weight: 1, arbitrary: fc.constant(never) });

/** The versions of the writes are in the order of `effect`, which is near their calls and not always within the write. */
const write = fc.record({ calledAt: time, lasting, effect: fc.nat(3), unknown: fc.nat(5).map((nth) => nth === 0) });
const read = fc.record({ calledAt: time, lasting: fc.nat(8), version: fc.nat(3) });

/** Small histories, possible and impossible ones. Times are few, so that operations often touch. */
export const smallHistories = fc
  .record({
    writes: fc.array(write, { maxLength: 4 }),
    reads: fc.array(read, { maxLength: 4 }),
    ends: fc.array(fc.record({ calledAt: time, lasting }), { maxLength: 2 }),
    readsOfNone: fc.array(fc.record({ calledAt: time, lasting: fc.nat(5) }), { maxLength: 2 }),
  })
  .map(({ writes, reads, ends, readsOfNone }) => [
    ...writes
      .toSorted((one, other) => one.calledAt + one.effect - other.calledAt - other.effect)
      .map(({ unknown, ...times }, index) =>
        operation("write", times, unknown && times.lasting === never ? undefined : index + 1),
      ),
    ...reads.map(({ version, ...times }) => operation("read", times, version)),
    ...ends.map((times) => operation("write", times, gone)),
    ...readsOfNone.map((times) => operation("read", times, gone)),
  ]);

function operation(
  kind: Operation["kind"],
  { calledAt, lasting }: { calledAt: number; lasting: number },
  version: number | undefined,
): Operation {
  return { kind, calledAt, returnedAt: calledAt + lasting, version, by: "somebody" };
}
