/** Something that may not grow while the same work goes on: what it is called, and how far apart two calm moments may be. */
export interface Bound {
  readonly name: string;
  /** So much more is no growth: a part of what there was, and a number of them. */
  readonly share: number;
  readonly plus: number;
}

/** What grew, with what it was and became. */
export interface Growth {
  readonly name: string;
  readonly before: number;
  readonly after: number;
}

/**
 * Compares the second quarter of samples with the last, by their medians. The first quarter is not looked at: caches fill, code is
 * compiled.
 *
 * @param samples in the order of time, each with a number by each bound's name
 * @returns what is more than its bound allows
 * @throws RangeError if there are fewer than eight
 */
export function growthOf(samples: readonly Readonly<Record<string, number>>[], bounds: readonly Bound[]): Growth[] {
  if (samples.length < 8)
    throw new RangeError(`There are ${samples.length} samples, and growth is seen in eight or more.`);
  const quarter = Math.floor(samples.length / 4);
  const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter)];
  return bounds.flatMap(({ name, share, plus }) => {
    const [before, after] = [median(early, name), median(late, name)];
    return after > before * (1 + share) + plus ? [{ name, before, after }] : [];
  });
}

/** What the samples have in the middle under a name. */
export function median(samples: readonly Readonly<Record<string, number>>[], name: string): number {
  const sorted = samples.map((sample) => sample[name] ?? NaN).sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
