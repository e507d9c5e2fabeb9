// npm run soak [-- <minutes>]: whether anything grows in a server around which things fail; half an hour unless told. Writes docs/soak.md.
import { runLong } from "../long-run.mjs";

const [minutes = "28", ...others] = process.argv.slice(2);
if (!(Number(minutes) > 0) || others.length > 0) {
  console.error("npm run soak [-- <minutes>]");
  process.exit(2);
}
const env = { SOAK_MINUTES: minutes };
process.exit(await runLong({ folder: "test/soak", parts: ["soak"], document: "docs/soak.md", env }));
