import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Longer in fact: the kernel rounds it up to about 0.1 ms. */
const pauseMs = 0.05;
const never = new Int32Array(new SharedArrayBuffer(4));

/**
 * A network of some length on loopback: what a client sends arrives `delayMs` later, in order, and replies at once.
 *
 * Exact to about a tenth of a millisecond, where timers are not: while something is on its way it sleeps in short pauses. Were it
 * to watch the clock instead, it would take a processor from those that are measured.
 */
export class DelayProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #delayMs: number;
  readonly #sockets = new Set<Socket>();
  readonly #underWay: { to: Socket; chunk: Buffer; dueAt: number }[] = [];

  private constructor(server: Server, targetPort: number, delayMs: number) {
    this.#server = server;
    this.#delayMs = delayMs;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (client) => {
      const target = connect(targetPort, "127.0.0.1");
      this.#join(client, target);
      this.#join(target, client);
      client.on("data", (chunk: Buffer) => this.#send(target, chunk));
      target.on("data", (chunk: Buffer) => client.write(chunk));
    });
  }

  static async start(targetPort: number, delayMs: number): Promise<DelayProxy> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new DelayProxy(server, targetPort, delayMs);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }

  /** What ends one side ends the other. */
  #join(socket: Socket, other: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => undefined); // `close` follows
    socket.on("close", () => {
      this.#sockets.delete(socket);
      other.destroy();
    });
  }

  #send(to: Socket, chunk: Buffer): void {
    this.#underWay.push({ to, chunk, dueAt: performance.now() + this.#delayMs });
    if (this.#underWay.length === 1) this.#deliver();
  }

  #deliver(): void {
    for (
      let next = this.#underWay[0];
      next !== undefined && next.dueAt <= performance.now();
      next = this.#underWay[0]
    ) {
      next.to.write(next.chunk);
      this.#underWay.shift();
    }
    if (this.#underWay.length === 0) return;
    // Nobody ever wakes it.
    Atomics.wait(never, 0, 0, pauseMs);
    setImmediate(() => this.#deliver());
  }
}
