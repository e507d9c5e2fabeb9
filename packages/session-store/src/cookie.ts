import type { CipherKey } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { parse, serialize } from "cookie";
import { sign, unsign } from "cookie-signature";
import { LRUCache } from "lru-cache";

/** The fields of a cookie that are sent with it. */
export type CookieAttributes = NonNullable<Parameters<typeof serialize>[2]>;

/** The first signs, all verify. */
export type Secrets = readonly [CipherKey, ...CipherKey[]];

/** What of a request brings a cookie, with what cookie-parser may have added. */
export interface CookieRequest {
  readonly headers: { readonly cookie?: string | undefined };
  readonly cookies?: Readonly<Record<string, unknown>>;
  readonly signedCookies?: Readonly<Record<string, unknown>>;
}

/** What express-session's signed cookies start with. */
const signedPrefix = "s:";

/**
 * The name of the session cookie, as express-session's options give it.
 *
 * @throws TypeError for a name that no cookie can have
 */
export function cookieNameOf(options: {
  readonly name?: string | undefined;
  readonly key?: string | undefined;
}): string {
  const name = options.name ?? options.key ?? "connect.sid";
  clearedCookie(name, {});
  return name;
}

/**
 * The secrets of an option that may be one or several.
 *
 * @returns `undefined` if there is none
 * @throws TypeError for a list that holds anything else
 */
export function resolveSecrets(secret: CipherKey | readonly CipherKey[] | undefined): Secrets | undefined {
  if (!secret) return undefined;
  const [first, ...others] = [secret as CipherKey | CipherKey[]].flat();
  // Whoever calls from JavaScript is not held back by the types.
  if (first && others.every(Boolean)) return [first, ...others];
  throw new TypeError("Lockstep sessions: the secret option array must contain secrets, and nothing else.");
}

/** How many characters of `Cookie` headers a {@link CookieReader} remembers in all. */
const rememberedLength = 2_000_000;

/** Reads the session id from requests' cookies. */
export class CookieReader {
  readonly #name: string;
  readonly #secrets: Secrets | undefined;
  /** Ids by the header that brought them. A browser sends the same one with each request, and verifying it is dear. */
  readonly #verified = new LRUCache<string, string>({
    maxSize: rememberedLength,
    sizeCalculation: (_id, header) => header.length,
  });

  /** @param secrets those of each request, if they are always the same */
  constructor(name: string, secrets: Secrets | undefined) {
    this.#name = name;
    this.#secrets = secrets;
  }

  /**
   * The session id in a request's cookie, signed by one of `secrets`.
   *
   * @returns `undefined` if there is none, or it was signed by nobody we know: it is as if it had not been sent (S11)
   */
  read(request: CookieRequest, secrets: Secrets): string | undefined {
    const sent = this.#sent(request.headers.cookie, secrets);
    if (sent !== undefined) return sent;
    // What cookie-parser has read, where something else has taken the header away.
    const signed = request.signedCookies?.[this.#name];
    return typeof signed === "string" ? signed : verify(request.cookies?.[this.#name], secrets);
  }

  #sent(header: string | undefined, secrets: Secrets): string | undefined {
    // Nearly all requests to a public site come without one.
    if (!header?.includes(this.#name)) return undefined;
    const known = secrets === this.#secrets ? this.#verified.get(header) : undefined;
    if (known !== undefined) return known;
    const id = verify(parse(header, { decode })[this.#name], secrets);
    if (id !== undefined && secrets === this.#secrets) this.#verified.set(header, id);
    return id;
  }
}

/** As express-session reads it: a value may stand in quotes (RFC 6265, 4.1.1), and need not be decodable. */
function decode(value: string): string {
  const bare = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
  if (!bare.includes("%")) return bare;
  try {
    return decodeURIComponent(bare);
  } catch {
    return bare;
  }
}

function verify(value: unknown, secrets: readonly CipherKey[]): string | undefined {
  if (typeof value !== "string" || !value.startsWith(signedPrefix)) return undefined;
  const signed = value.slice(signedPrefix.length);
  for (const secret of secrets) {
    const id = unsign(signed, secret);
    // A copy: what V8 cuts out of a long header keeps all of it for as long as somebody remembers the id.
    if (id !== false) return Buffer.from(id).toString();
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
