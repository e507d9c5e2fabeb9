import type { Store } from "express-session";
import { type Method, type ObservedCounts, Observer, type SessionLoss, isMethod } from "./observer.ts";

/** Options of {@link observe}. */
export interface ObserveOptions {
  /** Told of each loss, after the save and not within the request; default: nobody is. */
  readonly report?: ((loss: SessionLoss) => void) | undefined;
  /** The share of loaded sessions whose saves are compared, 0 to 1; default 1. Each costs the store one `get` more. */
  readonly sample?: number | undefined;
}

const observers = new WeakMap<Store, Observer>();

/**
 * Watches what an express-session store loses, and changes nothing of what it does (S12).
 *
 * The store is given back, the same object: `expressSession({ store: observe(store) })`. Its `get`, `set` and
 * `createSession` are watched from then on, in calls with a callback, as express-session makes them.
 *
 * @param store any store, whoever made it
 * @param options see {@link ObserveOptions}
 * @returns the store
 * @throws TypeError if it is no store, or is observed already, or naming the option that can't be meant
 */
export function observe<S extends Store>(store: S, options: ObserveOptions = {}): S {
  const { report, sample = 1 } = options;
  if (!(sample >= 0 && sample <= 1)) throw new TypeError("sample must be a number from 0 to 1.");
  if (observers.has(store)) throw new TypeError("This store is observed already.");
  const get: unknown = Reflect.get(store, "get");
  if (!isMethod(get) || !isMethod(Reflect.get(store, "set"))) throw new TypeError("A store needs get and set.");
  const observer = new Observer(get, sample, report);
  intercept(store, "get", (method, self, args) => observer.load(method, self, args));
  intercept(store, "createSession", (method, self, args) => observer.createSession(method, self, args));
  intercept(store, "set", (method, self, args) => observer.save(method, self, args));
  observers.set(store, observer);
  return store;
}

/**
 * What was seen at an observed store so far.
 *
 * @param store what {@link observe} was given
 * @returns a copy
 * @throws TypeError if it is not observed
 */
export function observedCounts(store: Store): ObservedCounts {
  const observer = observers.get(store);
  if (!observer) throw new TypeError("This store is not observed.");
  return observer.counts();
}

/**
 * Puts `around` in front of a method, if there is such a method. On the object itself rather than on a wrapper of it, so
 * that `this`, private fields, identity and the store's calls of its own methods stay what they were; and as a proxy of
 * the method, so that its name, length and properties do.
 */
function intercept(
  store: object,
  name: string,
  around: (method: Method, self: unknown, args: unknown[]) => unknown,
): void {
  const method: unknown = Reflect.get(store, name);
  if (!isMethod(method)) return;
  const enumerable = Object.getOwnPropertyDescriptor(store, name)?.enumerable ?? false;
  const value = new Proxy(method, { apply: around });
  Object.defineProperty(store, name, { value, enumerable, configurable: true, writable: true });
}
