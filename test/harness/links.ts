import { fileURLToPath } from "node:url";
import { type Fault, type FaultCounts, FaultProxy, type FaultScope } from "./fault-proxy.ts";

/** What must be loaded into a server first, so that its connections go through links. */
export const redirection = fileURLToPath(new URL("redirect.mjs", import.meta.url));

/** What leads from one server to some others: a fault proxy in front of each of them, for this server alone. */
export class Links {
  readonly #proxies: ReadonlyMap<number, FaultProxy>;

  private constructor(proxies: ReadonlyMap<number, FaultProxy>) {
    this.#proxies = proxies;
  }

  /** @param ports those of the others */
  static async start(ports: readonly number[]): Promise<Links> {
    const proxies = new Map<number, FaultProxy>();
    for (const port of ports) proxies.set(port, await FaultProxy.start(port));
    return new Links(proxies);
  }

  /** The link to the one that listens on a port. */
  to(port: number): FaultProxy {
    const proxy = this.#proxies.get(port);
    if (proxy === undefined) throw new RangeError(`There is no fault proxy in front of port ${port}.`);
    return proxy;
  }

  /** What all of them did together. */
  get counts(): Readonly<FaultCounts> {
    const sum: FaultCounts = { connections: 0, passedChunks: 0, delayedChunks: 0, heldChunks: 0, resets: 0, cuts: 0 };
    for (const { counts } of this.#proxies.values()) {
      for (const name of Object.keys(sum) as (keyof FaultCounts)[]) sum[name] += counts[name];
    }
    return sum;
  }

  async set(fault: Fault, scope?: FaultScope): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.set(fault, scope)));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.stop()));
  }

  /** What a server is started with beside {@link redirection}, so that its connections go through the links. */
  static environment(links: readonly Links[]): Record<string, string> {
    const redirects = links.flatMap((each) => [...each.#proxies].map(([port, proxy]) => [port, proxy.port]));
    return redirects.length === 0 ? {} : { TEST_REDIRECTS: JSON.stringify(redirects) };
  }
}
