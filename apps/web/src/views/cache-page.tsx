import type { CollectionCounts, Latency } from "@lockstep/cache";
import type { CacheFigures, CollectionFigures } from "../cache/cache-figures.ts";
import { Figure } from "./figure.tsx";
import { NearCopies } from "./near-copies.tsx";
import { percent } from "./numbers.ts";
import { Payoff } from "./payoff.tsx";
import { ViewsSaved } from "./views-saved.tsx";

const groups = ["Reads", "Loads from the database", "Changes"] as const;

interface Meaning {
  readonly group: (typeof groups)[number];
  readonly label: string;
  readonly meaning: string;
}

const meanings: Readonly<Record<keyof CollectionCounts, Meaning>> = {
  nearHits: {
    group: "Reads",
    label: "Near hits",
    meaning: "Answered by a copy in this server’s memory.",
  },
  hits: { group: "Reads", label: "Hits", meaning: "Answered by an entry in the shared cache." },
  missingHits: { group: "Reads", label: "Known missing", meaning: "Those hits that said: there is no such value." },
  misses: { group: "Reads", label: "Misses", meaning: "No entry: this server loaded the value, to store it for all." },
  staleServed: {
    group: "Reads",
    label: "Stale",
    meaning: "The old value, while a server asks the database for a new one.",
  },
  graceServed: {
    group: "Reads",
    label: "Grace",
    meaning: "The old value, because the database failed to give a new one.",
  },
  coalesced: {
    group: "Reads",
    label: "Shared",
    meaning: "Came while the same was about to be asked, and got its answer.",
  },
  waited: { group: "Reads", label: "Waited", meaning: "Another request or server was loading the value already." },
  uncached: {
    group: "Reads",
    label: "Past the cache",
    meaning:
      "From the database, because a change was under way, the shared cache had just started, or the value is too large.",
  },
  unavailable: {
    group: "Reads",
    label: "Without the cache",
    meaning: "From the database, because the shared cache did not answer.",
  },
  loads: { group: "Loads from the database", label: "Loaded", meaning: "Values that the database gave." },
  fills: {
    group: "Loads from the database",
    label: "Stored",
    meaning: "Loaded values that were put into the shared cache.",
  },
  refusedFills: {
    group: "Loads from the database",
    label: "Refused",
    meaning: "Not stored: a change had begun since the load did, so that the value could be old.",
  },
  failedLoads: {
    group: "Loads from the database",
    label: "Failed",
    meaning: "The database did not answer, or not in time.",
  },
  tooLarge: { group: "Loads from the database", label: "Too large", meaning: "Served, but not stored." },
  updates: { group: "Changes", label: "Made", meaning: "Every server showed the new value once they were done." },
  refusedUpdates: {
    group: "Changes",
    label: "Refused",
    meaning: "Not begun, because the shared cache did not answer.",
  },
  unknownOutcomes: {
    group: "Changes",
    label: "Unknown",
    meaning: "The database did not say in time whether it was done.",
  },
  invalidations: {
    group: "Changes",
    label: "Invalidated",
    meaning: "Entries dropped because the database had changed.",
  },
  proceeded: {
    group: "Changes",
    label: "Made without the cache",
    meaning: "Only if the app allows that; this one does not.",
  },
  revokedCopies: {
    group: "Changes",
    label: "Copies dropped",
    meaning: "Copies in this server’s memory that a change of its own replaced.",
  },
  evictedCopies: {
    group: "Changes",
    label: "Copies evicted",
    meaning: "Copies in this server’s memory that gave way to others.",
  },
  replicaHits: { group: "Reads", label: "From replicas", meaning: "Entries that a replica of Redis gave." },
  replicaTooFar: {
    group: "Reads",
    label: "Replica too far behind",
    meaning: "Entries asked of a replica that was too far behind its primary, or was none: the primary was asked then.",
  },
  observed: { group: "Reads", label: "Compared", meaning: "Answers that were compared with the database." },
  staleCopies: { group: "Reads", label: "Old copies", meaning: "Of those compared: older than the shared entry." },
  staleEntries: {
    group: "Reads",
    label: "Old entries",
    meaning: "Of those compared: older than the database, which was changed past the cache.",
  },
};

/** What the cache has done on the server that answers, each count with what it means. */
export function CachePage({ server, profileWrites, near, collections, views }: CacheFigures) {
  return (
    <>
      <p class="eyebrow">Counts of {server} since it started</p>
      <h1>Cache</h1>
      <p class="lead">
        Each server looks for a profile {near.some(({ keepsCopies }) => keepsCopies) && "in its own memory, then "}in
        what all servers share, and asks the database only if there is none. What one server has loaded, all of them
        have. Reload to see another server’s counts.
      </p>
      <p>
        <code>PROFILE_WRITES={profileWrites}</code>: {policies[profileWrites]}
      </p>
      {near.map((each) => (
        <NearCopies {...each} />
      ))}
      {collections.map((collection) => (
        <Collection {...collection} />
      ))}
      <ViewsSaved {...views} />
    </>
  );
}

const policies: Readonly<Record<CacheFigures["profileWrites"], string>> = {
  "write-through": "a change is put into the shared cache as soon as the database has it.",
  "cache-aside": "a change removes the entry in the shared cache, and the next read loads it.",
};

function Collection({ type, hitRate, counts, latency, report }: CollectionFigures) {
  const names = Object.keys(meanings) as (keyof CollectionCounts)[];
  return (
    <section aria-label={`Collection ${type}`}>
      <h2>
        Collection <em>{type}</em>
      </h2>
      <p class="lead">
        {hitRate === null ? (
          "Nothing has been read yet."
        ) : (
          <>
            <strong>{percent(hitRate)}</strong> of its reads were hits.
          </>
        )}
      </p>
      <Payoff type={type} report={report} />
      <Times latency={latency} />
      {groups.map((group) => (
        <>
          <h3>{group}</h3>
          <dl class="counts">
            {names
              .filter((name) => meanings[name].group === group)
              .map((name) => (
                <Figure name={name} value={counts[name]} {...meanings[name]} />
              ))}
          </dl>
        </>
      ))}
    </section>
  );
}

function Times({ latency }: { latency: CollectionFigures["latency"] }) {
  return (
    <>
      <h3>How long a trip takes</h3>
      <table class="times">
        <thead>
          <tr>
            <th scope="col">to</th>
            <th scope="col">trips</th>
            <th scope="col">median, ms</th>
            <th scope="col">99 % within, ms</th>
          </tr>
        </thead>
        <tbody>
          <TimesRow tier="shared cache" {...latency.shared} />
          <TimesRow tier="database" {...latency.database} />
        </tbody>
      </table>
      <p class="hint">One trip may serve many reads: those of a page of people are one.</p>
    </>
  );
}

function TimesRow({ tier, count, p50Ms, p99Ms }: Latency & { tier: string }) {
  const time = (ms: number) => (count === 0 ? "–" : ms.toFixed(1));
  return (
    <tr>
      <th scope="row">{tier}</th>
      <td>{count.toLocaleString("en")}</td>
      <td>{time(p50Ms)}</td>
      <td>{time(p99Ms)}</td>
    </tr>
  );
}
