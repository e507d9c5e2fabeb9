import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { Redis } from "ioredis";
import { onTestFinished, vi } from "vitest";
import type { SessionsOptions } from "../../src/index.ts";
import { startEngine } from "./engine.ts";
import { intercept } from "./redis.ts";

const userOf = (fields: Readonly<Record<string, unknown>>) => fields.user as string | undefined;

/** Starts engines that keep an index of each user's sessions. */
export const starter =
  (client: Redis) =>
  (options: Partial<SessionsOptions> = {}) =>
    startEngine(client, { userOf, ...options });

type Around = (send: () => Promise<unknown>, nth: number) => Promise<unknown>;

/** The client sends a script again after a lost connection, and hears its second answer. */
export const twice: Around = async (send) => {
  await send();
  return send();
};

/** The script arrives, its answer does not. */
export const answerLost: Around = async (send) => {
  await send();
  throw new Error("Connection is closed.");
};

/** The script may have arrived: who sent it can't tell. It has not. */
export const lost: Around = () => Promise.reject(new Error("Connection is closed."));

/** The script was not sent, and the client says so. */
export const notSent: Around = () => Promise.reject(new Error("Stream isn't writeable"));

/** The same client, with `around` put around the sendings of a script whose number, from 1, is meant. */
export function at(client: Redis, verb: string, isMeant: number | ((nth: number) => boolean), around: Around): Redis {
  let count = 0;
  return intercept(
    client,
    (send) => {
      const nth = (count += 1);
      return nth === isMeant || (typeof isMeant === "function" && isMeant(nth)) ? around(send, nth) : send();
    },
    verb,
  );
}

/** The same client, with `around` put around those that are meant of the commands that change or read sessions, from 1. */
export function atCommand(client: Redis, isMeant: (nth: number) => boolean, around: Around): Redis {
  const names = new Set<PropertyKey>(["evalsha", "zadd", "zrem", "zrange"]);
  let count = 0;
  return new Proxy(client, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (!names.has(name) || typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const send = () => Reflect.apply(value, target, args) as Promise<unknown>;
        const nth = (count += 1);
        return isMeant(nth) ? around(send, nth) : send();
      };
    },
  });
}

/** What the indexes hold: of each session the row of its user, and that of when it is due. */
export async function rowsOf(client: Redis, prefix: string): Promise<string[]> {
  const keys = (await client.keys(`${prefix}h:user:*`)).concat(await client.keys(`${prefix}h:due`));
  return (await Promise.all(keys.map((key) => client.zrange(key, 0, "-1")))).flat();
}

/** Makes Redis know all scripts, so that none is sent twice because it does not. */
export async function loadScripts(client: Redis): Promise<void> {
  const folder = new URL("../../lua/", import.meta.url);
  for (const name of readdirSync(folder)) await client.script("LOAD", readFileSync(new URL(name, folder), "utf8"));
}

/** ioredis as it comes, whose nth script of this name loses its answer with its connection. */
export async function cutAt(client: Redis, verb: string, nth: number): Promise<Redis> {
  const { host = "127.0.0.1", port = 6379 } = client.options;
  let isToCut = false;
  const server = createServer((near) => {
    const far = connect(port, host);
    near.pipe(far);
    far.on("data", (data) => {
      if (isToCut) near.destroy();
      else near.write(data);
      isToCut = false;
    });
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const) {
      end.on("error", () => undefined);
      end.on("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = new Redis({ host: "127.0.0.1", port: (server.address() as AddressInfo).port, protocol: 2 });
  own.on("error", () => undefined);
  onTestFinished(() => {
    own.disconnect();
    server.close();
  });
  await once(own, "ready");
  return at(own, verb, nth, (send) => {
    isToCut = true;
    return send();
  });
}

/** What the passing of a minute does to what destroyed, rotated and moved sessions leave behind. */
export async function forget(client: Redis, prefix: string): Promise<void> {
  for (const key of await client.keys(`${prefix}*`)) {
    if ((await client.type(key)) !== "string") continue;
    const text = (await client.get(key)) ?? "";
    if (text === "" || text === ">m" || /^>[rx]/.test(text)) await client.del(key);
  }
}

/** What the passing of a minute does to the indexes: no commit that their rows were added for can be on its way any more. */
export async function age(client: Redis, prefix: string): Promise<void> {
  for (const key of await client.keys(`${prefix}h:user:*`)) {
    for (const [nth, row] of (await client.zrange(key, 0, "-1")).entries()) {
      await client.zadd(key, "XX", row.includes("{") ? -1 - nth : nth, row);
    }
  }
}

/** What the passing of time does to the sweep: every row is due. */
export async function makeDue(client: Redis, prefix: string): Promise<void> {
  const due = `${prefix}h:due`;
  for (const row of await client.zrange(due, 0, "-1")) await client.zadd(due, "XX", 1, row);
}

/** Sets this server's clock ahead until the test has finished; its timers run on. */
export function clockAhead(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + ms });
  onTestFinished(() => {
    vi.useRealTimers();
  });
}

/** A client whose scripts, by the dice, are sent twice or a little late. `dice`: numbers from 0 to 19. */
export function unreliable(client: Redis, dice: Iterator<number>): Redis {
  return intercept(client, async (send) => {
    const die = Number(dice.next().value);
    if (die < 3) await send();
    else if (die < 7) await jitter(die / 2);
    return send();
  });
}

/** Lets others go first, or not. */
export function jitter(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
