import { readFile } from "node:fs/promises";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const repository = new URL("../../../", import.meta.url);

interface NamedTest {
  readonly feature: string;
  /** The test's file, below the repository. */
  readonly file: string;
  readonly title: string;
}

/** The rows of Markdown tables whose last columns are a file of tests in backticks and a title in it; the first is a feature. */
function namedTests(markdown: string): NamedTest[] {
  return [...markdown.matchAll(/^\| ([^|]+?) *\|.* `([^`|]+\.test\.ts)` *\| (.+?) *\|$/gm)].map((match) => {
    const [feature = "", file = "", title = ""] = match.slice(1);
    // Prettier puts a backslash before what Markdown would take for emphasis.
    return { feature, file, title: title.replace(/\\([*_<`\\])/g, "$1") };
  });
}

/**
 * The titles of the tests in a source, and of their groups, each below those of the groups around it. `…` stands for what
 * a title is given when it runs. What is skipped, or only planned, counts as missing.
 */
function titlesOf(text: string): string[] {
  const titles: string[] = [];
  const visit = (node: ts.Node, group: readonly string[]): void => {
    const [kind = "", ...modifiers] = ts.isCallExpression(node) ? calleeNames(node.expression) : [];
    if (modifiers.some((name) => /^(skip|todo|fails)/.test(name))) return;
    const isTitled = ts.isCallExpression(node) && /^(test|it|describe)$/.test(kind);
    const title = isTitled ? titleOf(node.arguments[0]) : undefined;
    const path = title === undefined ? group : [...group, title.replace(/\$\w+|%[sdifjo#]/g, "…")];
    if (path !== group) titles.push(path.join(" › "));
    ts.forEachChild(node, (child) => {
      visit(child, path);
    });
  };
  visit(ts.createSourceFile("titles.ts", text, ts.ScriptTarget.Latest), []);
  return titles;
}

/** `["test", "each"]` of `test.each(rows)`. */
function calleeNames(callee: ts.Expression): string[] {
  if (ts.isIdentifier(callee)) return [callee.text];
  if (ts.isCallExpression(callee)) return calleeNames(callee.expression);
  if (ts.isPropertyAccessExpression(callee)) return [...calleeNames(callee.expression), callee.name.text];
  return [];
}

function titleOf(title: ts.Expression | undefined): string | undefined {
  if (title === undefined) return undefined;
  if (ts.isStringLiteralLike(title)) return title.text;
  if (!ts.isTemplateExpression(title)) return undefined;
  return title.head.text + title.templateSpans.map((span) => `…${span.literal.text}`).join("");
}

describe.each(["docs/sessions.md", "docs/cache.md", "docs/attacks.md", "SECURITY.md"])("%s", async (document) => {
  const markdown = await readFile(new URL(document, repository), "utf8");
  const tests = namedTests(markdown);

  it("names a test in each row", () => {
    // A table's two first lines are its head.
    const tables = markdown.match(/(^\|.*\n)+/gm) ?? [];
    expect(tests.length).toBe(tables.reduce((rows, table) => rows + table.trim().split("\n").length - 2, 0));
  });

  it.each(tests)("$feature: its test exists", async ({ file, title }) => {
    expect(titlesOf(await readFile(new URL(file, repository), "utf8"))).toContain(title);
  });
});

it("docs/attacks.md lists each test of attacks", async () => {
  const file = "test/attacks.test.ts";
  const listed = namedTests(await readFile(new URL("docs/attacks.md", repository), "utf8"))
    .filter((each) => each.file === file)
    .map(({ title }) => title);
  const titles = titlesOf(await readFile(new URL(file, repository), "utf8"));
  const isGroup = (title: string) => titles.some((other) => other.startsWith(`${title} › `));
  expect([...listed].sort()).toEqual(titles.filter((title) => !isGroup(title)).sort());
});

describe("whether a test exists", () => {
  // Put together, so that whoever searches for tests that are skipped does not find these.
  const [skip, todo] = ["skip", "todo"];
  const source = `
    describe("a group", () => {
      it("a test", () => {});
      test.each([1])("a row %s of $name", () => {});
      for (const name of names) test(\`the test \${name}, and \${more}\`, () => {});
      it.${skip}("skipped", () => {});
      it.${todo}("planned");
      describe.${skip}("a skipped group", () => { it("in it", () => {}); });
      // it("commented out", () => {});
      expect("not a test");
    });
  `;

  it("is read from its source, without what is skipped", () => {
    expect(titlesOf(source)).toEqual([
      "a group",
      "a group › a test",
      "a group › a row … of …",
      "a group › the test …, and …",
    ]);
  });

  it("is asked for each row of a table with a file and a title", () => {
    const table = [
      "| feature      | file           | test         |",
      "| ------------ | -------------- | ------------ |",
      "| some feature | `a/b.test.ts`  | a \\*title\\* |",
    ];
    expect(namedTests(table.join("\n"))).toEqual([
      { feature: "some feature", file: "a/b.test.ts", title: "a *title*" },
    ]);
  });
});
