import { expect, test } from "vitest";
import { readHops } from "../src/servers/hops.ts";

test("hops are read in the order they were written, wherever the cookie stands", () => {
  expect(readHops("lockstep.hops=web-1.web-2.web-3")).toEqual(["web-1", "web-2", "web-3"]);
  expect(readHops("a=1; lockstep.hops=web-2; b=2")).toEqual(["web-2"]);
});

test.for([
  undefined,
  "",
  "other=web-1",
  "not-lockstep.hops=web-1",
  "lockstep.hops=",
  "lockstep.hops=web-1..web-2",
  "lockstep.hops=web 1",
  "lockstep.hops=<b>web-1</b>",
  "lockstep.hops=%3Cscript%3E",
  `lockstep.hops=${"x".repeat(33)}`,
  `lockstep.hops=${Array(9).fill("web-1").join(".")}`,
])("the cookie header %j holds no hops", (header) => {
  expect(readHops(header)).toEqual([]);
});
