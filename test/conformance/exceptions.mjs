// The cases of express-session's suite that can't hold here, each with the rule it contradicts (ARCHITECTURE.md) or the
// Store method that it replaces. The runner fails if one of them passes.

/**
 * @typedef {"RedisStore" | "session"} Adapter
 * @typedef {object} Exception
 * @property {string} title the case's full title
 * @property {readonly Adapter[]} adapters for which it can't hold
 * @property {string} because
 */

/** @type {readonly Exception[]} */
export const exceptions = [
  {
    title: "session() when session without cookie property in store should pass error from inflate",
    adapters: ["RedisStore", "session"],
    because: "S11: a record that can't be used is as if it were not there, and no 500 at every request.",
  },
  {
    title: "session() should treat ENOENT session fetch error as not found",
    adapters: ["session"],
    because: "Replaces the Store's get, to fail as a store of files would: the engine has no such failure.",
  },
  {
    title: "session() resave option when false should pass session touch error",
    adapters: ["session"],
    because: "S4: an answer waits for the commit, not for a touch; one that fails is an event.",
  },
  {
    title: "session() saveUninitialized option should pass session save error",
    adapters: ["session"],
    because: "S4: expects the handler's answer though its session was not stored.",
  },
  {
    title: "session() unset option should pass session destroy error",
    adapters: ["session"],
    because: "S4: expects the handler's answer though its session was not ended.",
  },
  {
    title: "session() req.session .cookie .* should forward errors setting cookie",
    adapters: ["session"],
    because: "S4: expects the handler's answer though its session can't be kept.",
  },
  {
    title: "session() req.session .cookie .* should forward errors setting cookie",
    adapters: ["RedisStore"],
    because: "S11: a cookie that can't be sent is not stored either, and the Store's error of that comes too.",
  },
];
