import { freePort, type ProcessHandle, startProcess } from "../../../infra/local/processes.mjs";
import { eventually } from "../eventually.ts";
import { node22 } from "./node-22.ts";
import { type ProgramSettings, type RedisPorts, type ServerSettings, settingsVariable } from "./server-settings.ts";

/** A place in the row of servers: an address that stays while the server behind it is replaced. */
interface Place {
  readonly port: number;
  readonly url: string;
  server: ProcessHandle;
  /** How many requests of {@link SessionFleet.use} are with it. */
  underWay: number;
  isInService: boolean;
}

/** Servers that share sessions, each a real process at an address of its own, and a load balancer's choice among them. */
export class SessionFleet {
  readonly #program: string;
  readonly #redis: RedisPorts;
  readonly #places: Place[] = [];
  #turn = 0;

  private constructor(program: string, redis: RedisPorts) {
    this.#program = program;
    this.#redis = redis;
  }

  /**
   * @param options `program`: what `buildServer` has built; `servers`: the settings of each
   */
  static async start(options: {
    readonly program: string;
    readonly redis: RedisPorts;
    readonly servers: readonly ServerSettings[];
  }): Promise<SessionFleet> {
    const fleet = new SessionFleet(options.program, options.redis);
    try {
      for (const settings of options.servers) await fleet.#add(settings);
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  get urls(): readonly string[] {
    return this.#places.map(({ url }) => url);
  }

  /** The address of one server; they count from 1, and then from the first again. */
  url(number: number): string {
    return this.#place(number).url;
  }

  /** Sends work to the next server in turn that is in service, as a load balancer does. */
  async use<T>(work: (url: string) => Promise<T>): Promise<T> {
    const place = this.#next();
    place.underWay += 1;
    try {
      return await work(place.url);
    } finally {
      place.underWay -= 1;
    }
  }

  /** Replaces a server by one with other settings, as a rolling deploy does: out of service, drained, stopped, started. */
  async replace(number: number, settings: ServerSettings): Promise<void> {
    const place = this.#place(number);
    place.isInService = false;
    await eventually("the server has no request left", () => place.underWay === 0);
    await place.server.stop();
    place.server = await this.#startServer(place.port, settings);
    place.isInService = true;
  }

  /** Ends a server with SIGKILL, and starts another in its place. */
  async killAndReplace(number: number, settings: ServerSettings): Promise<void> {
    const place = this.#place(number);
    place.server.kill("SIGKILL");
    await place.server.exited;
    place.server = await this.#startServer(place.port, settings);
  }

  /** Replaces one server after the other. */
  async replaceAll(settings: ServerSettings): Promise<void> {
    for (const number of this.#places.keys()) await this.replace(number + 1, settings);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#places.map(({ server }) => server.stop()));
  }

  async #add(settings: ServerSettings): Promise<void> {
    const port = await freePort();
    const server = await this.#startServer(port, settings);
    this.#places.push({ port, url: `http://127.0.0.1:${port}`, server, underWay: 0, isInService: true });
  }

  async #startServer(port: number, settings: ServerSettings): Promise<ProcessHandle> {
    const told: ProgramSettings = { ...settings, port, redis: this.#redis };
    return startProcess({
      name: `session server (${settings.stack})`,
      command: settings.stack === "connect-redis-10" ? await node22() : process.execPath,
      args: [this.#program],
      env: { NODE_ENV: "production", [settingsVariable]: JSON.stringify(told) },
      ready: / listening on /,
    });
  }

  #place(number: number): Place {
    const place = this.#places[(number - 1) % this.#places.length];
    if (place === undefined) throw new RangeError(`There is no server ${number}.`);
    return place;
  }

  #next(): Place {
    for (let tried = 0; tried < this.#places.length; tried += 1) {
      this.#turn += 1;
      const place = this.#place(this.#turn);
      if (place.isInService) return place;
    }
    throw new Error("No server is in service.");
  }
}
