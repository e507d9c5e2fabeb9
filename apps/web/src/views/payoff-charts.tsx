import type { PayoffReport } from "@lockstep/cache";
import type { ComponentChildren } from "preact";
import { milliseconds, percent, percentNeeded } from "./numbers.ts";

/** All charts are as wide in their own units, so that their text is of one size. */
const width = 360;

interface ChartProps {
  /** Part of the page's ids: two charts of one page need two. */
  readonly id: string;
  readonly title: string;
  /** What the chart shows, for who can't see it. */
  readonly description: string;
  readonly height: number;
  readonly children: ComponentChildren;
}

function Chart({ id, title, description, height, children }: ChartProps) {
  return (
    <svg role="img" aria-labelledby={`${id}-title ${id}-description`} viewBox={`0 0 ${width} ${height}`}>
      <title id={`${id}-title`}>{title}</title>
      <desc id={`${id}-description`}>{description}</desc>
      {children}
    </svg>
  );
}

/** The mean read as it is, and as it would be. */
export function ReadTimes({ id, readMs, loadMs }: { id: string; readMs: number; loadMs: number }) {
  const title = "A read, on average";
  const bars = [
    { label: "with the cache", ms: readMs, kind: "with" },
    { label: "without it", ms: loadMs, kind: "without" },
  ];
  const longestMs = Math.max(readMs, loadMs);
  const description = bars.map(({ label, ms }) => `${label} ${milliseconds(ms)}`).join(", ");
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <Chart id={id} title={title} description={description} height={104}>
        {bars.map(({ label, ms, kind }, row) => (
          <g transform={`translate(0 ${row * 54})`}>
            <text x={0} y={14}>
              {label}
            </text>
            <text class="value" x={width} y={14} text-anchor="end">
              {milliseconds(ms)}
            </text>
            <rect class={`bar-${kind}`} x={0} y={22} width={lengthOf(ms, longestMs)} height={20} rx={2} />
          </g>
        ))}
      </Chart>
    </figure>
  );
}

/** A bar that can be seen, however short. */
function lengthOf(part: number, whole: number): number {
  return whole === 0 ? 2 : Math.max(2, rounded((part / whole) * width));
}

type Answered = Pick<PayoffReport, "reads" | "failedReads"> & {
  readonly answeredBy: NonNullable<PayoffReport["answeredBy"]>;
};

/** Which part of the reads each tier answered, as one bar. */
export function AnsweredBy({ id, reads, failedReads, answeredBy }: Answered & { id: string }) {
  const title = "Where reads were answered";
  const answered = reads / (reads + failedReads);
  const parts = [
    { label: "in this server’s memory", part: answeredBy.near * answered, kind: "near" },
    { label: "in the shared cache", part: answeredBy.shared * answered, kind: "shared" },
    { label: "in the database", part: answeredBy.source * answered, kind: "database" },
    { label: "other: they failed", part: failedReads / (reads + failedReads), kind: "failed" },
  ];
  const description = parts.map(({ label, part }) => `${label} ${percent(part)}`).join(", ");
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <Chart id={id} title={title} description={description} height={30}>
        {parts.map(({ part, kind }, index) => {
          const before = parts.slice(0, index).reduce((sum, each) => sum + each.part, 0);
          return (
            part > 0 && (
              <rect
                class={`part-${kind}`}
                x={rounded(before * width)}
                y={4}
                width={rounded(part * width)}
                height={22}
              />
            )
          );
        })}
      </Chart>
      <ul class="legend">
        {parts.map(({ label, part, kind }) => (
          <li>
            <span class={`swatch part-${kind}`} aria-hidden="true" /> {label} <span class="value">{percent(part)}</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}

interface BreakEvenProps {
  readonly id: string;
  readonly hitRate: number;
  readonly breakEvenHitRate: number;
  readonly readMs: number;
  readonly loadMs: number;
  readonly tripMs: number;
}

/** The area between the axes of the chart of hit rates. */
const plot = { left: 56, top: 8, right: width - 14, bottom: 172 };

/** The mean time of a read by hit rate, if each asks the shared cache first; where that breaks even; and where the collection is. */
export function BreakEven({ id, hitRate, breakEvenHitRate, readMs, loadMs, tripMs }: BreakEvenProps) {
  const title = "Time of a read by hit rate";
  const highestMs = Math.max(tripMs + loadMs, readMs) * 1.1;
  const across = (part: number) => rounded(plot.left + part * (plot.right - plot.left));
  const down = (ms: number) => rounded(plot.bottom - (ms / highestMs) * (plot.bottom - plot.top));
  const isReachable = breakEvenHitRate <= 1;
  const breakEven = isReachable ? `break-even at ${percentNeeded(breakEvenHitRate)}` : "no hit rate breaks even";
  const here = `here: ${percent(hitRate)}, ${milliseconds(readMs)}`;
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <Chart id={id} title={title} description={`${here}; ${breakEven}`} height={212}>
        <Axes across={across} down={down} highestMs={highestMs} />
        <line class="line-without" x1={across(0)} y1={down(loadMs)} x2={across(1)} y2={down(loadMs)} />
        <line class="line-with" x1={across(0)} y1={down(tripMs + loadMs)} x2={across(1)} y2={down(tripMs)} />
        {isReachable && <circle class="break-even" cx={across(breakEvenHitRate)} cy={down(loadMs)} r={6} />}
        <circle class="here" cx={across(hitRate)} cy={down(readMs)} r={6} />
      </Chart>
      <ul class="legend">
        <li>
          <span class="swatch here" aria-hidden="true" /> {here}
        </li>
        <li>
          <span class={isReachable ? "swatch break-even" : "swatch"} aria-hidden="true" /> {breakEven}
        </li>
        <li>
          <span class="swatch line-with" aria-hidden="true" /> a read that asks the cache first
        </li>
        <li>
          <span class="swatch line-without" aria-hidden="true" /> one that asks the database alone
        </li>
      </ul>
    </figure>
  );
}

interface AxesProps {
  readonly across: (part: number) => number;
  readonly down: (ms: number) => number;
  readonly highestMs: number;
}

function Axes({ across, down, highestMs }: AxesProps) {
  const step = stepOf(highestMs);
  const steps = Array.from({ length: Math.floor(highestMs / step) + 1 }, (_, index) => index * step);
  return (
    <g class="axes">
      {steps.map((ms) => (
        <>
          <line x1={plot.left} y1={down(ms)} x2={plot.right} y2={down(ms)} />
          <text x={plot.left - 8} y={down(ms) + 5} text-anchor="end">
            {Number(ms.toPrecision(2))}
          </text>
        </>
      ))}
      {[0, 0.5, 1].map((part) => (
        <text x={across(part)} y={plot.bottom + 20} text-anchor={part === 1 ? "end" : "middle"}>
          {part * 100}
        </text>
      ))}
      <text x={plot.right} y={plot.bottom + 37} text-anchor="end">
        hit rate, %
      </text>
      <text x={0} y={plot.bottom + 37}>
        ms
      </text>
    </g>
  );
}

/** A round number that goes into the axis two to five times. */
function stepOf(highest: number): number {
  const power = 10 ** Math.floor(Math.log10(highest));
  return ([0.2, 0.5, 1].find((part) => highest / (part * power) <= 5) ?? 2) * power;
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
