import type { Redis } from "ioredis";

/** Cuts the connections of this name that listen to events, as a failing network does. */
export async function cutListeners(client: Redis, name: string): Promise<void> {
  const connections = ((await client.client("LIST", "TYPE", "PUBSUB")) as string).split("\n");
  const ids = connections.filter((line) => line.includes(` name=${name} `)).map((line) => /\bid=(\d+)/.exec(line)?.[1]);
  if (ids.length === 0) throw new Error("Nobody of this name listens.");
  await Promise.all(ids.map((id) => client.client("KILL", "ID", id ?? "")));
}
