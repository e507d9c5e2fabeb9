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
  type Race,
  rotationAndEnd,
  signInAndLogOutEverywhere,
  signOutAndMove,
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

const groups: readonly {
  readonly name: string;
  readonly servers: readonly ServerSettings[];
  readonly races: Readonly<Record<string, Race>>;
}[] = [
  {
    name: "sessions of a user",
    servers: [indexing, indexing, indexing],
    races: {
      "a sign-in that meets a log-out-everywhere is signed in and listed, or gone (S8)": signInAndLogOutEverywhere,
      "a change that meets a log-out-everywhere brings nothing back (S3, S8)": changeAndLogOutEverywhere,
      "a change with the old id is kept, whenever it meets the rotation (S7)": changeAndRotation,
      "a session that two servers rotate at once is one session after (S7)": twoRotations,
      "a session that is signed out while it is rotated is gone under both ids (S3, S7)": rotationAndEnd("sign-out"),
      "a session whose user is signed out everywhere while it is rotated is gone under both ids (S3, S7)":
        rotationAndEnd("log-out-everywhere"),
      "where the user changes, what was on its way with the old id finds nothing (S7)": changeAndRotationToAnotherUser,
    },
  },
  ...(["reject", "oldest"] as const).map((beyond) => ({
    name: `at most one session of a user, beyond it: ${beyond}`,
    servers: [limiting(beyond), limiting(beyond), limiting(beyond)],
    races: { "of two sign-ins at once one is signed in, and it is the one listed (S8)": twoSignIns(beyond) },
  })),
  {
    name: "sessions that move from plain to hashed ids",
    servers: acrossMove,
    races: {
      "a change on a server of the step before is kept, whenever it meets the move (S1)": changeAndMove,
      "two servers that move a session at once both keep what they change (S1)": twoMoves,
      "a session that is ended on a server of the step before is gone, whenever it meets the move (S3)": signOutAndMove,
    },
  },
];

for (const { name, servers, races } of groups) {
  describe(name, () => {
    let fleet: SessionFleet;
    beforeAll(async () => {
      fleet = await SessionFleet.start({ program, redis: redis.port, servers });
      await warmUp(fleet);
    });
    afterAll(() => fleet.stop());

    for (const [what, race] of Object.entries(races)) {
      test(
        what,
        async () => {
          const failed = [];
          for await (const finding of race(fleet)) failed.push(finding);
          expect(failed).toEqual([]);
        },
        timeout,
      );
    }
  });
}
