import type { Socket } from "node:net";

/** A socket whose destruction is put off. */
interface Hold {
  /** How many responses hold it: pipelined ones share their socket. */
  count: number;
  isDestroyWanted: boolean;
  readonly restore: () => void;
}

/** Where a held socket keeps its hold. Not in a WeakMap: what one holds costs more when it is collected. */
const ownHold = Symbol("Lockstep hold");

type HeldSocket = Socket & { [ownHold]?: Hold | undefined };

/**
 * Puts off `socket.destroy()` while a response is held.
 *
 * Express' error handling destroys the socket of a response that has been sent when its handler throws afterwards, and a
 * closing server the sockets that look idle. The client of a response that was not held would have everything by then.
 *
 * @returns ends the hold, once; with the last one of a socket, what was put off is done
 */
export function holdSocket(socket: HeldSocket): () => void {
  const hold = socket[ownHold] ?? beginHold(socket);
  hold.count += 1;
  return () => {
    hold.count -= 1;
    if (hold.count > 0) return;
    socket[ownHold] = undefined;
    hold.restore();
    // What was played to the socket leaves first.
    if (hold.isDestroyWanted) socket.destroySoon();
  };
}

function beginHold(socket: HeldSocket): Hold {
  const destroy: (this: Socket, error?: Error) => Socket = Reflect.get(socket, "destroy");
  const restore = () => {
    // Not deleted where it was inherited: that would make the socket a dictionary to V8, slow for all its requests.
    socket.destroy = destroy;
  };
  const hold: Hold = { count: 0, isDestroyWanted: false, restore };
  socket[ownHold] = hold;
  socket.destroy = (error) => {
    if (error) return destroy.call(socket, error);
    hold.isDestroyWanted = true;
    return socket;
  };
  return hold;
}
