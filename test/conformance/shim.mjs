// Loaded into mocha before express-session's cases: puts an adapter of ours in the place of what they require.
//
// Each Store that a case makes is a RedisStore with a prefix of its own. For session() in the place of express-session, it
// shows the case the engine that session() works on, and lets what the case has put in place of a Store's method (a spy, a
// delay, an error) stand in place of the engine's.
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Redis } from "ioredis";

const settings = JSON.parse(process.env.LOCKSTEP_CONFORMANCE ?? "");
const require = createRequire(settings.entry);
/** @type {typeof import("express-session")} */
const expressSession = require(settings.entry);
/** @type {typeof import("../../packages/session-store/src/index.ts")} */
const lockstep = await import(pathToFileURL(settings.built).href);
const client = new Redis(settings.redisUrl, { protocol: 2 });

class CaseStore extends lockstep.RedisStore {
  /** What it means to set an object that session() is storing. */
  meanings = new WeakMap();

  constructor() {
    super({ client, prefix: `${randomUUID()}:` });
  }

  set(id, session, callback) {
    const meaning = this.meanings.get(session);
    return meaning ? meaning().then((outcome) => callback(null, outcome), callback) : super.set(id, session, callback);
  }
}

/** Asks a Store, by whatever method the case has left it. */
const ask = (store, method, ...args) =>
  new Promise((resolve, reject) => {
    store[method](...args, (error, value) => (error ? reject(error) : resolve(value)));
  });

/** The engine of a Store, as session() uses it, behind the Store's methods. */
function engineBehind(store, { resave }) {
  const engine = store.sessions;
  const committed = new WeakSet();
  const isReplaced = (method) => Object.hasOwn(store, method);
  const set = (id, session, meaning) => {
    store.meanings.set(session, meaning);
    return ask(store, "set", id, session);
  };
  const behindStore = {
    load: (id) => (isReplaced("get") ? ask(store, "get", id) : engine.load(id)),
    destroy: (id) => ask(store, "destroy", id),
    commit(tracked, session) {
      committed.add(tracked);
      return set(tracked.id, session, () => engine.commit(tracked, session));
    },
    commitIfChanged(tracked, session) {
      const commit = engine.commitIfChanged(tracked, session);
      if (commit) committed.add(tracked);
      return commit && set(tracked.id, session, () => commit);
    },
    touch(tracked, options) {
      const use = () => engine.touch(tracked, options);
      // S1: where express-session sets what has not changed, session() records the use.
      if (resave && options?.always && !committed.has(tracked)) return set(tracked.id, {}, use);
      return isReplaced("touch") ? ask(store, "touch", tracked.id) : use();
    },
    onAvailability(listener) {
      store.on("disconnect", () => listener(false));
      store.on("connect", () => listener(true));
    },
  };
  return new Proxy(engine, {
    get: (_engine, method) => behindStore[method] ?? ((...args) => engine[method](...args)),
  });
}

/** session(), with express-session's own defaults. */
function session(options = {}) {
  const { store, ...rest } = { resave: true, saveUninitialized: true, onUnavailable: "anonymous", ...options };
  const caseStore = store instanceof CaseStore ? store : new CaseStore();
  return lockstep.session({ ...rest, sessions: engineBehind(caseStore, rest) });
}

const adapters = {
  RedisStore: (options = {}) => expressSession({ ...options, store: options.store ?? new CaseStore() }),
  session,
};
require.cache[settings.entry].exports = Object.assign(adapters[settings.adapter], expressSession, {
  MemoryStore: CaseStore,
});
