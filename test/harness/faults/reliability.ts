import { describeMachine } from "../../../bench/machine.ts";
import { type Fault, type FaultTopology, topologyNames } from "./fault.ts";
import type { LossResult } from "./losses.ts";
import type { FaultResult } from "./run-fault.ts";
import { invariants } from "./tally.ts";

/** docs/reliability.md, of a run of all faults. */
export function reliabilityReport(
  faults: readonly Fault[],
  results: readonly FaultResult[],
  redisVersion: string,
): string {
  const [machine, versions] = describeMachine(redisVersion);
  const total = results.reduce((sum, { requests }) => sum + requests, 0);
  const intro = `# What users see while something fails

Written by \`npm run test:faults\`: ${results.length} runs, ${total.toLocaleString("en")} requests. ${machine ?? ""} ${versions ?? ""}

Six people use the reference app through nginx, over three servers that are real processes. They fill carts in two tabs at once, change their profiles, are looked
at, sign out and in again, and check each answer against what they were told before. Two seconds into that something fails. When it is over, and
nobody has met a failure for two seconds, every server is asked for what was acknowledged, and for the sessions that were ended.

Web servers fail on each topology, Redis on each that has it in another way; what the database does, and whose clock jumps, is asked on the first.

- _failures_: answers of 500 and above, in parentheses requests without any answer;
- _longest_: the longest that a request took, in ms; asserted: at most 6,000 unless the row says more;
- _recovered_: from the end of the fault to the last failure after it, in ms;
- _broken_: how often an invariant was found broken: **stale** (a read shows less than what was acknowledged before it began), **lost** (what was acknowledged is
  not there afterwards), **signed out** (somebody is not known who did not sign out), **revived** (an ended session lets somebody in), **foreign** (somebody is shown another's data). A row may break only what is stated below its table.

The same beside it with express-session and connect-redis (\`SESSION_STACK=connect-redis\`) in the place of \`session()\`, where that can take part; profiles and counted looks are ours there too.
What it breaks in every row are the two tabs: each saves the whole session.
`;
  const sections = topologyNames.map(({ topology, title }) => sectionOf(topology, title, faults, results));
  return `${intro}\n${sections.join("\n")}`;
}

function sectionOf(
  topology: FaultTopology,
  title: string,
  faults: readonly Fault[],
  results: readonly FaultResult[],
): string {
  const head = [
    ["fault", "requests", "failures", "longest", "recovered", "broken", "connect-redis: failures", "longest", "broken"],
    ["---", "---:", "---:", "---:", "---:", "---", "---:", "---:", "---"],
  ];
  const rows = faults
    .filter(({ on }) => on.includes(topology))
    .map(({ name, boundMs }) => {
      const of = (product: FaultResult["product"]) =>
        results.find((each) => each.fault === name && each.topology === topology && each.product === product);
      const [ours, theirs] = [of("Lockstep"), of("connect-redis")];
      if (ours === undefined) throw new Error(`There is no result for "${name}" on ${topology}.`);
      const bound = boundMs === undefined ? "" : ` (at most ${boundMs.toLocaleString("en")})`;
      const own = [
        whole(ours.requests),
        failuresOf(ours),
        whole(ours.longestMs) + bound,
        whole(ours.recoveryMs),
        brokenOf(ours),
      ];
      return [
        name,
        ...own,
        ...(theirs ? [failuresOf(theirs), whole(theirs.longestMs), brokenOf(theirs)] : ["–", "–", "–"]),
      ];
    });
  const table = [...head, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  return `## ${title}\n\n${table}\n${limitsOf(topology, faults)}`;
}

function limitsOf(topology: FaultTopology, faults: readonly Fault[]): string {
  const limits = faults
    .filter(({ on, limits: stated }) => on.includes(topology) && stated)
    .map(({ name, limits: stated = {} }) => {
      const sentences = [...new Set(Object.values(stated))];
      return `- _${name}_ may break ${Object.keys(stated).join(", ")}. ${sentences.join(" ")}`;
    });
  return limits.length === 0 ? "" : `\n${limits.join("\n")}\n`;
}

function failuresOf({ failures, unanswered }: FaultResult): string {
  return unanswered === 0 ? whole(failures) : `${whole(failures)} (${whole(unanswered)})`;
}

function brokenOf({ broken, checked }: FaultResult): string {
  const found = invariants.filter((each) => broken[each] > 0);
  const looks = invariants.reduce((sum, each) => sum + checked[each], 0);
  if (found.length === 0) return `0 of ${whole(looks)}`;
  return found.map((each) => `${each} ${broken[each]} of ${checked[each]}`).join(", ");
}

function whole(figure: number): string {
  return Math.round(figure).toLocaleString("en");
}

/** What failovers have lost. */
export function lossesReport(results: readonly LossResult[]): string {
  const rows = results.map((result) => [
    `${result.topology}, ${result.failover}`,
    result.setting,
    whole(result.acknowledged),
    result.lost === 0 ? "0" : `**${whole(result.lost)}**`,
    whole(result.failures),
    whole(result.longestMs),
    whole(result.backMs),
  ]);
  const head = [
    ["failover of the primary", "sessions by", "acknowledged", "lost", "failures", "longest", "back after"],
    ["---", "---", "---:", "---:", "---:", "---:", "---:"],
  ];
  return `## What a failover loses

32 people each change their session through nginx as fast as they are answered. Two seconds into that another server takes the place of a
primary; ten seconds later every session is read. _lost_: changes that were acknowledged and are not there; _longest_: the longest
that a request took; _back after_: from the failover to the last answer that was none, both in ms. Replicas are on the same machine, so a
primary that is killed outright takes hardly anything with it: its last bytes are delivered for it. Behind Sentinel the primary has
\`min-replicas-to-write 1\`: it refuses changes when its replicas are gone. What express-session loses there it had acknowledged although it was refused.
[durability.md](durability.md) says what each setting promises.

${[...head, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")}

## Shown elsewhere

- Servers that are replaced by a later version, and back, at a fixed rate of requests, with nothing lost and nobody signed out: \`test/rolling-deploy.test.ts\`.
- Signing in while all of somebody's sessions are ended, in each order of the two servers' commands with at most two switches: \`test/sessions-races.test.ts\`.
- Fill tokens that are evicted, and near copies under nine faults, with every read judged: \`npm run histories\`.
- What a server holds, over half an hour of these faults: [soak.md](soak.md).

Not run: an old primary of a Cluster that is cut off together with a server. Its links to the other nodes can't be cut without root; without
a majority of them it stops answering by itself after \`cluster-node-timeout\`.
`;
}
