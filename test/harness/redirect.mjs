// Loaded into a server under test before all else: what it connects to leads through the fault proxies of the test, though
// it was told the real addresses, and is told those of others by Sentinel and Cluster. As if the network did it.
import { Socket } from "node:net";

/** @type {ReadonlyMap<number, number>} from the port that is meant to the one of the proxy in front of it */
const proxies = new Map(JSON.parse(process.env.TEST_REDIRECTS ?? "[]"));
const { connect } = Socket.prototype;

/** @param {any[]} args as Node's `connect` takes them: options or a port, bare or in a list that it has made of them */
Socket.prototype.connect = function redirected(...args) {
  const list = Array.isArray(args[0]) ? args[0] : args;
  if (typeof list[0] === "object") {
    const proxy = proxies.get(Number(list[0].port));
    if (proxy !== undefined) list[0] = { ...list[0], port: proxy };
  } else {
    list[0] = proxies.get(Number(list[0])) ?? list[0];
  }
  return connect.apply(this, args);
};
