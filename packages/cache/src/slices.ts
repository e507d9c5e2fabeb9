/**
 * How many entries are asked of the shared tier at a time. All of a call's at once would be answered after the deadline from some
 * number on, however quick the server is: the rest is sent when these are answered.
 */
export const maxAtOnce = 512;

/** So many items at a time, in their order. */
export function* slicesOf<T>(items: readonly T[], size = maxAtOnce): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
