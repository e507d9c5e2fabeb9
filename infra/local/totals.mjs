// The totals of a whole run, from the reports and the exit codes of its commands:
// node totals.mjs <npm test> <npm run check> <npm run spec> <npm run test:compose>
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const reports = fileURLToPath(new URL("../../.lockstep/report/", import.meta.url));
const [tests, check, spec, compose] = process.argv.slice(2).map(Number);

const counts = [
  counted("npm test", tests, readReport("test.json", countsOfVitest)),
  counted("npm run check", check, { passed: 0, failed: 0 }),
  counted("npm run spec", spec, readReport("spec.json", countsOfSpec)),
  counted("npm run test:compose", compose, readReport("compose.json", countsOfVitest)),
];
const passed = counts.reduce((sum, count) => sum + count.passed, 0);
const failed = counts.reduce((sum, count) => sum + count.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/**
 * A command that failed for a reason that no test stands for (a check, a crash, no report at all) is one failure.
 *
 * @param {string} command
 * @param {number | undefined} code
 * @param {{ passed: number, failed: number } | undefined} count
 */
function counted(command, code, count) {
  const { passed, failed } = count ?? { passed: 0, failed: 1 };
  const failures = code === 0 ? failed : Math.max(failed, 1);
  const report = count === undefined ? " and left no report" : "";
  console.log(`${command}: ${passed} passed, ${failures} failed (ended with code ${code}${report})`);
  return { passed, failed: failures };
}

/**
 * @template R
 * @param {string} file
 * @param {(report: R) => { passed: number, failed: number }} countsOf
 */
function readReport(file, countsOf) {
  try {
    return countsOf(JSON.parse(readFileSync(join(reports, file), "utf8")));
  } catch {
    return undefined;
  }
}

/**
 * @param {{
 *   numPassedTests: number,
 *   numFailedTests: number,
 *   testResults: { status: string, assertionResults: { status: string }[] }[]
 * }} report
 */
function countsOfVitest({ numPassedTests, numFailedTests, testResults }) {
  // A file that can't be loaded has failed without a test in it that has.
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.every((test) => test.status !== "failed"),
  );
  return { passed: Number(numPassedTests), failed: Number(numFailedTests) + broken.length };
}

/** @param {{ passed: number, failed: number }} report of spec/check.mjs */
function countsOfSpec({ passed, failed }) {
  return { passed, failed };
}
