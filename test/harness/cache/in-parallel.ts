/** Performs all of them, `width` at once, and takes the next whenever one is done. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  perform: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const rest = items.entries();
  const hands = Array.from({ length: width }, async () => {
    for (const [index, item] of rest) await perform(item, index);
  });
  await Promise.all(hands);
}

export function chunks<T>(items: readonly T[], size: number): T[][] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, index) => items.slice(index * size, (index + 1) * size));
}
