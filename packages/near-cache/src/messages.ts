import type { Revoked } from "@lockstep/redis-kit";

/** A revocation, as the group's inbox brings it. */
export interface RevocationMessage {
  readonly generation: string;
  /** Which of its generation: each has the next. */
  readonly number: number;
  /** Who is to be answered. */
  readonly writer: string;
  /** `undefined`: nobody can read it, so everything goes. */
  readonly what: Revoked | undefined;
}

/** A member says up to which number it has applied all revocations. */
export interface AnswerMessage {
  readonly generation: string;
  readonly nonce: string;
  readonly applied: number;
}

/** As `revoke.lua` puts it together. @returns `undefined`: it is nothing of ours */
export function readRevocation(text: string): RevocationMessage | undefined {
  const [, generation, number, writer, body] = /^(\S+) (\d+) (\S+) (.*)$/s.exec(text) ?? [];
  if (generation === undefined || number === undefined || writer === undefined || body === undefined) return undefined;
  return { generation, number: Number(number), writer, what: readWhat(body) };
}

export function writeWhat(what: Revoked): string {
  return JSON.stringify("keys" in what ? what.keys : what.start);
}

/** Keys, or the start of keys. */
function readWhat(body: string): Revoked | undefined {
  try {
    const what: unknown = JSON.parse(body);
    if (typeof what === "string") return { start: what };
    return Array.isArray(what) ? { keys: what.map(String) } : undefined;
  } catch {
    return undefined;
  }
}

export function writeAnswer({ generation, nonce, applied }: AnswerMessage): string {
  return `${generation} ${nonce} ${applied}`;
}

/** @returns `undefined`: it is nothing of ours */
export function readAnswer(text: string): AnswerMessage | undefined {
  const [, generation, nonce, applied] = /^(\S+) (\S+) (\d+)$/.exec(text) ?? [];
  if (generation === undefined || nonce === undefined) return undefined;
  return { generation, nonce, applied: Number(applied) };
}
