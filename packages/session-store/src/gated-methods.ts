import { ServerResponse } from "node:http";

export type Method = (...args: unknown[]) => unknown;
export type MethodName = "writeHead" | "flushHeaders" | "write" | "end";
export type Methods = Record<MethodName, Method>;

/** Who is asked instead of them. */
export interface Gate {
  called(name: MethodName, args: unknown[]): unknown;
}

/** Where a response has the gate that the methods on Node's prototype ask. */
const ownGate = Symbol("Lockstep gate");

interface Gated {
  [ownGate]?: Gate;
}

/**
 * Puts a gate before the methods through which anything leaves.
 *
 * @returns what was there before: Node's methods, or those of whoever wrapped them first (compression, say)
 */
export function gateMethods(response: ServerResponse & Gated, gate: Gate): Methods {
  const nodes = nodesMethodsOf(response);
  if (nodes) {
    response[ownGate] = gate;
    return nodes;
  }
  const real = methodsOf(response);
  setMethods(
    response,
    gatedMethods(() => gate, real),
  );
  return real;
}

/** The methods that a response, or a prototype of responses, has now. */
export function methodsOf(response: object): Methods {
  const { writeHead, flushHeaders, write, end } = response as Methods;
  return { writeHead, flushHeaders, write, end };
}

/** Gives a response other methods. */
export function setMethods(response: object, { writeHead, flushHeaders, write, end }: Methods): void {
  const target = response as Methods;
  target.writeHead = writeHead;
  target.flushHeaders = flushHeaders;
  target.write = write;
  target.end = end;
}

/** Node's methods: those that were there, and those that have stood in front of them since the first gate. */
let nodesMethods: { readonly real: Methods; readonly gated: Methods } | undefined;

/**
 * The real methods of a response that has none but Node's, where those ask for its gate.
 *
 * Three properties fewer on a response: Express gives it its app's prototype when it has its fields already, and V8 then makes
 * a hidden class for each property that is added, for that response alone (`Map::IsDetached`).
 *
 * @returns `undefined` where somebody has wrapped them, for this response or for all, or where it has a gate already
 */
function nodesMethodsOf(response: ServerResponse & Gated): Methods | undefined {
  nodesMethods ??= putInFront(ServerResponse.prototype as unknown as Methods);
  const { real, gated } = nodesMethods;
  const { writeHead, flushHeaders, write, end } = response as unknown as Methods;
  const isBare = end === gated.end && write === gated.write && writeHead === gated.writeHead;
  return isBare && flushHeaders === gated.flushHeaders && !response[ownGate] ? real : undefined;
}

function putInFront(prototype: Methods) {
  const real = methodsOf(prototype);
  const gated = gatedMethods((response) => response[ownGate], real);
  // Node's old name for it.
  const writeHeader = function (this: Methods, ...args: unknown[]): unknown {
    return this.writeHead(...args);
  };
  if (!Object.isFrozen(prototype)) Object.assign(prototype, gated, { writeHeader });
  return { real, gated };
}

/** Methods that ask a response's gate; without one, the real ones. */
function gatedMethods(gateOf: (response: Gated) => Gate | undefined, real: Methods): Methods {
  const gated = (name: MethodName) =>
    function (this: Gated, ...args: unknown[]): unknown {
      const gate = gateOf(this);
      return gate ? gate.called(name, args) : Reflect.apply(real[name], this, args);
    };
  return {
    writeHead: gated("writeHead"),
    flushHeaders: gated("flushHeaders"),
    write: gated("write"),
    end: gated("end"),
  };
}
