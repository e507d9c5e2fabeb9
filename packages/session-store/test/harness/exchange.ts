import { type Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";

/** A whole answer. Left out are the headers that differ from one answer to the next or belong to the connection. */
export interface WholeAnswer {
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string | undefined>>;
  /** The status codes of the informational answers before it. */
  readonly informed: readonly number[];
}

/** What to ask, beside the address. */
export interface Question {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
}

/** Asks over HTTP, on a connection of its own unless an agent is given. `abort` is the client that goes away. */
export function ask(url: string, { agent, ...question }: Question = {}) {
  const informed: number[] = [];
  let hasArrived = false;
  const sent = httpRequest(url, { agent: agent ?? false, ...question, headers: { ...question.headers } });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    sent.on("information", ({ statusCode }) => informed.push(statusCode));
    sent.on("response", resolve).on("error", reject);
  });
  const whole = response.then(async (message): Promise<WholeAnswer> => {
    hasArrived = true;
    const raw = await buffer(message);
    const body = message.headers["content-encoding"] === "gzip" && raw.length > 0 ? gunzipSync(raw) : raw;
    const { date: _date, connection: _connection, "keep-alive": _alive, ...headers } = message.headers;
    const { statusCode: status, statusMessage: reason, trailers } = message;
    return { status, reason, headers, body: body.toString(), trailers, informed };
  });
  whole.catch(() => undefined); // asked for later, or never
  sent.end();
  return { whole, hasArrived: () => hasArrived, abort: () => sent.destroy() };
}

/** The session cookie that an answer sets, as a request sends it. */
export function cookieOf({ headers }: WholeAnswer): string {
  return headers["set-cookie"]?.at(-1)?.split(";", 1)[0] ?? "";
}
