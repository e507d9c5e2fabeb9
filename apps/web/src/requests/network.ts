import type { Request } from "express";
import ipaddr from "ipaddr.js";

/** How many bits of an IPv6 address tell networks apart: a household has so many that a bound on each would be none. */
const networkBits = 64;

/** The network that a request came from, to count by: an IPv4 address, or the first half of one of IPv6. */
export function networkOf({ ip }: Pick<Request, "ip">): string {
  // A client that has gone has none.
  if (ip === undefined || !ipaddr.isValid(ip)) return "unknown";
  const address = ipaddr.process(ip);
  if (address.kind() === "ipv4") return address.toString();
  return ipaddr.IPv6.networkAddressFromCIDR(`${address.toNormalizedString()}/${networkBits}`).toString();
}
