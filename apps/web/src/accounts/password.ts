import { randomUUID } from "node:crypto";
import { hash, verify } from "@node-rs/argon2";
import { bulkhead, BulkheadRejectedError } from "cockatiel";
import { RequestError } from "../requests/request-error.ts";

/** OWASP Password Storage Cheat Sheet: argon2id (the library's default) with 19 MiB, two passes, one lane. */
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/**
 * Each takes a processor for tens of milliseconds, and one of the four threads that files, names and compression need too.
 * Forty are waited for in a second or two; who comes then is told so at once.
 */
const hashing = bulkhead(2, 40);

/**
 * Hashes a new password with argon2id and a salt of its own.
 * @throws {RequestError} 503 if too many wait for the same
 */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(password, cost));
}

const nobodysHash = await hash(randomUUID(), cost);

/**
 * Compares a password with an account's hash. Without an account it does the same work on nobody's hash and says no, so
 * that the time of the answer does not tell which usernames exist.
 * @throws {RequestError} 503 if too many wait for the same
 */
export async function verifyPassword(password: string, passwordHash: string | undefined): Promise<boolean> {
  const matches = await inTurn(() => verify(passwordHash ?? nobodysHash, password));
  return matches && passwordHash !== undefined;
}

async function inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await hashing.execute(work);
  } catch (error) {
    if (!(error instanceof BulkheadRejectedError)) throw error;
    throw new RequestError(503, "too-busy", "Too many people are signing in at this moment. Try again in a second.");
  }
}
