import { randomBytes } from "node:crypto";

/** Makes tokens that no other process, and no other call, makes: letters, digits, `-` and `_`. */
export function createTokens(): () => string {
  const start = randomBytes(9).toString("base64url");
  let count = 0;
  return () => {
    count += 1;
    return start + count.toString(36);
  };
}
