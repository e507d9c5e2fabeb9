import type { Request, Response } from "express";
import { isServerName } from "./server-name.ts";

const cookieName = "lockstep.hops";
const maxHops = 8;

/**
 * The servers that answered this browser's last pages, oldest first. Kept in a cookie of their own: in the session,
 * every page view would be a session change. Anything but a short list of names is taken for no hops at all.
 */
export function readHops(cookieHeader: string | undefined): readonly string[] {
  const value = (cookieHeader ?? "")
    .split(";")
    .map((pair) => pair.trim())
    .find((pair) => pair.startsWith(`${cookieName}=`))
    ?.slice(cookieName.length + 1);
  const names = value?.split(".") ?? [];
  return names.length <= maxHops && names.every(isServerName) ? names : [];
}

/** Adds this server to the browser's hops and returns them, oldest first. */
export function recordHop(req: Request, res: Response, serverName: string): readonly string[] {
  const hops = [...readHops(req.headers.cookie), serverName].slice(-maxHops);
  res.cookie(cookieName, hops.join("."), { httpOnly: true, sameSite: "lax", path: "/", secure: req.secure });
  return hops;
}
