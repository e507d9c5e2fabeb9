import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultProxy } from "./harness/fault-proxy.ts";
import type { Mutation } from "./harness/mutant.ts";
import { buildServer } from "./harness/session/build-server.ts";
import { networkFault } from "./harness/session/faults.ts";
import { SessionFleet } from "./harness/session/fleet.ts";
import { killedSignIns } from "./harness/session/killed-sign-in.ts";
import { throughOutage } from "./harness/session/outage.ts";
import {
  acrossMove,
  changeAndRotation,
  changeAndRotationToAnotherUser,
  indexing,
  limiting,
  type Race,
  rotationAndEnd,
  rotationAndEndOfOthers,
  signInAndMove,
  signInAndLogOutEverywhere,
  signInAndRotation,
  warmUp,
} from "./harness/session/races.ts";
import type { ServerSettings } from "./harness/session/server-settings.ts";
import { type SessionRedis, startSessionRedis } from "./harness/session/session-redis.ts";
import { sessionAfterSwap } from "./harness/session/swapped-record.ts";

interface Mutant {
  readonly rule: string;
  readonly mutation: Mutation;
  /** Of all three servers, or of each. */
  readonly settings: ServerSettings | readonly ServerSettings[];
  /** Whether what the rule prevents has happened. */
  readonly happens: (fleet: SessionFleet) => Promise<boolean>;
}

let redis: SessionRedis;
let proxy: FaultProxy;
beforeAll(async () => {
  redis = await startSessionRedis();
  proxy = await FaultProxy.start(redis.port);
});
afterAll(async () => {
  await proxy.stop();
  await redis.stop();
});

/** Whether a race fails in some order; the first is enough. */
function failing(race: Race): Mutant["happens"] {
  return async (fleet) => {
    await warmUp(fleet);
    return (await race(fleet).next()).done !== true;
  };
}

const encryptedPrefix = "swapped:";
const encryptionKey = Buffer.alloc(32, "a key of a test").toString("base64");
const encrypted: ServerSettings = {
  stack: "middleware",
  engine: { prefix: encryptedPrefix, encryption: { keys: [encryptionKey] } },
};

