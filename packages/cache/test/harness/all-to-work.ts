import { expect } from "vitest";
import type { Collection } from "../../src/index.ts";
import type { Source } from "./source.ts";
import { until } from "./until.ts";

const nastyIds = ["{", "}", "{}", "%7b", "a:pending", "*", "ä\u0000😀", "\ud800", "\ufffd", "a b\r\n"];

/** All that a collection does, once. */
export async function expectAllToWork(things: Collection<unknown>, source: Source): Promise<void> {
  for (const id of nastyIds) source.rows.set(id, `value of ${id}`);
  const values = nastyIds.map((id) => JSON.parse(JSON.stringify(`value of ${id}`)) as unknown);
  expect(await things.getMany(nastyIds)).toEqual(values);
  await until(() => expect(things.counts().fills).toBe(nastyIds.length));
  expect(await things.getMany(nastyIds)).toEqual(values);
  expect(things.counts().hits).toBe(nastyIds.length);

  await Promise.all(nastyIds.map((id) => things.update(id, source.write(id, `new value of ${id}`))));
  expect(await things.getMany(nastyIds)).toEqual(nastyIds.map((id) => `new value of ${id}`));
  expect(things.counts().hits).toBe(2 * nastyIds.length);

  await things.invalidateMany(nastyIds.slice(0, 5));
  await things.clear();
  expect((await things.lookup(nastyIds[7] ?? "")).from).toBe("source");
}
