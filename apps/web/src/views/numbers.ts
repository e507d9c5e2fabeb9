/** A part from 0 to 1, rounded down, so that only all is 100 %. */
export function percent(part: number): string {
  // A part that is a whole number of thousandths may be a hair less in binary.
  return `${(Math.floor(part * 1_000 + 1e-9) / 10).toFixed(1)} %`;
}

/** The same, rounded up: what is needed is at least so much. */
export function percentNeeded(part: number): string {
  return `${(Math.ceil(part * 1_000 - 1e-9) / 10).toFixed(1)} %`;
}

/** With three digits or more, none beyond the third decimal. */
export function decimal(value: number): string {
  const digits = Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  // What rounds to nothing has no sign.
  return value
    .toFixed(digits)
    .replace(/^-(0\.0+)$/, "$1")
    .replace("-", "−");
}

export function milliseconds(ms: number): string {
  return `${decimal(ms)} ms`;
}
