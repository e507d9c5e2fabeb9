import type { PayoffReport } from "@lockstep/cache";
import { decimal, milliseconds, percent } from "./numbers.ts";
import { AnsweredBy, BreakEven, ReadTimes } from "./payoff-charts.tsx";

const verdicts: Readonly<Record<PayoffReport["verdict"], string>> = {
  pays: "It pays.",
  costs: "It costs more than it saves.",
  "needs more reads": "Not known yet.",
};

/** Whether the cache of a collection pays: in words, drawn, and in numbers. */
export function Payoff({ type, report }: { type: string; report: PayoffReport }) {
  const { verdict, words, answeredBy, hitRate, readMs, loadMs, tripMs, breakEvenHitRate } = report;
  return (
    <>
      <h3>Does it pay?</h3>
      <p class="verdict" data-verdict={verdict}>
        <strong>{verdicts[verdict]}</strong> {words.replaceAll(/(?<=\d) /g, "\u00a0")}
      </p>
      {readMs !== null && (
        <div class="charts">
          {loadMs !== null && <ReadTimes id={`${type}-read-times`} readMs={readMs} loadMs={loadMs} />}
          {answeredBy !== null && <AnsweredBy id={`${type}-answered-by`} {...report} answeredBy={answeredBy} />}
          {loadMs !== null && tripMs !== null && hitRate !== null && breakEvenHitRate !== null && (
            <BreakEven id={`${type}-break-even`} {...{ hitRate, breakEvenHitRate, readMs, loadMs, tripMs }} />
          )}
          <PayoffNumbers {...report} />
        </div>
      )}
    </>
  );
}

/** What copies in the servers' memories bring, and cost, beside asking the shared cache. */
function nearRows({ near }: PayoffReport): (readonly [string, string])[] {
  if (near === null) return [];
  const { hits, savedMs, paidMs, breakEvenHitsPerWrite } = near;
  return [
    ["reads from memory", hits.toLocaleString("en")],
    ["trips to the shared cache saved by them", savedMs === null ? "–" : milliseconds(savedMs)],
    ["changes waited for other servers", milliseconds(paidMs)],
    ["it takes so many to a change", breakEvenHitsPerWrite === null ? "–" : decimal(breakEvenHitsPerWrite)],
  ];
}

/** What the charts show, and the rest of the report. */
function PayoffNumbers(report: PayoffReport) {
  const { netMsPerRead: net, netMs } = report;
  const ms = (value: number | null) => (value === null ? "–" : milliseconds(value));
  const part = (value: number | null) => (value === null ? "–" : percent(value));
  const count = (value: number) => value.toLocaleString("en");
  const rows: readonly (readonly [string, string])[] = [
    ["reads", count(report.reads)],
    ["of these, hits", part(report.hitRate)],
    ["loads", count(report.loads)],
    ["loads saved", count(report.loadsSaved)],
    ["a read with the cache", ms(report.readMs)],
    ["a read without it: a load", ms(report.loadMs)],
    ["a trip to the shared cache", ms(report.tripMs)],
    ["a change waits for it", ms(report.writeMs)],
    ["saved a read, net", ms(net && net.meanMs)],
    ["95 % certain within", net === null ? "–" : `± ${milliseconds(net.highMs - net.meanMs)}`],
    ["saved in all, net", netMs === null ? "–" : `${decimal(netMs / 1_000)} s`],
    ...nearRows(report),
  ];
  return (
    <figure>
      <figcaption>In numbers</figcaption>
      <table class="numbers">
        <tbody>
          {rows.map(([label, value]) => (
            <tr>
              <th scope="row">{label}</th>
              <td>{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}
