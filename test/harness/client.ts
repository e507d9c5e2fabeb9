import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from "node:http";
import supertest from "supertest";

/** The cookie that carries the session's id. */
export const sessionCookie = "lockstep.sid";

export const demoAccount = { username: "alice", password: "lockstep-demo" } as const;

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface RequestOptions {
  readonly json?: unknown;
  /** A body as it is; its type is up to `headers`. */
  readonly text?: string;
  readonly form?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly setCookies: readonly string[];
  /** The server's own name for itself, from `X-Served-By`. */
  readonly servedBy: string | undefined;
  readonly text: string;
  /** The JSON body, or undefined if the body is something else. */
  readonly body: unknown;
}

/** A request whose headers are with the server while its body is not: the session is loaded, the handler waits. */
export interface HeldRequest {
  /** Sends the body, and so lets the handler run. */
  release(): void;
  /** Fulfilled when the server asks for the body; only a request with `expect: 100-continue` is asked for it. */
  readonly admitted: Promise<void>;
  /** The status and headers, as soon as they arrive. */
  readonly head: Promise<Omit<Answer, "text" | "body">>;
  readonly answer: Promise<Answer>;
}

/**
 * What a person's browser is to the servers: it keeps cookies, by name only (cookies ignore ports, RFC 6265 section 8.5), and
 * follows no redirect unless told. Which server it speaks to is the caller's choice, request by request.
 */
export class Client {
  readonly cookies = new Map<string, string>();

  /** A client with the same cookies, as another tab or a thief has them: later changes are not shared. */
  copy(): Client {
    const copy = new Client();
    for (const [name, value] of this.cookies) copy.cookies.set(name, value);
    return copy;
  }

  /** The id of the session, as it is inside the signed cookie; undefined without a session cookie. */
  get sessionId(): string | undefined {
    const value = this.cookies.get(sessionCookie);
    if (value === undefined) return undefined;
    const signed = decodeURIComponent(value);
    return signed.slice("s:".length, signed.lastIndexOf("."));
  }

  async request(method: Method, url: string, { json, text, form, headers }: RequestOptions = {}): Promise<Answer> {
    const { origin, pathname, search } = new URL(url);
    const agent = supertest(origin);
    const test = agent[lowerCase(method)](pathname + search)
      .timeout(20_000)
      .set({ ...this.#ownHeaders(), ...headers });
    if (json !== undefined) void test.type("json").send(JSON.stringify(json));
    if (text !== undefined) void test.send(text);
    if (form !== undefined) void test.type("form").send(form);
    const response = await test;
    const head = this.#receive(response.status, response.headers);
    return { ...head, text: response.text, body: parsedBody(head.headers, response.text) };
  }

  /** Sends the headers of a request now and its body when told. */
  hold(method: Method, url: string, { json, form, headers }: RequestOptions): HeldRequest {
    const body = form === undefined ? JSON.stringify(json) : new URLSearchParams(form).toString();
    const request = httpRequest(url, {
      method,
      agent: false,
      headers: {
        "content-type": form === undefined ? "application/json" : "application/x-www-form-urlencoded",
        "content-length": Buffer.byteLength(body),
        ...this.#ownHeaders(),
        ...headers,
      },
      signal: AbortSignal.timeout(20_000),
    });
    const admitted = once(request, "continue").then(() => undefined);
    request.flushHeaders();
    const arrived = once(request, "response").then(([message]) => {
      const incoming = message as IncomingMessage;
      return { incoming, head: this.#receive(incoming.statusCode ?? 0, incoming.headers) };
    });
    const head = arrived.then((answer) => answer.head);
    const answer = arrived.then(async ({ incoming, head }) => {
      let text = "";
      for await (const chunk of incoming.setEncoding("utf8")) text += chunk as string;
      return { ...head, text, body: parsedBody(head.headers, text) };
    });
    // The caller may await only one of them; the others must not count as rejections that nobody saw.
    for (const promise of [admitted, head, answer]) promise.catch(() => undefined);
    return { release: () => request.end(body), admitted, head, answer };
  }

  async signIn(base: string, account: { username: string; password: string } = demoAccount): Promise<Answer> {
    const answer = await this.request("POST", `${base}/api/sign-in`, { json: account });
    if (answer.status >= 300) throw new Error(`Signing in at ${base} answered ${answer.status}: ${answer.text}`);
    return answer;
  }

  async isSignedIn(base: string): Promise<boolean> {
    const { status, text } = await this.request("GET", `${base}/api/me`);
    if (status !== 200 && status !== 401) throw new Error(`GET /api/me at ${base} answered ${status}: ${text}`);
    return status === 200;
  }

  #ownHeaders(): Record<string, string> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    // A connection each: a kept one may be in the middle of dying with the server that a test kills.
    return cookie === "" ? { connection: "close" } : { connection: "close", cookie };
  }

  #receive(status: number, headers: IncomingHttpHeaders): Omit<Answer, "text" | "body"> {
    const setCookies = headers["set-cookie"] ?? [];
    for (const setCookie of setCookies) {
      const { name, value, expired } = parseSetCookie(setCookie);
      if (expired) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const servedBy = headers["x-served-by"];
    return { status, headers, setCookies, servedBy: typeof servedBy === "string" ? servedBy : undefined };
  }
}

/** A client that signed in as alice at `base`. */
export async function signedInClient(base: string): Promise<Client> {
  const client = new Client();
  await client.signIn(base);
  return client;
}

/** The `Set-Cookie` headers of `answer` that concern the session. */
export function sessionCookiesOf(answer: Pick<Answer, "setCookies">): readonly string[] {
  return answer.setCookies.filter((setCookie) => parseSetCookie(setCookie).name === sessionCookie);
}

function parseSetCookie(setCookie: string): { name: string; value: string; expired: boolean } {
  const [pair = "", ...attributes] = setCookie.split(";").map((part) => part.trim());
  const equals = pair.indexOf("=");
  const expires = attributes.find((attribute) => /^expires=/i.test(attribute))?.slice("expires=".length);
  return {
    name: pair.slice(0, equals),
    value: pair.slice(equals + 1),
    expired:
      attributes.some((attribute) => /^max-age=(0|-.*)$/i.test(attribute)) ||
      (expires !== undefined && Date.parse(expires) <= Date.now()),
  };
}

function parsedBody(headers: IncomingHttpHeaders, text: string): unknown {
  return headers["content-type"]?.includes("json") === true ? (JSON.parse(text) as unknown) : undefined;
}

function lowerCase(method: Method): Lowercase<Method> {
  return method.toLowerCase() as Lowercase<Method>;
}
