import type { CipherKey } from "node:crypto";
import type { SessionFields } from "./codec.ts";
import { CookieReader, type CookieRequest, type Secrets, cookieNameOf, resolveSecrets } from "./cookie.ts";
import type { MissedEvent } from "./event-bus.ts";
import type { LifecycleEvent } from "./events.ts";
import { positive } from "./options.ts";
import type { Sessions } from "./sessions.ts";
import type { TrackedSession } from "./tracked-session.ts";

export type { CookieRequest } from "./cookie.ts";

/** Options of {@link sessionSockets}: those of the `session()` that gives the cookie, and how often to look. */
export interface SessionSocketsOptions {
  /** The engine. Its {@link Sessions.close} does not close the sockets. */
  readonly sessions: Sessions;
  /** What the cookie is signed with; of a list any may have. */
  readonly secret: CipherKey | readonly CipherKey[];
  /** The cookie's name; default `"connect.sid"`. */
  readonly name?: string | undefined;
  /** Another name for {@link SessionSocketsOptions.name}, as express-session has it. */
  readonly key?: string | undefined;
  /**
   * How often each open socket's session is touched, and seen to be there, in ms; default 30,000. It is done more often
   * where the idle limit asks for it.
   */
  readonly keepAliveMs?: number | undefined;
}

/** The session that a socket was opened with. */
export interface SocketSession {
  /** Names it in events and listings; another one after a rotation. */
  readonly handle: string;
  /** Its fields when the socket was opened, `cookie` among them: a copy. Load it again before deciding by them later. */
  readonly fields: Readonly<SessionFields>;
  /** Its tracker, whose `id` is for {@link Sessions.load}; another one after a rotation. */
  readonly tracked: TrackedSession;
}

/**
 * Why a socket is to be closed.
 *
 * - `destroyed`: its session was, on whichever server;
 * - `expired`: its session has reached its absolute limit, or was not seen for its idle limit;
 * - `rotated`: its session has a new id, and the one it was opened with no longer leads there;
 * - `gone`: its session was not there any more, and nobody has said why;
 * - `stopped`: nobody looks after it any more.
 */
export type SocketCloseReason = "destroyed" | "expired" | "rotated" | "gone" | "stopped";

/** The WebSocket close code for a session that has ended: like HTTP's 401, in the range that is the application's (RFC 6455, 7.4.2). */
export const sessionEnded = 4401;

/** A socket that is looked after. */
interface Binding {
  /** As the app sees it, and perhaps another socket with it. */
  readonly session: Mutable<SocketSession>;
  /** The name that it is registered by. */
  handle: string;
  readonly close: (reason: SocketCloseReason) => void;
  timer?: NodeJS.Timeout;
}

type Mutable<T> = { -readonly [name in keyof T]: T[name] };

/** How many sessions are looked at at a time after events were missed. */
const batch = 100;

/** The shortest time between two looks for the idle limit's sake, and the longest between two attempts to subscribe. */
const shortestMs = 1_000;
const retryMs = 5_000;

/**
 * S9: sockets that live as long as the id that they were opened with leads to a session.
 *
 * A destroyed session's sockets are closed as soon as its event arrives. Events can be lost, so each session is also looked
 * at every `keepAliveMs`: no socket is closed later than that, as long as Redis can be asked. While it can't, sockets stay
 * open. Whatever may have changed before a socket was registered for an event is found by a look after it.
 */
export class SessionSockets {
  readonly #sessions: Sessions;
  readonly #cookies: CookieReader;
  readonly #secrets: Secrets;
  readonly #keepAliveMs: number;
  readonly #bindings = new Map<string, Set<Binding>>();
  #unsubscribe: (() => void) | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isStopped = false;

  /**
   * @param options see {@link SessionSocketsOptions}
   * @throws TypeError naming the first option that can't be meant
   */
  constructor(options: SessionSocketsOptions) {
    const secrets = resolveSecrets(options.secret);
    if (!secrets) throw new TypeError("Lockstep sessions: a secret is required, to verify the cookie.");
    this.#sessions = options.sessions;
    this.#cookies = new CookieReader(cookieNameOf(options), secrets);
    this.#secrets = secrets;
    this.#keepAliveMs = positive("keepAliveMs", options.keepAliveMs ?? 30_000);
    void this.#subscribe();
  }

