// One member in a process of its own, for tests that stop or kill it. Says each time when it could serve its copy, and when it has joined.
import { Redis } from "ioredis";
import { joinNearCache } from "@lockstep/near-cache";

const [url = "", group = "", leaseMs] = process.argv.slice(2);
let hasCopy = true;
const drop = () => {
  hasCopy = false;
};

const near = await joinNearCache({
  client: new Redis(url),
  group,
  leaseMs: Number(leaseMs),
  label: "process",
  onEvent: ({ type }) => process.stdout.write(`${type}\n`),
});
near.hold({ revoke: drop, revokeAll: drop, empty: drop, size: 1, bytes: 1 });
setInterval(() => {
  if (hasCopy && near.mayServe()) process.stdout.write("serves\n");
}, 2);
// A test that died has closed its end.
process.stdin.on("end", () => process.exit()).resume();
