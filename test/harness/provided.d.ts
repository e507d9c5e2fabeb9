import "vitest";

declare module "vitest" {
  interface ProvidedContext {
    /** The Redis that every test of the project "packages" shares; each test keeps to a key prefix of its own. */
    redisUrl: string;
  }
}