  /**
   * The session of a handshake request.
   *
   * A browser sends the cookie with a WebSocket that any page opens, unless `SameSite` forbids it, and asks nobody: **check the
   * `Origin` header** before.
   *
   * @param request ws: the upgrade's; socket.io: `socket.request`
   * @returns `undefined`: nobody is signed in
   * @throws SessionStoreError `UNAVAILABLE`
   */
  async authenticate(request: CookieRequest): Promise<SocketSession | undefined> {
    const id = this.#cookies.read(request, this.#secrets);
    const tracked = id === undefined ? undefined : await this.#sessions.load(id);
    const fields = tracked && this.#sessions.read(tracked);
    return fields && { handle: this.#sessions.handleOf(tracked.id), fields, tracked };
  }

  /**
   * Looks after an open socket from now on: keeps its session alive, and closes it when that ends. An open socket counts as
   * use, so only the absolute limit bounds the session then; close sockets whose client does not answer.
   *
   * @param session what {@link SessionSockets.authenticate} gave; if it has ended since, the socket is closed
   * @param close closes the socket; called once at most, perhaps before this returns
   * @returns to be called when the socket has closed by itself
   */
  bind(session: SocketSession, close: (reason: SocketCloseReason) => void): () => void {
    const binding: Binding = { session, handle: session.handle, close };
    this.#register(binding);
    if (this.#isStopped) this.#end(binding, "stopped");
    else void this.#look(binding, "gone");
    return () => {
      this.#release(binding);
    };
  }

  /** Closes all sockets, and those that are bound later. The engine stays open. */
  close(): void {
    this.#isStopped = true;
    clearTimeout(this.#retry);
    this.#unsubscribe?.();
    for (const binding of this.#all()) this.#end(binding, "stopped");
  }

  async #subscribe(): Promise<void> {
    try {
      const unsubscribe = await this.#sessions.subscribe((event) => {
        this.#hear(event);
      });
      if (this.#isStopped) {
        unsubscribe();
        return;
      }
      this.#unsubscribe = unsubscribe;
      await this.#lookAtAll();
    } catch {
      // Redis is away; until it is back, the looks every `keepAliveMs` are all there is.
      if (this.#isStopped) return;
      this.#retry = setTimeout(() => void this.#subscribe(), Math.min(retryMs, this.#keepAliveMs));
      this.#retry.unref();
    }
  }

  #hear(event: LifecycleEvent | MissedEvent): void {
    if (event.type === "missed") {
      void this.#lookAtAll();
      return;
    }
    for (const binding of [...(this.#bindings.get(event.handle) ?? [])]) {
      if (event.type === "destroyed") this.#end(binding, "destroyed");
      else if (event.type !== "created") void this.#look(binding, event.type);
    }
  }

  async #lookAtAll(): Promise<void> {
    const all = this.#all();
    for (let at = 0; at < all.length; at += batch) {
      await Promise.all(all.slice(at, at + batch).map((binding) => this.#look(binding, "gone")));
    }
  }

  /** Touches a socket's session, and closes the socket if it is not there. `reason`: what is known of that, if so. */
  async #look(binding: Binding, reason: SocketCloseReason): Promise<void> {
    const { session } = binding;
    if ((session.tracked.endsAt ?? Infinity) <= Date.now()) {
      this.#end(binding, "expired");
      return;
    }
    const state = await this.#sessions.touch(session.tracked, { always: true });
    // Where it is not there it may have gone on elsewhere: under a new id, or moved by a migration.
    const found = state === "alive" ? session.tracked : await this.#find(session.tracked);
    if (!this.#isHeld(binding)) return;
    if (!found) {
      this.#end(binding, reason);
      return;
    }
    session.tracked = found;
    session.handle = this.#sessions.handleOf(found.id);
    if (session.handle !== binding.handle) {
      this.#unregister(binding);
      binding.handle = session.handle;
      this.#register(binding);
      // It may have ended before it was registered by its new name.
      await this.#look(binding, "gone");
      return;
    }
    this.#schedule(binding);
  }

  /** The session as it is now; unchanged where Redis can't be asked. */
  async #find(tracked: TrackedSession): Promise<TrackedSession | undefined> {
    return this.#sessions.load(tracked.id).catch(() => tracked);
  }

  #schedule(binding: Binding): void {
    const { recordLifeMs = Infinity, endsAt = Infinity } = binding.session.tracked;
    const toLimitMs = Math.max(1, endsAt - Date.now());
    const delayMs = Math.min(this.#keepAliveMs, Math.max(shortestMs, recordLifeMs / 2), toLimitMs);
    clearTimeout(binding.timer);
    binding.timer = setTimeout(() => void this.#look(binding, "gone"), delayMs);
    binding.timer.unref();
  }

  #end(binding: Binding, reason: SocketCloseReason): void {
    if (!this.#release(binding)) return;
    try {
      binding.close(reason);
    } catch (error) {
      process.emitWarning(`Closing a socket ("${reason}") threw: ${String(error)}`, "LockstepWarning");
    }
  }

  /** @returns whether it was held until now */
  #release(binding: Binding): boolean {
    clearTimeout(binding.timer);
    return this.#unregister(binding);
  }

  #isHeld(binding: Binding): boolean {
    return this.#bindings.get(binding.handle)?.has(binding) === true;
  }

  #register(binding: Binding): void {
    const others = this.#bindings.get(binding.handle);
    if (others) others.add(binding);
    else this.#bindings.set(binding.handle, new Set([binding]));
  }

  #unregister(binding: Binding): boolean {
    const others = this.#bindings.get(binding.handle);
    const wasThere = others?.delete(binding) === true;
    if (others?.size === 0) this.#bindings.delete(binding.handle);
    return wasThere;
  }

