/** Nearly 25 days. */
const maxMs = 2 ** 31 - 1;

export function demand(rule: string, kept: boolean): void {
  if (!kept) throw new TypeError(`Lockstep cache: ${rule}.`);
}

export function positive(name: string, value: number): number {
  demand(`${name} must be a positive number`, Number.isFinite(value) && value > 0);
  return value;
}

export function whole(name: string, value: number): number {
  demand(`${name} must be a whole number above 0`, Number.isSafeInteger(value) && value > 0);
  return value;
}

/** Servers take whole milliseconds, at least one; a timer takes no more than 31 bits of them. */
export function milliseconds(name: string, value: number): number {
  const ms = Math.max(1, Math.round(positive(name, value)));
  demand(`${name} must be at most ${maxMs}`, ms <= maxMs);
  return ms;
}

export function millisecondsOrNone(name: string, value: number): number {
  return value === 0 ? 0 : milliseconds(name, value);
}

export function isText(value: unknown, pattern: RegExp): boolean {
  return typeof value === "string" && pattern.test(value);
}
