/** The handles of one session, which has several while it is given new ids. */
export class SessionNames {
  readonly #handles: Set<string>;

  constructor(handles: readonly string[]) {
    this.#handles = new Set(handles);
  }

  has(handle: string): boolean {
    return this.#handles.has(handle);
  }

  add(handle: string): void {
    this.#handles.add(handle);
  }

  /** Learns the handles that stand for the same session as one that it has. */
  join(pairs: readonly (readonly [string, string])[]): void {
    for (let before = -1; before < this.#handles.size;) {
      before = this.#handles.size;
      for (const pair of pairs) {
        if (pair.some((handle) => this.#handles.has(handle))) for (const handle of pair) this.#handles.add(handle);
      }
    }
  }
}
