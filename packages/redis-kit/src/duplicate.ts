import { type RedisClient, isCluster } from "./client.ts";

/** However the app's own client is set: one that waits until it is connected, connects again for ever, and subscribes again. */
const lasting = {
  enableOfflineQueue: true,
  autoResubscribe: true,
  retryStrategy: (attempt: number) => Math.min(attempt * 50, 2_000),
};

/** A connection of our own to where the app's client leads, to be closed by whoever asked for it. Its errors show in what fails on it. */
export function lastingDuplicate(client: RedisClient): RedisClient {
  const { retryStrategy, ...others } = lasting;
  const own = isCluster(client)
    ? client.duplicate([], { ...others, clusterRetryStrategy: retryStrategy })
    : client.duplicate(lasting);
  own.on("error", () => undefined);
  return own;
}
