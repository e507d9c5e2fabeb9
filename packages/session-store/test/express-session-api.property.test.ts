import express, { type Request, type RequestHandler } from "express";
import expressSession from "express-session";
import fc from "fast-check";
import { expect, it } from "vitest";
import { session } from "../src/index.ts";
import { Browser, serve } from "./harness/app.ts";
import { testClient, uniquePrefix } from "./harness/redis.ts";

const client = testClient();

type Step =
  | { readonly do: "set"; readonly key: string; readonly value: unknown }
  | { readonly do: "delete"; readonly key: string }
  | { readonly do: "save" | "reload" | "regenerate" | "destroy" | "touch" | "null" };

const key = fc.constantFrom("a", "b", "c");
const value = fc.oneof(fc.integer(), fc.string(), fc.constant(null), fc.array(fc.integer(), { maxLength: 2 }));
const verb = fc.constantFrom("save", "reload", "regenerate", "destroy", "touch", "null");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("set" as const), key, value }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("delete" as const), key }) },
  { weight: 3, arbitrary: fc.record({ do: verb as fc.Arbitrary<"save"> }) },
);

/** Does one step of a handler; a session that is not there is left alone. */
async function take(request: Request, each: Step): Promise<void> {
  const one = (request as { session?: Request["session"] }).session;
  if (!one) return;
  const fields = one as unknown as Record<string, unknown>;
  if (each.do === "set") fields[each.key] = each.value;
  else if (each.do === "delete") Reflect.deleteProperty(fields, each.key);
  else if (each.do === "touch") one.touch();
  else if (each.do === "null") Object.assign(request, { session: null });
  else {
    // An empty one express-session would store without a cookie to find it by.
    if (each.do === "save") fields.saved = true;
    const method = each.do;
    await new Promise<unknown>((done) => void one[method](done));
  }
}

/** A browser of an app whose handler does the steps that it is sent, and answers with what its session then holds. */
async function browserOf(middleware: RequestHandler): Promise<Browser> {
  const app = express();
  app.use(middleware);
  app.get("/", async (request, response) => {
    for (const each of JSON.parse(request.query.steps as string) as Step[]) await take(request, each);
    const { cookie: _cookie, ...fields } = ((request as { session?: object }).session ?? { none: true }) as {
      cookie?: unknown;
    };
    response.json(fields);
  });
  return new Browser(await serve(app));
}

const options = fc.record({
  rolling: fc.boolean(),
  saveUninitialized: fc.boolean(),
  unset: fc.constantFrom("keep" as const, "destroy" as const),
});

it("whatever a browser's requests do one after the other, session() and express-session show them the same", async () => {
  await fc.assert(
    fc.asyncProperty(options, fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 6 }), async (given, requests) => {
      const common = { secret: "s", resave: false, ...given };
      const browsers = [
        await browserOf(expressSession(common)),
        await browserOf(session({ client, prefix: uniquePrefix(), ...common })),
      ];
      for (const steps of requests) {
        const path = `/?steps=${encodeURIComponent(JSON.stringify(steps))}`;
        const [theirs, ours] = await Promise.all(browsers.map((browser) => browser.get(path)));
        expect(ours?.text).toBe(theirs?.text);
        // Only session() takes the cookie of an ended session from the browser.
        const sets = ours?.cookies.filter((line) => !line.includes("Expires=Thu, 01 Jan 1970"));
        expect(sets).toHaveLength(theirs?.cookies.length ?? 0);
      }
    }),
    { numRuns: 60 },
  );
});
