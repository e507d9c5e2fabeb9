import type { SessionsOptions } from "@lockstep/session-store";

/** Whose sessions a server runs on: connect-redis 8.1 or 10 under express-session, our RedisStore under it, or session(). */
type SessionStack = "connect-redis" | "connect-redis-10" | "store" | "middleware";

/** What of the engine's options can be told to another process; the functions among them have their own setting. */
type EngineSettings = Omit<SessionsOptions, "client" | "resolve" | "serializer" | "userOf" | "onEvent">;

/** How a server keeps its sessions. It travels as JSON. */
export interface ServerSettings {
  readonly stack: SessionStack;
  /** Of connect-redis only `prefix` and `idleMs` are heard, in its own terms. */
  readonly engine?: EngineSettings;
  /** The field that holds the user's id: sessions are indexed by it. */
  readonly userField?: string;
  /** The cookie's `maxAge`; without it the cookie has none. */
  readonly maxAgeMs?: number;
  readonly rolling?: boolean;
  readonly onUnavailable?: "reject" | "anonymous";
}

/** Where a server's Redis is: the ports of all nodes of a Cluster, or of one server. All on this machine. */
export type RedisPorts = number | readonly number[];

/** All that the program of a server is told, in the variable {@link settingsVariable}. */
export interface ProgramSettings extends ServerSettings {
  readonly port: number;
  readonly redis: RedisPorts;
}

export const settingsVariable = "SESSION_SERVER";
