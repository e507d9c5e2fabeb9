/** The dependency rule of ARCHITECTURE.md: imports point downward only, and a cycle is a design error. */
const inSessionStore = (names) => `^packages/session-store/src/(${names})\\.ts$`;
const inCache = (names) => `^packages/cache/src/(${names})\\.ts$`;

module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "packages-never-import-apps-tests-or-infra",
      severity: "error",
      from: { path: "^packages/[^/]+/src" },
      to: { path: "^(apps|bench|test|infra)/" },
    },
    {
      name: "redis-kit-is-the-lowest",
      severity: "error",
      from: { path: "^packages/redis-kit/" },
      to: { path: "^packages/(?!redis-kit/)" },
    },
    {
      name: "packages-know-nothing-of-each-other",
      severity: "error",
      from: { path: "^packages/([^/]+)/src" },
      to: { path: "^packages/(?!redis-kit/)", pathNot: "^packages/$1/" },
    },
    {
      name: "packages-are-entered-by-what-they-export",
      severity: "error",
      from: { path: "^(apps|bench|test)/" },
      to: {
        path: "^packages/[^/]+/src/",
        pathNot: ["^packages/[^/]+/src/index\\.ts$", inSessionStore("session-sockets")],
      },
    },
    {
      name: "apps-do-not-import-redis-kit",
      severity: "error",
      from: { path: "^apps/" },
      to: { path: "^packages/redis-kit/" },
    },
    {
      name: "the-engine-knows-no-adapter",
      severity: "error",
      from: {
        path: inSessionStore(
          "sessions|attempts|committer|destruction|encoder|eviction|foreign-copies|mover|near-parts|near-records|pending-writes|rebase|record-heads|record-loads|records|rotation|save-queue|sweep|tracked-session|user-index|user-limit|user-rows|user-sessions",
        ),
      },
      to: {
        path: inSessionStore("middleware|request-session|request-store|response-gate|engine-store|redis-store|cookie"),
      },
    },
    {
      name: "rules-are-pure",
      comment: "merge, codec and expiry take clock and randomness as arguments and do no I/O",
      severity: "error",
      from: { path: inSessionStore("merge|codec|expiry|forward|json|keyring|losses|show") },
      to: {
        path: inSessionStore(
          "sessions|committer|records|scripts|options|middleware|request-session|request-store|engine-store|redis-store",
        ),
      },
    },
    {
      name: "only-records-and-index-call-scripts",
      severity: "error",
      from: {
        path: "^packages/session-store/src/",
        pathNot: inSessionStore("records|record-loads|pending-writes|user-index|memory-scripts"),
      },
      // The shapes of replies are known above; tsPreCompilationDeps sees their types too.
      to: { path: inSessionStore("scripts"), dependencyTypesNot: ["type-only"] },
    },
    {
      name: "only-the-redis-driver-and-replicas-call-the-cache's-scripts",
      severity: "error",
      from: { path: "^packages/cache/src/", pathNot: inCache("drivers/redis|replicas") },
      // The shapes of replies and fills are known above; tsPreCompilationDeps sees their types too.
      to: { path: inCache("scripts"), dependencyTypesNot: ["type-only"] },
    },
    {
      name: "only-write-behind-calls-the-scripts-of-its-queues",
      severity: "error",
      from: { path: "^packages/cache/src/", pathNot: ["^packages/cache/src/write-behind/", inCache("flush-scripts")] },
      to: { path: inCache("queue-scripts|flush-scripts|backlog-scripts") },
    },
    {
      name: "the-cache's-rules-are-pure",
      severity: "error",
      from: { path: inCache("codec|keys|freshness|payoff|payoff-words") },
      to: { path: "^packages/cache/src/", pathNot: inCache("errors|payoff-words") },
    },
    {
      name: "the-cache's-drivers-know-only-what-is-below-them",
      severity: "error",
      from: { path: "^packages/cache/src/drivers/" },
      to: {
        path: "^packages/cache/src/",
        pathNot: ["^packages/cache/src/drivers/", inCache("keys|codec|errors|events|options|scripts")],
      },
    },
    {
      name: "whoever-has-no-memcached-needs-no-client-for-it",
      comment: "only the package's entry for Memcached loads it; the driver knows it by what it does",
      severity: "error",
      from: { path: "^packages/", pathNot: [inCache("memcached"), "^packages/cache/test/"] },
      to: { path: "memcache-client" },
    },
    {
      name: "near-copies'-rules-are-pure",
      severity: "error",
      from: {
        path: "^packages/near-cache/src/(messages|inbox|lease|settling|peers|holders|keys|options|events|errors)\\.ts$",
      },
      to: { path: "^packages/near-cache/src/(near-cache|membership|revocations|link|scripts|claims|prometheus)\\.ts$" },
    },
    {
      name: "only-the-membership-and-its-revocations-call-the-group's-scripts",
      severity: "error",
      from: {
        path: "^packages/near-cache/src/",
        pathNot: "^packages/near-cache/src/(link|membership|revocations)\\.ts$",
      },
      to: { path: "^packages/near-cache/src/scripts\\.ts$", dependencyTypesNot: ["type-only"] },
    },
    { name: "nothing-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    doNotFollow: { path: "node_modules" },
    // Not what packages have published in folders of that name, which a rule may be about.
    exclude: { path: "^((packages|apps)/[^/]+/dist|[.]tsbuild|[.]lockstep)/" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "types", "node", "default"],
      extensions: [".ts", ".tsx", ".mjs", ".js", ".cjs"],
    },
  },
};
