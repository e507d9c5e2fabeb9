// What is checked: the model of each kind as it is, and with one clause of the protocol left out at a time.

/**
 * @typedef {"cache" | "sessions"} Kind
 * @typedef {{ members: number, writers: number, faults: number }} Bounds
 *
 * @typedef {object} Run
 * @property {string} name
 * @property {Kind} kind
 * @property {string} [without] the clause that a mutant lacks; without one, the model is to hold
 * @property {"safety" | "liveness"} property safety: no assertion fails; liveness: no acceptance cycle, under weak fairness
 * @property {Bounds} bounds
 * @property {readonly string[]} defines what the model's preprocessor is given beside kind and bounds
 * @property {readonly string[]} compilerFlags for Spin's verifier
 * @property {readonly string[]} options of the verifier, beside those that the following say
 * @property {number} depth the longest path that is followed, in steps
 * @property {number} memoryMb
 * @property {number} minutes
 */

/** @type {readonly Kind[]} */
const both = ["cache", "sessions"];

/** @type {Pick<Run, "property" | "bounds" | "defines" | "compilerFlags" | "options" | "depth" | "memoryMb" | "minutes">} */
const standard = {
  property: "safety",
  bounds: { members: 2, writers: 2, faults: 2 },
  defines: [],
  // Every step of the model is one transition of global variables: partial order reduction finds nothing to leave out, and
  // compressing so small a state takes twice the time.
  compilerFlags: ["-DNOREDUCE"],
  options: [],
  depth: 3_000_000,
  memoryMb: 8_000,
  minutes: 10,
};

/** A message is lost: the writer that waits for its acknowledgement must go on all the same. */
const liveness = /** @type {const} */ ({
  property: "liveness",
  bounds: { members: 2, writers: 1, faults: 1 },
});

/** @type {(Partial<Omit<Run, "name">> & { kinds: readonly Kind[], suffix?: string })[]} each may set what is standard otherwise */
const models = [
  // A hash table of 2^25 entries, since there are millions of states.
  { kinds: both, defines: ["FROM_EFFECT"], options: ["-w25"] },
  { kinds: both, suffix: ", liveness", ...liveness },
];

