import { Client } from "../client.ts";
import type { SessionFleet } from "./fleet.ts";
import { Runner } from "./interleavings.ts";
import { indexing } from "./races.ts";
import { endAll } from "./requests.ts";
import type { SessionRedis } from "./session-redis.ts";

/**
 * S8: a server is killed after each of the commands of a sign-in; then the user is signed out everywhere.
 *
 * @returns for each kill how many records of the user's were found in Redis after that: sessions that are in no index
 */
export async function killedSignIns(fleet: SessionFleet, redis: SessionRedis): Promise<number[]> {
  const url = fleet.url(1);
  const left: number[] = [];
  for (let commands = 1; ; commands += 1) {
    const user = `killed-${commands}`;
    const send = () => new Client().request("POST", `${url}/sign-in`, { json: { user } });
    const signIn = await Runner.start({ url, send });
    signIn.answered.catch(() => undefined); // it dies with its server
    for (let count = 0; count < commands; count += 1) await signIn.step();
    if (signIn.isDone) {
      await signIn.stop();
      return left;
    }
    await fleet.killAndReplace(1, indexing);
    await endAll(fleet.url(2), user);
    left.push(await countRecordsOf(user, redis));
  }
}

async function countRecordsOf(user: string, { client }: SessionRedis): Promise<number> {
  const keys = await client.keys(`${String(indexing.engine?.prefix)}h:*`);
  const types = await Promise.all(keys.map((key) => client.type(key)));
  const texts = await Promise.all(keys.filter((_, index) => types[index] === "string").map((key) => client.get(key)));
  return texts.filter((text) => text?.includes(JSON.stringify(user))).length;
}
