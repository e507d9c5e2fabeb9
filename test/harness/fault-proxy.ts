import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * What happens to the traffic between one server and its Redis.
 * - `pass`: nothing.
 * - `{ delayMs }`: every command arrives that much later; replies are not delayed.
 * - `{ delayRepliesMs }`: every reply arrives that much later.
 * - `{ cutRepliesEvery }`: of so many pieces of replies one is cut in the middle, and its connection reset.
 * - `hold`: a black hole. Connections are accepted, nothing goes through; what was held goes on when it ends.
 * - `reset`: open connections are reset at once, new ones as soon as they are accepted.
 * - `refuse`: open connections are reset and nobody listens.
 */
export type Fault =
  | "pass"
  | "hold"
  | "reset"
  | "refuse"
  | { readonly delayMs: number }
  | { readonly delayRepliesMs: number }
  | { readonly cutRepliesEvery: number };

/** Which connections it happens to: all, or those in RESP3, as near copies have theirs. */
export type FaultScope = "all" | "resp3";

/** What the proxy did so far, so that a test of a fault fails if its fault never happened. */
export interface FaultCounts {
  connections: number;
  passedChunks: number;
  delayedChunks: number;
  heldChunks: number;
  resets: number;
  cuts: number;
}

/** One direction of a connection. Chunks leave in the order of their arrival, each not before it is due. */
interface Lane {
  readonly to: Socket;
  readonly queue: { chunk: Buffer; dueAt: number }[];
  timer: NodeJS.Timeout | undefined;
}

interface Link {
  readonly client: Socket;
  readonly commands: Lane;
  readonly replies: Lane;
  /** By the first that the client said; nothing is known before. */
  isResp3: boolean;
}

/** A TCP proxy on a free loopback port that forwards to `targetPort` and does to the traffic what it is told. */
export class FaultProxy {
  readonly counts: FaultCounts = {
    connections: 0,
    passedChunks: 0,
    delayedChunks: 0,
    heldChunks: 0,
    resets: 0,
    cuts: 0,
  };
  readonly port: number;
  #targetPort: number;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #fault: Fault = "pass";
  #scope: FaultScope = "all";
  #replyChunks = 0;

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (client) => {
      this.#accept(client);
    });
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FaultProxy(server, targetPort);
  }

  async set(fault: Fault, scope: FaultScope = "all"): Promise<void> {
    this.#fault = fault;
    this.#scope = scope;
    if (fault === "reset" || fault === "refuse") this.#resetAll();
    if (fault === "refuse") {
      await this.#close();
    } else if (!this.#server.listening) {
      this.#server.listen(this.port, "127.0.0.1");
      await once(this.#server, "listening");
    }
    for (const link of this.#links) {
      this.#drain(link, link.commands);
      this.#drain(link, link.replies);
    }
  }

  /** The ports that the target sees its present connections come from. */
  get portsAtTarget(): readonly number[] {
    return [...this.#links].flatMap(({ commands }) => commands.to.localPort ?? []);
  }

  /** From now on new connections go to another port. */
  leadTo(targetPort: number): void {
    this.#targetPort = targetPort;
  }

  /** What happens to this connection. */
  #faultOf({ isResp3 }: Link): Fault {
    return this.#scope === "all" || isResp3 ? this.#fault : "pass";
  }

  async stop(): Promise<void> {
    this.#scope = "all";
    this.#resetAll();
    await this.#close();
  }

  async #close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  #accept(client: Socket): void {
    this.counts.connections += 1;
    const target = connect(this.#targetPort, "127.0.0.1");
    const link: Link = {
      client,
      commands: { to: target, queue: [], timer: undefined },
      replies: { to: client, queue: [], timer: undefined },
      isResp3: false,
    };
    this.#links.add(link);
    for (const socket of [client, target]) {
      socket.setNoDelay(true);
      // A broken connection is what this proxy is for; `close` follows and ends the other half.
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#end(link);
      });
    }
    let isFirst = true;
    client.on("data", (chunk: Buffer) => {
      if (isFirst) link.isResp3 = /hello\r\n\$1\r\n3/i.test(chunk.toString("latin1"));
      isFirst = false;
      const fault = this.#faultOf(link);
      if (fault === "reset") this.#reset(link);
      else
        this.#forward(chunk, link, link.commands, typeof fault === "object" && "delayMs" in fault ? fault.delayMs : 0);
    });
    target.on("data", (chunk: Buffer) => {
      const fault = this.#faultOf(link);
      if (typeof fault === "object" && "cutRepliesEvery" in fault) {
        this.#replyChunks += 1;
        if (this.#replyChunks % fault.cutRepliesEvery === 0) {
          this.#cut(chunk, link);
          return;
        }
      }
      const delayMs = typeof fault === "object" && "delayRepliesMs" in fault ? fault.delayRepliesMs : 0;
      this.#forward(chunk, link, link.replies, delayMs);
    });
    if (this.#fault === "reset" && this.#scope === "all") this.#reset(link);
  }

  #forward(chunk: Buffer, link: Link, lane: Lane, delayMs: number): void {
    if (this.#faultOf(link) === "hold") this.counts.heldChunks += 1;
    else if (delayMs > 0) this.counts.delayedChunks += 1;
    else this.counts.passedChunks += 1;
    lane.queue.push({ chunk, dueAt: performance.now() + delayMs });
    this.#drain(link, lane);
  }

  /** What has been cut has arrived when the connection ends. */
  #cut(chunk: Buffer, link: Link): void {
    this.counts.cuts += 1;
    link.client.write(chunk.subarray(0, Math.floor(chunk.length / 2)), () => {
      this.#reset(link);
    });
  }

  #drain(link: Link, lane: Lane): void {
    clearTimeout(lane.timer);
    if (this.#faultOf(link) === "hold") return;
    for (let next = lane.queue[0]; next !== undefined; next = lane.queue[0]) {
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        lane.timer = setTimeout(() => {
          this.#drain(link, lane);
        }, Math.ceil(waitMs));
        return;
      }
      lane.to.write(next.chunk);
      lane.queue.shift();
    }
  }

  #resetAll(): void {
    for (const link of this.#links) if (this.#scope === "all" || link.isResp3) this.#reset(link);
  }

  #reset(link: Link): void {
    this.counts.resets += 1;
    link.client.resetAndDestroy();
    this.#end(link);
  }

  #end(link: Link): void {
    this.#links.delete(link);
    for (const lane of [link.commands, link.replies]) {
      clearTimeout(lane.timer);
      lane.queue.length = 0;
      lane.to.destroy();
    }
  }
}
