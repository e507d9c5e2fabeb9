/** What the sentences are about: the figures of a report. */
interface Figures {
  readonly verdict: "pays" | "costs" | "needs more reads";
  readonly reads: number;
  readonly readCalls: number;
  readonly loadCalls: number;
  readonly loadsSaved: number;
  readonly hitRate: number | null;
  readonly readMs: number | null;
  readonly loadMs: number | null;
  readonly savedMsPerRead: number | null;
  readonly writes: number;
  readonly writeMs: number | null;
  readonly netMsPerRead: { readonly lowMs: number; readonly highMs: number } | null;
  readonly netMs: number | null;
  readonly breakEvenHitRate: number | null;
  readonly tripMs: number | null;
  readonly near: {
    readonly verdict: "pays" | "costs" | "needs more reads";
    readonly hits: number;
    readonly savedMs: number | null;
    readonly writes: number;
    readonly paidMs: number;
    readonly breakEvenHitsPerWrite: number | null;
  } | null;
}

/** Whether enough was measured to judge, and how much that is. */
interface Enough {
  readonly isEnough: boolean;
  readonly leastReadCalls: number;
  readonly leastLoadCalls: number;
}

/** A payoff report for who owns the cache: what was found, and what to do. */
export function sentencesOf(figures: Figures, enough: Enough): string[] {
  return [...aboutAll(figures, enough), ...aboutNear(figures)];
}

function aboutNear({ near }: Figures): string[] {
  if (near === null || near.verdict === "needs more reads") return [];
  const { hits, savedMs, writes, paidMs, breakEvenHitsPerWrite } = near;
  const saved = `${number(hits)} reads from this server's own memory saved ${time(savedMs ?? 0)} of trips`;
  const paid = writes === 0 ? "" : `, for which ${number(writes)} writes waited ${time(paidMs)} for other servers`;
  if (near.verdict === "pays") return [`Near copies pay: ${saved}${paid}.`];
  const needed =
    breakEvenHitsPerWrite === null ? "" : ` It takes ${number(Math.ceil(breakEvenHitsPerWrite))} of them to a write.`;
  return [
    `Near copies cost more than they save: ${saved}${paid}.${needed}`,
    'Give this collection to a cache without "near".',
  ];
}

function aboutAll(figures: Figures, enough: Enough): string[] {
  const { verdict, readMs, loadMs } = figures;
  if (readMs === null) return ["Nothing has been read yet."];
  if (loadMs === null) return [`Each read took ${time(readMs)} on average.`, ...withoutLoads(figures)];
  const found = `Each read took ${time(readMs)} on average; without the cache it would have taken ${time(loadMs)}.`;
  if (!enough.isEnough) return [found, tooLittle(figures, enough)];
  if (verdict === "pays") return [found, ...gains(figures)];
  return verdict === "costs" ? [found, ...losses(figures)] : [found, ...doubts(figures)];
}

function tooLittle({ readCalls, loadCalls }: Figures, { leastReadCalls, leastLoadCalls }: Enough): string {
  const known = `${number(readCalls)} calls that read and ${number(loadCalls)} of the loader`;
  return `That is too little to judge by: ${known}, where it takes ${leastReadCalls} and ${leastLoadCalls}.`;
}

function withoutLoads({ hitRate }: Figures): string[] {
  if (hitRate !== 1)
    return ["No load has succeeded here, so it is not known what a read would take without the cache."];
  return [
    "This process has loaded nothing: what it read, other servers had loaded, or an earlier process.",
    "So it is not known here what a read would take without the cache.",
  ];
}

function gains({ netMs, loadsSaved, writes, writeMs }: Figures): string[] {
  const paid =
    writes > 0 && writeMs !== null ? `, although ${number(writes)} writes waited ${time(writeMs)} each for it` : "";
  return [`In all it has saved its callers ${time(netMs ?? 0)}${paid}, and the source ${number(loadsSaved)} loads.`];
}

function losses(figures: Figures): string[] {
  const { netMs, savedMsPerRead, reads, writes, writeMs } = figures;
  const lost = `In all it has cost its callers ${time(-(netMs ?? 0))}.`;
  if ((savedMsPerRead ?? 0) > 0 && writeMs !== null) {
    return [
      lost,
      `Writes pay more than reads gain: ${number(writes)} writes waited ${time(writeMs)} each for the cache, and ${number(reads)} reads gained ${time(savedMsPerRead ?? 0)} each.`,
      "Cache only what is read far more often than it is changed.",
    ];
  }
  return [lost, ...remedy(figures)];
}

function remedy({ hitRate, breakEvenHitRate, tripMs, loadMs }: Figures): string[] {
  if (hitRate === null || breakEvenHitRate === null || tripMs === null || loadMs === null) return [];
  if (breakEvenHitRate >= 1) {
    return [
      `No hit rate would make that good: asking the cache takes ${time(tripMs)}, a load ${time(loadMs)}.`,
      "Read this collection from the source, or let near copies answer if they may be old.",
    ];
  }
  const needed = `It would need a hit rate above ${percent(breakEvenHitRate, Math.ceil)}`;
  const has = percent(hitRate, Math.floor);
  if (hitRate < breakEvenHitRate) {
    return [`${needed}, and has ${has}: lengthen its "ttlMs" if entries end too soon, or do not cache it.`];
  }
  return [
    `${needed}, and has ${has}, so its reads wait for something else: see "waited", "uncached" and "unavailable" in its counts.`,
  ];
}

function doubts({ netMsPerRead }: Figures): string[] {
  if (netMsPerRead === null) return [];
  const { lowMs, highMs } = netMsPerRead;
  return [
    `That may be chance: writes included, a read costs up to ${time(-lowMs)} or saves up to ${time(highMs)}.`,
    "More reads will tell.",
  ];
}

const units = [
  { name: "h", ms: 3_600_000 },
  { name: "min", ms: 60_000 },
  { name: "s", ms: 1_000 },
] as const;

/** With two digits, in the largest unit of which there is one. */
function time(ms: number): string {
  if (ms > 0 && ms < 0.01) return "less than 0.01 ms";
  const unit = units.find((each) => Math.abs(ms) >= each.ms) ?? { name: "ms", ms: 1 };
  const value = ms / unit.ms;
  return `${Math.abs(value) >= 10 ? Math.round(value) : Number(value.toPrecision(2))} ${unit.name}`;
}

function number(value: number): string {
  return value.toLocaleString("en");
}

/** Rounded so that it says no better than it is. */
function percent(part: number, round: (value: number) => number): string {
  return `${(round(part * 1_000) / 10).toFixed(1)} %`;
}
