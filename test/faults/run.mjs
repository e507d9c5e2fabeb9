// npm run test:faults [-- -t <a part of a fault's name>]: every fault on every topology, under load, and what failovers lose; more than
// an hour. A whole run that passes writes docs/reliability.md.
import { runLong } from "../long-run.mjs";

const parts = ["faults", "losses"];
const args = process.argv.slice(2);
process.exit(await runLong({ folder: "test/faults", parts, document: "docs/reliability.md", args }));
