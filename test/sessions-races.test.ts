import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildServer } from "./harness/session/build-server.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import {
  acrossMove,
  changeAndLogOutEverywhere,
  changeAndMove,
  changeAndRotation,
  changeAndRotationToAnotherUser,
  indexing,
  limiting,
  logOutEverywhereAndMove,
  type Race,
  rotationAndEnd,
  rotationAndEndOfOthers,
  signInAndMove,
  signInAndLogOutEverywhere,
  signInAndRotation,
  signOutAndMove,
  takeoverAndLogOutEverywhere,
  twoMoves,
  twoRotations,
  twoSignIns,
  warmUp,
} from "./harness/session/races.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";

let redis: SessionRedis;
let program: string;
beforeAll(async () => {
  redis = await startSessionRedis();
  program = await buildServer();
});
afterAll(() => redis.stop());

/** Each race is run in up to some hundreds of orders of the commands of two servers. */
const timeout = 180_000;

/** Servers for all tests of a group. */
function fleetOf(servers: readonly ServerSettings[]): { run: (race: Race) => Promise<void> } {
  let fleet: SessionFleet;
  beforeAll(async () => {
    fleet = await SessionFleet.start({ program, redis: redis.port, servers });
    await warmUp(fleet);
  });
  afterAll(() => fleet.stop());
  return {
    run: async (race) => {
      const failed = [];
      for await (const finding of race(fleet)) failed.push(finding);
      expect(failed).toEqual([]);
    },
  };
}

describe("sessions of a user", () => {
  const fleet = fleetOf([indexing, indexing, indexing]);

  test(
    "a sign-in that meets a log-out-everywhere is signed in and listed, or gone (S8)",
    () => fleet.run(signInAndLogOutEverywhere),
    timeout,
  );
  for (const by of ["change", "rotation"] as const) {
    test(
      `a session that becomes a user's by a ${by} while all of theirs end is theirs and listed, or gone (S8)`,
      () => fleet.run(takeoverAndLogOutEverywhere(by)),
      timeout,
    );
  }
  test(
    "a change that meets a log-out-everywhere brings nothing back (S3, S8)",
    () => fleet.run(changeAndLogOutEverywhere),
    timeout,
  );
});

describe("rotation", () => {
  const fleet = fleetOf([indexing, indexing, indexing]);

  test(
    "a change with the old id is kept, whenever it meets the rotation (S7)",
    () => fleet.run(changeAndRotation),
    timeout,
  );
  test("a session that two servers rotate at once is one session after (S7)", () => fleet.run(twoRotations), timeout);
  for (const how of ["sign-out", "log-out-everywhere"] as const) {
    test(
      `a session that is ended by a ${how} while it is rotated is gone under both ids, and listed no more (S3, S7)`,
      () => fleet.run(rotationAndEnd(how)),
      timeout,
    );
  }
  for (const [grace, leadsMs] of Object.entries({ "with a grace": 60_000, "without a grace": 0 })) {
    test(
      `a session that is rotated ${grace} while it ends all others stays, and they are gone (S7, S8)`,
      () => fleet.run(rotationAndEndOfOthers(leadsMs)),
      timeout,
    );
  }
  test(
    "where the user changes, what was on its way with the old id finds nothing, and brings nothing back (S7)",
    () => fleet.run(changeAndRotationToAnotherUser),
    timeout,
  );
});

for (const beyond of ["reject", "oldest"] as const) {
  describe(`at most one session of a user, beyond it: ${beyond}`, () => {
    const fleet = fleetOf([limiting(beyond), limiting(beyond), limiting(beyond)]);

    test(
      "of two sign-ins at once one is signed in, and it is the one listed (S8)",
      () => fleet.run(twoSignIns(beyond)),
      timeout,
    );
    test(
      "a sign-in that meets a rotation is the second session (S7, S8)",
      () => fleet.run(signInAndRotation(beyond, 1)),
      timeout,
    );
  });

  describe(`at most two sessions of a user, beyond it: ${beyond}`, () => {
    const fleet = fleetOf([limiting(beyond, 2), limiting(beyond, 2), limiting(beyond, 2)]);

    test(
      "a sign-in that meets the rotation of the other session is within the limit, and ends nothing (S7, S8)",
      () => fleet.run(signInAndRotation(beyond, 2)),
      timeout,
    );
  });
}

describe("sessions that move from plain to hashed ids", () => {
  const fleet = fleetOf(acrossMove());

  test(
    "a change on a server of the step before is kept, whenever it meets the move (S1)",
    () => fleet.run(changeAndMove),
    timeout,
  );
  test("two servers that move a session at once both keep what they change (S1)", () => fleet.run(twoMoves), timeout);
  test(
    "a session that is ended on a server of the step before is gone, whenever it meets the move (S3)",
    () => fleet.run(signOutAndMove),
    timeout,
  );
  for (const step of ["before", "after"] as const) {
    test(
      `a log-out-everywhere on a server of the step ${step} finds a session that moves meanwhile (S8)`,
      () => fleet.run(logOutEverywhereAndMove(step)),
      timeout,
    );
  }
});

for (const beyond of ["reject", "oldest"] as const) {
  describe(`a session that moves to hashed ids, of a user who may have two (beyond: ${beyond})`, () => {
    const fleet = fleetOf(acrossMove(beyond));

    test(
      "stays, and so does that of a sign-in which meets the move (S8)",
      () => fleet.run(signInAndMove(beyond)),
      timeout,
    );
  });
}
