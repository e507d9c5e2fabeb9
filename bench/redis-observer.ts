import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { Monitor } from "./monitor.ts";

/** What Redis itself counted while something ran. */
export interface Counted {
  /** As clients sent them. */
  readonly commands: number;
  /** Called by scripts. */
  readonly inScripts: number;
  /** How often Redis read from a socket: round trips, as long as what a client has sent fits one read (16 KB). */
  readonly reads: number;
}

/** Sees from Redis' side what it costs to serve clients. */
export class RedisObserver {
  readonly #redis: Redis;

  constructor(url: string) {
    this.#redis = new Redis(url, { protocol: 2 });
  }

  async version(): Promise<string> {
    return (await this.#statistics("server"))("redis_version");
  }

  /** The processor time that Redis has used since it started, user and system. */
  async cpuMs(): Promise<number> {
    const statistic = await this.#statistics("cpu");
    return (Number(statistic("used_cpu_user")) + Number(statistic("used_cpu_sys"))) * 1000;
  }

  /** Counts what every client but this one sends until `act` is done. Being watched slows Redis: time nothing meanwhile. */
  async count<T>(act: () => Promise<T>): Promise<[T, Counted]> {
    const seen = { commands: 0, inScripts: 0 };
    const last = randomUUID();
    let told = (): void => undefined;
    const allSeen = new Promise<void>((resolve) => (told = resolve));
    const monitor = await Monitor.start(this.#redis, ({ args, source }) => {
      if (args.includes(last)) told();
      else seen[source === "lua" ? "inScripts" : "commands"] += 1;
    });
    try {
      const before = await this.#reads();
      const result = await act();
      const after = await this.#reads();
      await this.#redis.echo(last);
      await allSeen;
      // Without the two questions: both were seen, and the second is among the reads that it asks for.
      return [result, { ...seen, commands: seen.commands - 2, reads: after - before - 1 }];
    } finally {
      monitor.stop();
    }
  }

  stop(): void {
    this.#redis.disconnect();
  }

  async #reads(): Promise<number> {
    return Number((await this.#statistics("stats"))("total_reads_processed"));
  }

  async #statistics(section: string): Promise<(name: string) => string> {
    const info = await this.#redis.info(section);
    return (name) => {
      const value = new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
      if (value === undefined) throw new Error(`This Redis has no ${name} in INFO ${section}.`);
      return value;
    };
  }
}
