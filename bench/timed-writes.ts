import { setTimeout as delay } from "node:timers/promises";

/** Writes so often, and rests after each for as long as that took. @returns what each took, in ms */
export async function timedWrites(
  write: () => Promise<unknown>,
  { writes, rests }: { writes: number; rests: boolean },
): Promise<Float64Array> {
  const took = new Float64Array(writes);
  for (let index = 0; index < writes; index += 1) {
    const start = performance.now();
    await write();
    took[index] = performance.now() - start;
    if (rests) await delay(Math.max(1, took[index] ?? 0));
  }
  return took;
}