/** @type {(Partial<Omit<Run, "name">> & { mutant: string, kinds: readonly Kind[], without: string })[]} one line a clause */
const mutants = [
  { mutant: "COPY_WITHOUT_LEASE", kinds: both, without: "C1: a copy is served only under a valid lease" },
  { mutant: "LEASE_FROM_REPLY", kinds: both, without: "C1: a lease counts from the sending of the renewal" },
  { mutant: "ONE_MEMBER_NOT_ASKED", kinds: both, without: "C2: every member is asked to drop its copy" },
  { mutant: "NO_WAIT", kinds: both, without: "C3: a write waits until every member has answered" },
  { mutant: "REMOVED_BEFORE_LAPSE", kinds: both, without: "C3: a member is removed only once its lease has lapsed" },
  { mutant: "REMOVED_THOUGH_RENEWED", kinds: both, without: "C3: a member that has renewed since is not removed" },
  { mutant: "REVOKE_BY_SLOT_ONLY", kinds: both, without: "revoke: refused for a joining that is over" },
  { mutant: "TOKEN_WHILE_PENDING", kinds: ["cache"], without: "C4: no fill token while a write is pending" },
  { mutant: "COPY_WHILE_PENDING", kinds: ["sessions"], without: "C4: no copy while a write is pending" },
  { mutant: "BEGIN_KEEPS_ENTRY", kinds: ["cache"], without: "C4: begin drops the entry" },
  { mutant: "BEGIN_KEEPS_TOKEN", kinds: ["cache"], without: "C5: begin voids the fill token" },
  { mutant: "STORE_WITHOUT_TOKEN", kinds: ["cache"], without: "C5: a fill is stored only with its token" },
  { mutant: "REVOCATION_LEAVES_RESERVATION", kinds: both, without: "C5: a revocation voids the reservation" },
  { mutant: "REVOCATION_LEAVES_READ_OPEN", kinds: both, without: "C5: a revocation closes the read under way" },
  { mutant: "JOIN_KEEPS_COPIES", kinds: both, without: "C5: joining empties the copies" },
  { mutant: "JOIN_KEEPS_RESERVATIONS", kinds: both, without: "C5: joining voids the reservations" },
  { mutant: "SHARED_WITHOUT_LEASE", kinds: both, without: "C6: only a valid lease lets a later caller share a read" },
  { mutant: "UNCACHED_SHARED", kinds: ["cache"], without: "C6: no later caller shares a read without a token" },
  { mutant: "MISSING_SHARED", kinds: ["sessions"], without: "C6: no later caller shares a missing session" },
  { mutant: "GAP_IGNORED", kinds: both, without: "C7: a gap in the numbers drops every copy" },
  {
    mutant: "LAG_IGNORED",
    kinds: both,
    without: "C7: no renewal is granted while a revocation is missing",
    ...liveness,
  },
  { mutant: "MARK_EVICTED", kinds: ["cache"], without: "C8: the mark of a pending write is not evicted" },
  { mutant: "OLD_ENTRY_SERVED", kinds: ["cache"], without: "C9: an entry of an older epoch reads as missing" },
  { mutant: "TOKEN_OF_OLDER_EPOCH", kinds: ["cache"], without: "C9: a fill token of an older epoch is void" },
  { mutant: "TOKEN_IN_YOUNG_EPOCH", kinds: ["cache"], without: "C9: no fill token in the first P of an epoch" },
  { mutant: "EFFECT_IN_YOUNG_EPOCH", kinds: both, without: "C9: no write takes effect in the first D of an epoch" },
  { mutant: "WAIT_ENDS_WITH_EPOCH", kinds: ["cache"], without: "C9: that wait goes on when another epoch begins" },
  { mutant: "YOUNG_WRITE_STORED", kinds: ["cache"], without: "C9: a write that begins in the first P drops at end" },
  { mutant: "ABSENCE_IN_ANY_EPOCH", kinds: ["cache"], without: "C9: absence means lapsed only in the epoch of begin" },
  {
    mutant: "FINISH_IN_ANY_EPOCH",
    kinds: ["sessions"],
    without: "C9: absence and finish count only in the epoch of begin",
  },
  { mutant: "OVERLAP_IGNORED", kinds: ["cache"], without: "end: of two writes that overlapped, neither stores" },
  { mutant: "END_WITHOUT_TOKEN", kinds: ["cache"], without: "end: stores only if its token is still there" },
  { mutant: "FINISH_WITHOUT_TOKEN", kinds: ["sessions"], without: "finish: stores only if its token is still there" },
];

/** @type {readonly Run[]} those of the models first, which take longest */
export const runs = [
  ...models.flatMap(({ kinds, suffix = "", ...run }) =>
    kinds.map((kind) => ({ ...standard, ...run, name: `${kind}${suffix}`, kind })),
  ),
  ...mutants.flatMap(({ mutant, kinds, ...run }) =>
    kinds.map((kind) => ({
      ...standard,
      ...run,
      name: `${kind}/${mutant}`,
      kind,
      defines: [`MUTANT_${mutant}`, ...(run.defines ?? [])],
      // Breadth first: no path to the error that is found has fewer steps, so it is soon found and easily read.
      compilerFlags: run.property === "liveness" ? standard.compilerFlags : [...standard.compilerFlags, "-DBFS"],
    })),
  ),
];

/** @type {readonly Run[]} too large for a search of everything */
export const bitstateRuns = both.map((kind) => ({
  ...standard,
  name: `${kind}, three members`,
  kind,
  bounds: { ...standard.bounds, members: 3 },
  defines: ["FROM_EFFECT"],
}));
