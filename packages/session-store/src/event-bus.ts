import { type RedisClient, lastingDuplicate, withDeadline } from "@lockstep/redis-kit";
import { SessionStoreError } from "./errors.ts";
import { type LifecycleEvent, readMessage } from "./events.ts";

/**
 * The connection was lost and is back: what was told meanwhile is not known here. A Cluster's client takes another node
 * for it without saying so: there it comes only after the whole Cluster was out of reach.
 */
export interface MissedEvent {
  /** Tells it from other events. */
  readonly type: "missed";
}

/** Told of what sessions go through on any server. What it throws becomes a process warning. */
export type SessionListener = (event: LifecycleEvent | MissedEvent) => void;

/**
 * Events from all servers, over Redis pub/sub, which tells each at most once: who must not miss one looks again after
 * {@link MissedEvent}. It has a connection of its own from the first subscription to the last.
 */
export class EventBus {
  readonly #client: RedisClient;
  readonly #channel: string;
  readonly #deadlineMs: number;
  readonly #listeners = new Set<SessionListener>();
  #isClosed = false;
  #connection: { readonly client: RedisClient; readonly ready: Promise<void> } | undefined;

  constructor(client: RedisClient, { channel, deadlineMs }: { channel: string; deadlineMs: number }) {
    this.#client = client;
    this.#channel = channel;
    this.#deadlineMs = deadlineMs;
  }

  /**
   * @returns ends the subscription
   * @throws {@link SessionStoreError} `UNAVAILABLE`
   */
  async subscribe(listener: SessionListener): Promise<() => void> {
    if (this.#isClosed) throw new SessionStoreError("UNAVAILABLE", "The engine is closed: nobody is subscribed.");
    // A function of its own: whoever subscribes the same listener twice is told twice, and ends each by itself.
    const own: SessionListener = (event) => {
      listener(event);
    };
    this.#listeners.add(own);
    const end = () => {
      this.#listeners.delete(own);
      if (this.#listeners.size === 0) this.#disconnect();
    };
    try {
      this.#connection ??= this.#connect();
      await this.#connection.ready;
    } catch (error) {
      end();
      throw error;
    }
    return end;
  }

  close(): void {
    this.#isClosed = true;
    this.#listeners.clear();
    this.#disconnect();
  }

  #disconnect(): void {
    this.#connection?.client.disconnect();
    this.#connection = undefined;
  }

  #connect() {
    // An outage is told by the commands on the other connection; here it shows as `missed`.
    const client = lastingDuplicate(this.#client);
    let isSubscribed = false;
    client.on("message", (_channel: string, message: string) => {
      const event = readMessage(message);
      if (event) this.#tell(event);
    });
    // ioredis sends the subscription again by itself, before it says that it is ready.
    client.on("ready", () => {
      if (isSubscribed) this.#tell({ type: "missed" });
    });
    const ready = this.#subscribed(client).then(() => {
      isSubscribed = true;
    });
    return { client, ready };
  }

  async #subscribed(client: RedisClient): Promise<void> {
    const lateError = () => new Error(`no answer within ${this.#deadlineMs} ms`);
    try {
      await withDeadline(client.subscribe(this.#channel), { deadlineMs: this.#deadlineMs, lateError, onLate: ignore });
    } catch (cause) {
      const message = "Redis could not be asked to tell of sessions: nobody is subscribed.";
      throw new SessionStoreError("UNAVAILABLE", message, { cause });
    }
  }

  #tell(event: LifecycleEvent | MissedEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        process.emitWarning(`A session listener threw at "${event.type}": ${String(error)}`, "LockstepWarning");
      }
    }
  }
}

function ignore(): void {}
