import type { LineWork } from "./line-measurement.ts";
import { type SessionProduct, sessionProducts } from "./session-products.ts";

/** A line of the sessions' table. */
export interface SessionLine extends LineWork {
  readonly title: string;
  /** The first is what the others are compared with. */
  readonly products: readonly SessionProduct[];
  /** What every request asks for: see session-server.ts. */
  readonly path: "/read" | "/ignore" | "/change" | "/sign-in";
  /** What every answer must contain. */
  readonly expected: string;
  readonly sessionBytes: number;
  /** In use, each by one connection; 0: requests bring no cookie. */
  readonly sessions: number;
  readonly connections: number;
  readonly remarks?: readonly string[];
}

const usual = {
  products: sessionProducts,
  expected: '"name":"Ada Lovelace"',
  sessionBytes: 500,
  sessions: 400,
  connections: 16,
  delayMs: 0,
  maxCalls: Infinity,
};

const unchanged = { ...usual, title: "Unchanged session, read once", path: "/read" } as const;
const changed = { ...usual, title: "Changed session", path: "/change" } as const;

/** The lines of the table, in order. */
export const sessionLines: readonly SessionLine[] = [
  { ...unchanged, title: `${unchanged.title}, 500 B` },
  { ...changed, title: `${changed.title}, 500 B` },
  { ...usual, title: "Session that no handler looks at, 500 B", path: "/ignore", expected: '"name":"Nobody looked"' },
  {
    ...usual,
    title: "No cookie, the handler looks and finds no session",
    path: "/read",
    expected: '"views":0',
    sessions: 0,
  },
  {
    ...usual,
    title: "Sign-in: a new session is stored, 500 B",
    path: "/sign-in",
    sessions: 0,
    maxCalls: 4_000, // what is stored stays until the end, and Redis must not be full before
  },
  ...[unchanged, changed].map((line) => ({ ...line, title: `${line.title}, 8 KB`, sessionBytes: 8_000 })),
  ...[0.5, 2].flatMap((delayMs) => {
    const products = sessionProducts.filter(({ usesRedis }) => usesRedis);
    return [unchanged, changed].map((line) => {
      return { ...line, title: `${line.title}, 500 B, Redis ${delayMs} ms away`, delayMs, products, connections: 4 };
    });
  }),
];
