import type { CipherKey } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { parse, serialize } from "cookie";
import { sign, unsign } from "cookie-signature";

/** The fields of a cookie that are sent with it. */
export type CookieAttributes = NonNullable<Parameters<typeof serialize>[2]>;

/** A request, with what cookie-parser may have added. */
type CookieRequest = IncomingMessage & {
  readonly cookies?: Readonly<Record<string, unknown>>;
  readonly signedCookies?: Readonly<Record<string, unknown>>;
};

/** What express-session's signed cookies start with. */
const signedPrefix = "s:";

/**
 * The session id in a request's cookie, signed by one of `secrets`.
 *
 * @returns `undefined` if there is none, or it was signed by nobody we know: it is as if it had not been sent (S11)
 */
export function readCookie(request: CookieRequest, name: string, secrets: readonly CipherKey[]): string | undefined {
  const header = request.headers.cookie;
  // Nearly all requests to a public site come without one.
  const sent = header?.includes(name) ? verify(parse(header)[name], secrets) : undefined;
  if (sent !== undefined) return sent;
  // What cookie-parser has read, where something else has taken the header away.
  const signed = request.signedCookies?.[name];
  return typeof signed === "string" ? signed : verify(request.cookies?.[name], secrets);
}

function verify(value: unknown, secrets: readonly CipherKey[]): string | undefined {
  if (typeof value !== "string" || !value.startsWith(signedPrefix)) return undefined;
  const signed = value.slice(signedPrefix.length);
  for (const secret of secrets) {
    const id = unsign(signed, secret);
    if (id !== false) return id;
  }
  return undefined;
}

/** A `Set-Cookie` value that gives the browser a session's id. */
export function sessionCookie(name: string, id: string, secret: CipherKey, attributes: CookieAttributes): string {
  return serialize(name, signedPrefix + sign(id, secret), attributes);
}

/** A `Set-Cookie` value that takes the cookie from the browser. The attributes must be those it was set with. */
export function clearedCookie(name: string, attributes: CookieAttributes): string {
  return serialize(name, "", { ...attributes, expires: new Date(0) });
}

/**
 * Whether a request came over TLS.
 *
 * @param trustProxy `true`: believe `X-Forwarded-Proto`; `false`: don't; else as Express' "trust proxy" says
 */
export function isSecure(request: IncomingMessage & { secure?: boolean }, trustProxy: boolean | undefined): boolean {
  if ((request.socket as Partial<TLSSocket> | undefined)?.encrypted) return true;
  if (trustProxy === false) return false;
  if (trustProxy !== true) return request.secure === true;
  const forwarded = request.headers["x-forwarded-proto"];
  const first = (Array.isArray(forwarded) ? forwarded[0] : forwarded)?.split(",", 1)[0];
  return first?.trim().toLowerCase() === "https";
}