  #all(): Binding[] {
    return [...this.#bindings.values()].flatMap((bindings) => [...bindings]);
  }
}

/**
 * Looks after WebSockets that were opened with a session's cookie: ws, socket.io, or anything else that can be closed.
 *
 * ```ts
 * const sockets = sessionSockets({ sessions, secret });
 *
 * // ws
 * const wss = new WebSocketServer({ noServer: true });
 * server.on("upgrade", async (request, socket, head) => {
 *   const isOurs = request.headers.origin === "https://app.example";
 *   const session = isOurs ? await sockets.authenticate(request).catch(() => undefined) : undefined;
 *   if (!session) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
 *   wss.handleUpgrade(request, socket, head, (ws) => {
 *     const release = sockets.bind(session, (reason) => {
 *       ws.removeAllListeners("message"); // a client may go on sending until it answers the close
 *       ws.close(sessionEnded, reason);
 *     });
 *     ws.on("close", release);
 *   });
 * });
 *
 * // socket.io
 * const io = new Server(server, { allowRequest: (request, done) => done(null, request.headers.origin === "https://app.example") });
 * io.use(async (socket, next) => {
 *   socket.data.session = await sockets.authenticate(socket.request).catch(() => undefined);
 *   next(socket.data.session ? undefined : new Error("not signed in"));
 * });
 * io.on("connection", (socket) => {
 *   const release = sockets.bind(socket.data.session, () => socket.disconnect(true));
 *   socket.on("disconnect", release);
 * });
 * ```
 *
 * A rotated session's sockets stay open where `graceMs` lets the old id lead to the new one; else they are closed, and the
 * browser connects again with its new cookie.
 *
 * @param options see {@link SessionSocketsOptions}
 * @returns what authenticates handshakes and looks after sockets. It works while Redis is away: it subscribes in the background
 * @throws TypeError naming the first option that can't be meant
 */
export function sessionSockets(options: SessionSocketsOptions): SessionSockets {
  return new SessionSockets(options);
}
