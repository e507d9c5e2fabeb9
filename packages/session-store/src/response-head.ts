import { type ServerResponse, validateHeaderValue } from "node:http";

type HeaderValue = string | string[];

/** Whether `writeHead` would accept this status; if not, Node's own error is what the caller should get. */
export function isStatus(status: unknown): status is number {
  const code = Number(status) | 0;
  return code >= 100 && code <= 999;
}

/** Whether Node would send a response's status line; if not, it says so at once. */
export function hasSendableStatus(response: Pick<ServerResponse, "statusCode" | "statusMessage">): boolean {
  if (!isStatus(response.statusCode)) return false;
  if (!response.statusMessage) return true;
  try {
    validateHeaderValue("status", response.statusMessage);
    return true;
  } catch {
    return false;
  }
}

/**
 * Sets what `writeHead(status, [reason], [headers])` was given, so that headers can still be added to it.
 *
 * @returns what is left to call the real `writeHead` with
 * @throws Node's errors for what it would refuse
 */
export function applyHead(response: ServerResponse, [status, second, third]: unknown[]): unknown[] {
  const reason = typeof second === "string" ? second : undefined;
  for (const [name, value] of entriesOf(third ?? (reason === undefined ? second : undefined))) {
    response.setHeader(name, value);
  }
  response.statusCode = Number(status) | 0;
  if (reason !== undefined) response.statusMessage = reason;
  return reason === undefined ? [status] : [status, reason];
}

/** Headers as Node takes them: an object, a list of names and values in turn, or of pairs; in a list a name may repeat. */
function entriesOf(headers: unknown): Iterable<[string, HeaderValue]> {
  if (!Array.isArray(headers)) return Object.entries((headers ?? {}) as Record<string, HeaderValue>);
  const pairs = Array.isArray(headers[0]) ? (headers as [string, HeaderValue][]) : inPairs(headers as HeaderValue[]);
  const grouped = new Map<string, [string, HeaderValue]>();
  for (const [name, value] of pairs) {
    const before = grouped.get(name.toLowerCase());
    grouped.set(name.toLowerCase(), before ? [before[0], [before[1], value].flat()] : [name, value]);
  }
  return grouped.values();
}

function inPairs(list: HeaderValue[]): [string, HeaderValue][] {
  if (list.length % 2 !== 0) {
    const error = new TypeError("A list of headers must have a value for each name.");
    throw Object.assign(error, { code: "ERR_INVALID_ARG_VALUE" });
  }
  return list.flatMap((name, at) => (at % 2 === 0 ? [[name as string, list[at + 1] ?? ""]] : []));
}
