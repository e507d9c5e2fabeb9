/** A part from 0 to 1, rounded down, so that only all is 100 %. */
export function percent(part: number): string {
  // A part that is a whole number of thousandths may be a hair less in binary.
  return `${(Math.floor(part * 1_000 + 1e-9) / 10).toFixed(1)} %`;
}

/** Two digits at least. */
export function milliseconds(ms: number): string {
  const digits = Math.abs(ms) >= 10 ? 1 : Math.abs(ms) >= 1 ? 2 : 3;
  // What rounds to nothing has no sign.
  return `${ms.toFixed(digits).replace(/^-(0\.0+)$/, "$1")} ms`;
}
