import type { Fault } from "./fault.ts";
import { clockFaults } from "./on-clocks.ts";
import { failoverFaults } from "./on-failover.ts";
import { linkFaults } from "./on-links.ts";
import { recordFaults } from "./on-records.ts";
import { serverFaults } from "./on-servers.ts";
import { storeFaults } from "./on-stores.ts";

/** The faults of the matrix, each with what it is allowed to break. */
export const faults: readonly Fault[] = [
  ...serverFaults,
  ...storeFaults,
  ...linkFaults,
  ...failoverFaults,
  ...recordFaults,
  ...clockFaults,
];
