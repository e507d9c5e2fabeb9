import slotOf from "cluster-key-slot";
import type { Redis } from "ioredis";
import { Commands, type RedisClient, isCluster, withDeadline } from "@lockstep/redis-kit";
import { NearError } from "./errors.ts";
import type { GroupKeys } from "./keys.ts";
import { GroupScripts } from "./scripts.ts";

/** Who is told what comes over a {@link Link}. */
export interface LinkListener {
  /** A text in the group's inbox. */
  onRevocation(text: string): void;
  /** A text for this member alone. */
  onAnswer(text: string): void;
  /** Once, at the latest when it is closed by this side. */
  onEnd(reason: "connection" | "moved"): void;
}

/** The least time to connect in, in ms: names are looked up, and TLS is agreed upon. */
const leastConnectMs = 2_000;

/**
 * A member's own connection to the server that has the group, in RESP3: it brings what is published, and the replies to scripts, in the order
 * in which the server has done them (C7). It is never connected again: another joining has another.
 */
export class Link {
  readonly #connection: Redis;
  readonly #keys: GroupKeys;
  readonly scripts: GroupScripts;

  private constructor(connection: Redis, keys: GroupKeys, leaseMs: number) {
    this.#connection = connection;
    this.#keys = keys;
    this.scripts = new GroupScripts(new Commands(connection, { deadlineMs: leaseMs }), keys);
  }

  /**
   * Connects and subscribes.
   *
   * @throws what ioredis throws; {@link NearError} `UNAVAILABLE` if it takes longer than a connection may
   */
  static async open(
    client: RedisClient,
    options: { keys: GroupKeys; nonce: string; leaseMs: number; listener: LinkListener },
  ): Promise<Link> {
    const { keys, nonce, leaseMs, listener } = options;
    const connectMs = Math.max(leastConnectMs, leaseMs);
    const origin = await within(connectMs, ownerOf(client, keys.members));
    const connection = origin.duplicate(own(connectMs));
    connection.on("error", ignore); // told by what fails
    const answers = keys.answers(nonce);
    connection.on("smessage", (channel: string, text: string) => {
      if (channel === answers) listener.onAnswer(text);
      else listener.onRevocation(text);
    });
    const end = (reason: "connection" | "moved") => {
      connection.disconnect();
      listener.onEnd(reason);
    };
    connection.once("close", () => {
      end("connection");
    });
    // A Cluster's node unsubscribes whoever listens to a slot that it gives away.
    connection.once("moved", () => {
      end("moved");
    });
    try {
      await within(connectMs, connection.connect());
      await within(connectMs, connection.ssubscribe(keys.inbox, answers));
      return new Link(connection, keys, leaseMs);
    } catch (error) {
      connection.disconnect();
      throw error;
    }
  }

  /** Tells a writer something, on the fast path: it is not known whether it arrives. */
  answer(writer: string, text: string): void {
    this.#connection.spublish(this.#keys.answers(writer), text).catch(ignore);
  }

  close(): void {
    this.#connection.disconnect();
  }
}

function ignore(): void {}

/** However the app's own client is set. */
function own(connectTimeout: number) {
  return {
    protocol: 3 as const,
    keyPrefix: "",
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    enableAutoPipelining: false,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
    connectTimeout,
  };
}

/** The connection that leads to the server which has the key. */
async function ownerOf(client: RedisClient, key: string): Promise<Redis> {
  if (!isCluster(client)) return client;
  // It follows the key where it has moved to, and connects a client that has not been used yet.
  await client.exists(withoutPrefix(client, key));
  const [owner] = client.slots[slotOf(key)] ?? [];
  const node = client.nodes("master").find(({ options }) => `${options.host}:${options.port}` === owner);
  if (node === undefined) throw new NearError("UNAVAILABLE", "The Cluster has no primary for the group's slot.");
  return node;
}

function withoutPrefix({ options }: RedisClient, key: string): string {
  return key.slice(options.keyPrefix?.length ?? 0);
}

function within<T>(deadlineMs: number, work: Promise<T>): Promise<T> {
  const lateError = () => new NearError("UNAVAILABLE", `Redis could not be connected within ${deadlineMs} ms.`);
  return withDeadline(work, { deadlineMs, lateError, onLate: ignore });
}
