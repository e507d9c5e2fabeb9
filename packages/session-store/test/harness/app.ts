import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Express } from "express";
import { onTestFinished } from "vitest";

/** An answer, with what the tests look at. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The `Set-Cookie` lines. */
  readonly cookies: readonly string[];
}

/** A browser of one user: it keeps the session cookie, and does not follow redirects. */
export class Browser {
  readonly #base: string;
  cookie = "";

  constructor(base: string) {
    this.#base = base;
  }

  async get(path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = { ...(this.cookie && { cookie: this.cookie }), ...(init.headers as Record<string, string>) };
    const response = await fetch(this.#base + path, { redirect: "manual", ...init, headers });
    const cookies = response.headers.getSetCookie();
    for (const line of cookies) this.cookie = line.split(";", 1)[0] ?? "";
    return { status: response.status, headers: response.headers, text: await response.text(), cookies };
  }

  async json(path: string): Promise<unknown> {
    return JSON.parse((await this.get(path)).text);
  }
}

/** Serves an app until the test has finished, and returns its address. */
export async function serve(app: Express): Promise<string> {
  const server = await new Promise<Server>((resolve, reject) => {
    const listening: Server = app.listen(0, "127.0.0.1", (error) => (error ? reject(error) : resolve(listening)));
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
