// Loaded into a server under test before all else: on SIGUSR2 it writes what it holds to the file that TEST_PROBE names.
import { renameSync, writeFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const file = process.env.TEST_PROBE ?? "";
setFlagsFromString("--expose_gc");
const collect = runInNewContext("gc");

process.on("SIGUSR2", () => {
  // Twice: what the first has run the finalizers of is freed by the second.
  collect();
  collect();
  const resources = process.getActiveResourcesInfo();
  const count = (/** @type {RegExp} */ kind) => resources.filter((each) => kind.test(each)).length;
  const held = {
    heapBytes: process.memoryUsage().heapUsed,
    timers: count(/^(Timeout|Immediate)$/),
    sockets: count(/^(TCP|Pipe|TLS)(Socket)?Wrap$/),
  };
  // Under its name it is whole.
  writeFileSync(`${file}.part`, JSON.stringify(held));
  renameSync(`${file}.part`, file);
});
