// The totals of a whole run, from the reports and the exit codes of its commands, and each test that failed with its
// error: of a log this long, readers may be left with the end alone.
// node totals.mjs <npm test> <npm run check> <npm run spec> <npm run test:compose>
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const reports = fileURLToPath(new URL("../../.lockstep/report/", import.meta.url));
const [tests, check, spec, compose] = process.argv.slice(2).map(Number);

/** @typedef {{ passed: number, failed: number, failures?: readonly string[] }} Count */

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
 * @param {Count | undefined} count
 * @returns {Count}
 */
function counted(command, code, count) {
  const { passed, failed: reported, failures = [] } = count ?? { passed: 0, failed: 1 };
  const failed = code === 0 ? reported : Math.max(reported, 1);
  for (const failure of failures) console.log(`FAILED ${failure}\n`);
  const remark =
    count === undefined ? " and left no report" : failed > reported ? ": look at its output, no test failed" : "";
  console.log(`${command}: ${passed} passed, ${failed} failed (ended with code ${code}${remark})`);
  return { passed, failed };
}

/**
 * @template R
 * @param {string} file
 * @param {(report: R) => Count} countsOf
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
 *   testResults: {
 *     name: string,
 *     status: string,
 *     message: string,
 *     assertionResults: { status: string, fullName: string, failureMessages: string[] }[]
 *   }[]
 * }} report
 * @returns {Count}
 */
function countsOfVitest({ numPassedTests, numFailedTests, testResults }) {
  // A file that can't be loaded has failed without a test in it that has.
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.every((test) => test.status !== "failed"),
  );
  const failures = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName, failureMessages }) => `${name}: ${fullName}\n${failureMessages.join("\n")}`),
  );
  return {
    passed: Number(numPassedTests),
    failed: Number(numFailedTests) + broken.length,
    failures: [...failures, ...broken.map(({ name, message }) => `${name}\n${message}`)],
  };
}

/**
 * @param {Count} report of spec/check.mjs
 * @returns {Count}
 */
function countsOfSpec({ passed, failed }) {
  return { passed, failed };
}
