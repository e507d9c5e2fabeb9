import type { Redis } from "ioredis";

/** Lets something go on, sooner or later. */
export type Later = (what: string) => Promise<unknown>;

/**
 * A client whose commands leave, and whose replies come back, whenever `later` says so; of a connection that is made like it, what is published
 * and the replies keep the order in which they came, as they do on the wire (C7).
 */
export function paced(client: Redis, later: Later): Redis {
  return wrap(client, {
    evalsha:
      (send) =>
      async (...args) => {
        await later("a command arrives");
        const reply = await send(...args);
        await later("a reply returns");
        return reply;
      },
    duplicate:
      (make) =>
      (...args) =>
        inOrder(make(...args) as Redis, later),
  });
}

type Method = (...args: readonly unknown[]) => unknown;

function inOrder(connection: Redis, later: Later): Redis {
  let last: Promise<unknown> = Promise.resolve();
  const turn = (what: string) => {
    last = last.then(() => later(what));
    return last;
  };
  return wrap(connection, {
    evalsha:
      (send) =>
      async (...args) => {
        await later("a command of the group arrives");
        const sent = (send(...args) as Promise<unknown>).catch((error: unknown) => ({ error }));
        const reply = await sent;
        await turn("a reply of the group returns");
        if (typeof reply === "object" && reply !== null && "error" in reply) throw reply.error;
        return reply;
      },
    on: (listen) => (event, listener) =>
      listen(event, (...told: readonly unknown[]) => {
        if (event === "smessage") void turn("a message of the group arrives").then(() => (listener as Method)(...told));
        else (listener as Method)(...told);
      }),
  });
}

/** The same object, some methods of which have something around them. */
function wrap(target: Redis, around: Readonly<Record<string, (method: Method) => Method>>): Redis {
  return new Proxy(target, {
    get(_, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== "function") return value;
      const method = value.bind(target) as Method;
      return typeof property === "string" && Object.hasOwn(around, property) ? around[property]?.(method) : method;
    },
  });
}
