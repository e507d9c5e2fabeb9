// What the person in front of the terminal reads.
import { performance } from "node:perf_hooks";

/**
 * Does one step and prints a line with its outcome and time.
 *
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @param {(result: T) => string} describe
 * @returns {Promise<T>}
 */
export async function step(name, work, describe) {
  const start = performance.now();
  const result = await work();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`  ${name.padEnd(14)} ${describe(result).padEnd(46)} ${seconds.padStart(5)} s`);
  return result;
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
