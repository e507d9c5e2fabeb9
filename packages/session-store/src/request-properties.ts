import { IncomingMessage } from "node:http";
import type { Request } from "express";

/** What a request shows of its session, asked for when a handler looks (S5). */
export interface SessionProperties {
  session: Request["session"] | undefined;
  sessionID: string | undefined;
  sessionStore: Request["sessionStore"];
}

/** Where a request has what it shows. */
const own = Symbol("Lockstep session");

type CarryingRequest = Request & { [own]?: SessionProperties };

/**
 * Gives a request the properties that express-session does.
 *
 * Two of them it has from Node's prototype: each that a request has itself costs, as those of its response do
 * (response-gate.ts). `session` may be deleted, so it is each request's own.
 */
export function giveSession(request: CarryingRequest, shown: SessionProperties): void {
  request[own] = shown;
  isShared ??= share();
  if (!isShared || isShadowed(request)) Object.defineProperties(request, { sessionID, sessionStore });
  Object.defineProperty(request, "session", session);
}

/** Whether Node's prototype has our accessors; `undefined`: nobody has tried. */
let isShared: boolean | undefined;

function share(): boolean {
  const prototype = IncomingMessage.prototype;
  // Another copy of this package was first, or somebody forbids it.
  if ("sessionID" in prototype || "sessionStore" in prototype || !Object.isExtensible(prototype)) return false;
  Object.defineProperty(prototype, "sessionID", { ...sessionID, enumerable: false });
  Object.defineProperty(prototype, "sessionStore", { ...sessionStore, enumerable: false });
  return true;
}

/** Whether a request does not inherit from Node's, or somebody else's properties stand in front of those there. */
function isShadowed(request: object): boolean {
  let link: object | null = request;
  for (; link !== null && link !== IncomingMessage.prototype; link = Object.getPrototypeOf(link) as object | null) {
    if (Object.hasOwn(link, "sessionID") || Object.hasOwn(link, "sessionStore")) return true;
  }
  return link === null;
}

/** Accessors, the same for all: with some of its own V8 would make each request a dictionary. */
const session = lazily("session");
const sessionID = lazily("sessionID");
const sessionStore = lazily("sessionStore");

function lazily(property: keyof SessionProperties): PropertyDescriptor & ThisType<CarryingRequest> {
  return {
    configurable: true,
    enumerable: true,
    get() {
      return this[own]?.[property];
    },
    set(value: never) {
      const shown = this[own];
      if (shown) shown[property] = value;
      // A request that has none of ours: as if nothing stood on its prototype.
      else Object.defineProperty(this, property, { value, configurable: true, enumerable: true, writable: true });
    },
  };
}
