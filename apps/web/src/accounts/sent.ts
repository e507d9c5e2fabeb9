import type { Request } from "express";
import { networkOf } from "../requests/network.ts";
import type { Sent } from "./accounts.ts";

/** What accounts are asked with. */
export function sent(req: Request): Sent {
  const body: unknown = req.body;
  return { body, network: networkOf(req) };
}
