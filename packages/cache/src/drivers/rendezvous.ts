/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998): a key belongs to the node that scores highest with it. The order in which
 * nodes are listed means nothing, and of n nodes a further one takes one in n + 1 keys from the others, which move nowhere else.
 *
 * @param names the nodes' names, at least one, each once
 * @returns which of them, by its place in the list, a key of ASCII characters belongs to
 */
export function rendezvous(names: readonly string[]): (key: string) => number {
  const seeds = names.map((name) => mix(hash(name)));
  return (key) => {
    const keyHash = hash(key);
    let [best, bestScore] = [0, -1];
    seeds.forEach((seed, index) => {
      const score = mix(keyHash ^ seed);
      // Two nodes of one score: the same one wherever they stand in the list.
      const isAhead = score > bestScore || (score === bestScore && (names[index] ?? "") < (names[best] ?? ""));
      if (isAhead) [best, bestScore] = [index, score];
    });
    return best;
  };
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  }
  return state >>> 0;
}

/** The last step of MurmurHash3: each bit of the result depends on all. */
function mix(value: number): number {
  let state = value;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
