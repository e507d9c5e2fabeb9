/**
 * The prototype that all requests, or responses, of a framework have before Node's own; Express: `express.request`.
 *
 * What each request needs is put there once, not on each request: Express gives a request its app's prototype when it has
 * its fields already, and V8 makes a hidden class anew for each property that such an object is given afterwards
 * (`Map::IsDetached`). Four of them cost as much as a third of what Express itself does for a request.
 *
 * @param object a request or response
 * @param nodes Node's own prototype of it
 * @returns `undefined` where there is none, or none that takes properties
 */
export function frameworkPrototypeOf(object: object, nodes: object): object | undefined {
  let link: object | null = Object.getPrototypeOf(object) as object | null;
  if (link === nodes) return undefined;
  while (link !== null) {
    const next = Object.getPrototypeOf(link) as object | null;
    if (next === nodes) return Object.isExtensible(link) ? link : undefined;
    link = next;
  }
  return undefined;
}
