import type { Socket } from "node:net";
import { Rpc } from "../cache/rpc.ts";

/** {@link Rpc} over a socket: a batch is a line of JSON. */
export function rpcOver<Remote extends { [K in keyof Remote]: (...args: never[]) => unknown }>(
  socket: Socket,
  methods: ConstructorParameters<typeof Rpc>[1],
): Rpc<Remote> {
  socket.setNoDelay(true);
  const rpc = new Rpc<Remote>((batch) => void socket.write(`${JSON.stringify(batch)}\n`), methods);
  let started = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (started + chunk).split("\n");
    started = lines.pop() ?? "";
    for (const line of lines) rpc.receive(JSON.parse(line));
  });
  // `close` follows, and tells those who wait.
  socket.on("error", () => undefined);
  socket.on("close", () => {
    rpc.end(new Error("The connection has ended."));
  });
  return rpc;
}
