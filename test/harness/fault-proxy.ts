import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * What happens to the traffic between one server and its Redis.
 * - `pass`: nothing.
 * - `{ delayMs }`: every command arrives that much later; replies are not delayed.
 * - `hold`: a black hole. Connections are accepted, nothing goes through; what was held goes on when it ends.
 * - `reset`: open connections are reset at once, new ones as soon as they are accepted.
 * - `refuse`: open connections are reset and nobody listens.
 */
export type Fault = "pass" | "hold" | "reset" | "refuse" | { readonly delayMs: number };

/** What the proxy did so far, so that a test of a fault fails if its fault never happened. */
export interface FaultCounts {
  connections: number;
  passedChunks: number;
  delayedChunks: number;
  heldChunks: number;
  resets: number;
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
}

/** A TCP proxy on a free loopback port that forwards to `targetPort` and does to the traffic what it is told. */
export class FaultProxy {
  readonly counts: FaultCounts = { connections: 0, passedChunks: 0, delayedChunks: 0, heldChunks: 0, resets: 0 };
  readonly port: number;
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #fault: Fault = "pass";

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

  async set(fault: Fault): Promise<void> {
    this.#fault = fault;
    if (fault === "reset" || fault === "refuse") this.#resetAll();
    if (fault === "refuse") {
      await this.#close();
    } else if (!this.#server.listening) {
      this.#server.listen(this.port, "127.0.0.1");
      await once(this.#server, "listening");
    }
    for (const { commands, replies } of this.#links) {
      this.#drain(commands);
      this.#drain(replies);
    }
  }

  async stop(): Promise<void> {
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
    client.on("data", (chunk: Buffer) => {
      this.#forward(chunk, link.commands, typeof this.#fault === "object" ? this.#fault.delayMs : 0);
    });
    target.on("data", (chunk: Buffer) => {
      this.#forward(chunk, link.replies, 0);
    });
    if (this.#fault === "reset") this.#reset(link);
  }

  #forward(chunk: Buffer, lane: Lane, delayMs: number): void {
    if (this.#fault === "hold") this.counts.heldChunks += 1;
    else if (delayMs > 0) this.counts.delayedChunks += 1;
    else this.counts.passedChunks += 1;
    lane.queue.push({ chunk, dueAt: performance.now() + delayMs });
    this.#drain(lane);
  }

  #drain(lane: Lane): void {
    clearTimeout(lane.timer);
    if (this.#fault === "hold") return;
    for (let next = lane.queue[0]; next !== undefined; next = lane.queue[0]) {
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        lane.timer = setTimeout(() => {
          this.#drain(lane);
        }, Math.ceil(waitMs));
        return;
      }
      lane.to.write(next.chunk);
      lane.queue.shift();
    }
  }

  #resetAll(): void {
    for (const link of this.#links) this.#reset(link);
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
