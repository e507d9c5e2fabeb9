import { randomBytes } from "node:crypto";

/** Texts that nobody else makes: a random one for each source of them, and a number. */
export class Tokens {
  readonly #start = randomBytes(9).toString("base64url");
  #count = 0;

  next(): string {
    this.#count += 1;
    return `${this.#start}${this.#count.toString(36)}`;
  }
}
