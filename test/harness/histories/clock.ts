/**
 * Now, in ns on the machine's monotonic clock, which all of its processes share. After 104 days without a restart a number can't tell
 * each ns from the next; rounding keeps the order, and what is rounded to one moment overlaps.
 */
export function nowNs(): number {
  return Number(process.hrtime.bigint());
}
