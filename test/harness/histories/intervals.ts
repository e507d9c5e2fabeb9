export interface Interval {
  readonly calledAt: number;
  readonly returnedAt: number;
}

/** Tells whether a moment is in one of the intervals, in O(log n). */
export function withinOneOf(intervals: readonly Interval[]): (moment: number) => boolean {
  const starts: number[] = [];
  const ends: number[] = [];
  for (const { calledAt, returnedAt } of intervals.toSorted((one, other) => one.calledAt - other.calledAt)) {
    const last = ends.length - 1;
    if (last >= 0 && calledAt <= (ends[last] as number)) {
      ends[last] = Math.max(ends[last] as number, returnedAt);
    } else {
      starts.push(calledAt);
      ends.push(returnedAt);
    }
  }
  return (moment) => {
    let low = 0;
    for (let high = starts.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((starts[middle] as number) <= moment) low = middle + 1;
      else high = middle;
    }
    return low > 0 && moment <= (ends[low - 1] as number);
  };
}
