import type { NearFigures } from "../cache/near-copies.ts";
import { Figure } from "./figure.tsx";

/** Who keeps copies in memory, and what it took to keep them true. */
export function NearCopies({ of, group, keepsCopies, status, counts }: NearFigures) {
  const { state, members, leaseLeftMs, copies } = status;
  return (
    <section aria-label={`Near copies of ${of}`}>
      <h2>
        Near copies of <em>{of}</em>, group {group}
      </h2>
      <p class="lead">
        {keepsCopies
          ? "This server answers from its own memory where it can. Before a change is made, every server has dropped its copy, or its right to show one has lapsed."
          : "This server keeps no copies yet (NEAR_COPIES=join). It makes the others drop theirs before it changes anything."}
      </p>
      <p>
        {states[state]}
        {leaseLeftMs > 0 &&
          ` Its lease, renewed three times a second, is valid for ${Math.round(leaseLeftMs)} ms more.`}
      </p>
      <h3>Members</h3>
      <table class="times">
        <thead>
          <tr>
            <th scope="col">server</th>
            <th scope="col">keeps copies</th>
            <th scope="col">renewals</th>
            <th scope="col">changes applied</th>
          </tr>
        </thead>
        <tbody>
          {members.toSorted(byLabel).map(({ label, isThis, copies: keeps, renewals, applied }) => (
            <tr>
              <th scope="row">
                {label}
                {isThis && ", this one"}
              </th>
              <td>{keeps ? "yes" : "no"}</td>
              <td>{renewals.toLocaleString("en")}</td>
              <td>{applied.toLocaleString("en")}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <h3>This server</h3>
      <dl class="counts">
        <Figure name="copies" label="Copies" value={copies.count} meaning="Values in this server’s memory." />
        <Figure name="copyBytes" label="Bytes" value={copies.bytes} meaning="What they take." />
        <Figure
          name="revocations"
          label="Revoked"
          value={counts.revocations}
          meaning="Changes of this server, which the others were told of first."
        />
        <Figure
          name="revocationMicroseconds"
          label="Told within, µs"
          value={Math.round(counts.revocationMs.mean * 1_000)}
          meaning="Mean time until all had dropped their copies."
        />
        <Figure
          name="stalls"
          label="Stalls"
          value={counts.stalls}
          meaning="Changes that waited for a silent server until its lease had lapsed."
        />
        <Figure
          name="applied"
          label="Applied"
          value={counts.applied}
          meaning="Changes of other servers that this one has dropped copies for."
        />
        <Figure
          name="gaps"
          label="Gaps"
          value={counts.gaps}
          meaning="Times when one of those was missing, and everything was dropped."
        />
        <Figure
          name="losses"
          label="Rejoined"
          value={Object.values(counts.losses).reduce((sum, count) => sum + count, 0)}
          meaning={reasonsOf(counts.losses)}
        />
      </dl>
    </section>
  );
}

function byLabel(one: { label: string }, other: { label: string }): number {
  return one.label.localeCompare(other.label, "en", { numeric: true });
}

const states: Readonly<Record<NearFigures["status"]["state"], string>> = {
  joined: "It is a member.",
  joining: "It is no member now: it reads from Redis, and joins again by itself.",
  left: "It has left.",
};

const reasons: Readonly<Record<keyof NearFigures["counts"]["losses"], string>> = {
  connection: "its connection closed",
  unanswered: "Redis did not answer",
  removed: "it was silent itself, or Redis began anew",
  moved: "Redis gave the group to another node",
};

function reasonsOf(losses: NearFigures["counts"]["losses"]): string {
  const names = Object.keys(reasons) as (keyof typeof reasons)[];
  const happened = names.filter((name) => losses[name] > 0).map((name) => `${reasons[name]} (${losses[name]})`);
  return happened.length === 0 ? "It never had to join again." : `Because ${happened.join(", ")}.`;
}