const mutants: readonly Mutant[] = [
  {
    rule: "a destroyed session leaves an empty text, which a commit on its way finds (S3)",
    settings: indexing,
    happens: failing(signInAndLogOutEverywhere),
    mutation: {
      name: "forgotten-destruction",
      file: "lua/destroy.lua",
      cut: 'redis.call("SET", KEYS[1], "", "PX", ARGV[1])\n',
      instead: "",
    },
  },
  {
    rule: "a session is in the index before it is stored (S8)",
    settings: indexing,
    happens: async (fleet) => (await killedSignIns(fleet, redis)).some((left) => left > 0),
    mutation: {
      name: "unlisted-session",
      file: "src/committer.ts",
      cut: "if (user != null && user !== before) await index.add(user, key, { lifeMs, endsAt, max: maxRows }, withinMs);",
      instead: "",
      also: {
        cut: "const reply = await this.#send(tracked, { key, change, encoded, given }, withinMs);",
        instead: `const reply = await this.#send(tracked, { key, change, encoded, given }, withinMs);
      if (user != null && user !== before) await index.add(user, key, { lifeMs, endsAt, max: maxRows }, withinMs);`,
      },
    },
  },
  {
    rule: "a row whose record may still be on its way stays in the index (S8)",
    settings: indexing,
    happens: failing(signInAndLogOutEverywhere),
    mutation: {
      name: "hasty-trim",
      file: "lua/trim.lua",
      cut: '  return reply("young")\n',
      instead: "",
    },
  },
  {
    rule: "where a row was taken away the rows are listed again: its session may have a new id (S7, S8)",
    settings: indexing,
    happens: failing(rotationAndEnd("log-out-everywhere")),
    mutation: {
      name: "single-listing",
      file: "src/user-sessions.ts",
      cut: '(await this.#rows.takeAway(row, standing)).isGone) return "nothing";',
      instead: '(await this.#rows.takeAway(row, standing)).isGone) return "left";',
    },
  },
  {
    rule: "a session that is being given a new id counts as one (S7, S8)",
    settings: limiting("reject", 2),
    happens: failing(signInAndRotation("reject", 2)),
    mutation: {
      name: "counted-twice",
      file: "lua/admit.lua",
      cut: "local count = isDraft and #drafts or sessions()",
      instead: 'local count = redis.call("ZCARD", KEYS[1])',
    },
  },
  {
    rule: "a session that moves to hashed ids counts as one (S8)",
    settings: acrossMove("reject"),
    happens: failing(signInAndMove("reject")),
    mutation: {
      name: "counted-at-both-places",
      file: "src/mover.ts",
      cut: 'if ((await add(base.key)) === "stale") await add();',
      instead: "await add();",
    },
  },
  {
    rule: "a session and its draft are of one age (S7, S8)",
    settings: limiting("oldest"),
    happens: failing(signInAndRotation("oldest", 1)),
    mutation: {
      name: "younger-by-rotation",
      file: "lua/admit.lua",
      cut: "addedAt = -math.abs(since and tonumber(since) or addedAt)",
      instead: "addedAt = -addedAt",
    },
  },
  {
    rule: "all but this spares the draft of this (S7, S8)",
    settings: indexing,
    happens: failing(rotationAndEndOfOthers(60_000)),
    mutation: {
      name: "ended-draft",
      file: "src/user-sessions.ts",
      cut: "spared.join(pairs);",
      instead: "",
    },
  },
  {
    rule: "all but this spares what its id has been replaced by (S7, S8)",
    settings: indexing,
    happens: failing(rotationAndEndOfOthers(60_000)),
    mutation: {
      name: "ended-successor",
      file: "src/user-sessions.ts",
      cut: "await this.#lastIdOf(spareId, spared);",
      instead: "spareId;",
    },
  },
  {
    rule: "an old id leads to the new one only while the user is the same (S7)",
    settings: indexing,
    happens: failing(changeAndRotationToAnotherUser),
    mutation: {
      name: "fixation",
      file: "src/records.ts",
      cut: "return base && this.#codec.head(base.text).user === forward.user ? base : undefined;",
      instead: "return base;",
    },
  },
  {
    rule: "a rotation replaces the old record only if it is what was seen (S1, S7)",
    settings: indexing,
    happens: failing(changeAndRotation),
    mutation: {
      name: "blind-rotation",
      file: "src/rotation.ts",
      cut: "const reply = await this.#swap(base.key, swap, deadline);",
      instead: `const there = (await records.peek(base.key))?.raw ?? base.raw;
      const reply = await this.#swap(base.key, { ...swap, expected: there }, deadline);`,
    },
  },
  {
    rule: "an encrypted record is bound to its place (G9)",
    settings: encrypted,
    happens: async (fleet) => (await sessionAfterSwap(fleet.url(1), redis, encryptedPrefix))?.["user"] === "alice",
    mutation: {
      name: "unbound-record",
      file: "src/keyring.ts",
      cut: ".setAAD(Buffer.from(key));",
      instead: ".setAAD(Buffer.alloc(0));",
      also: {
        cut: "decipher.setAAD(Buffer.from(key))",
        instead: "decipher.setAAD(Buffer.alloc(0))",
      },
    },
  },
  {
    rule: "after some failures in a row nothing is sent for a while (S10)",
    settings: { stack: "middleware" },
    happens: async (fleet) => {
      const { second } = await throughOutage(fleet, networkFault(proxy, "hold", "heldChunks"));
      return second.every(({ waitedMs }) => waitedMs > 250);
    },
    mutation: {
      name: "no-breaker",
      file: "src/availability.ts",
      cut: "const breaker = { failures: 5,",
      instead: "const breaker = { failures: 1_000_000,",
    },
  },
];

for (const { rule, mutation, settings, happens } of mutants) {
  test(`${mutation.name} is seen happening once this rule is taken out: ${rule}`, async () => {
    const program = await buildServer(mutation);
    const servers = "stack" in settings ? [settings, settings, settings] : settings;
    const fleet = await SessionFleet.start({ program, redis: proxy.port, servers });
    try {
      expect(await happens(fleet)).toBe(true);
    } finally {
      await fleet.stop();
    }
  }, 120_000);
}
