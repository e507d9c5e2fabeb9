import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findChromium } from "../infra/local/prerequisites.mjs";
import { demoAccount } from "./harness/client.ts";
import { eventually } from "./harness/eventually.ts";
import { repository, type Stack, startSharedDatabase, startStack } from "./harness/stack.ts";

const screenshots = join(repository, ".lockstep/report/screenshots");

let database: Awaited<ReturnType<typeof startSharedDatabase>>;
let stack: Stack;
let browser: Browser;
beforeAll(async () => {
  await mkdir(screenshots, { recursive: true });
  database = await startSharedDatabase();
  stack = await startStack({ sessionStack: "middleware", databaseUrl: database.url });
  browser = await startBrowser();
});
afterAll(async () => {
  await browser.close();
  await stack.stop();
  await database.stop();
});

async function startBrowser(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined)
    throw new Error("No Chromium was found: install it, or name one with CHROMIUM_PATH.");
  return chromium.launch({
    executablePath,
    // Chromium's sandbox refuses to run as root; the other switches keep it from talking to anyone but our servers.
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Opens a browser window for `visit` and fails if anything in it went wrong: errors, refused content, missing files. */
async function inWindow(options: BrowserContextOptions, visit: (page: Page) => Promise<void>): Promise<void> {
  const context = await browser.newContext({ baseURL: stack.nginx, ...options });
  context.setDefaultTimeout(15_000);
  const problems = watchForProblems(context);
  try {
    await visit(await context.newPage());
  } finally {
    await context.close();
  }
  expect(problems).toEqual([]);
}

function watchForProblems(context: BrowserContext): string[] {
  const problems: string[] = [];
  context.on("console", (message) => {
    // What the Content Security Policy refuses is such a message. So is a form that comes back with a status of 422,
    // which is as it should be; files that fail to load are found below.
    const isStatus = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !isStatus) problems.push(message.text());
  });
  context.on("weberror", (error) => problems.push(String(error.error())));
  context.on("requestfailed", (request) => {
    const reason = request.failure()?.errorText ?? "failed";
    // What a page still loads when the visitor goes on is aborted; that is no failure.
    if (reason !== "net::ERR_ABORTED") problems.push(`${request.url()}: ${reason}`);
  });
  context.on("response", (response) => {
    const isAsset = new URL(response.url()).pathname.startsWith("/assets/");
    if (isAsset && response.status() >= 400) problems.push(`${response.url()} answered ${response.status()}`);
    // An asset answered by a web server takes a turn of the round robin, and every reload would show the same server.
    if (isAsset && "x-served-by" in response.headers()) problems.push(`${response.url()} was not answered by nginx`);
  });
  return problems;
}

async function signIn(page: Page): Promise<void> {
  await page.goto("/sign-in");
  await page.getByLabel("Username").fill(demoAccount.username);
  await page.getByLabel("Password").fill(demoAccount.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

const unbrokenWord = "unbroken-in-a-very-long-word-without-a-single-space-that-has-to-break-somewhere";

/** Gives the pages of whoever is signed in something to show, a word that is hard to break among it. */
async function fillPages(page: Page): Promise<void> {
  await page.goto("/profile/edit");
  for (const field of ["Headline", "City"]) await page.getByLabel(field).fill(unbrokenWord);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("status").waitFor();
  await page.goto("/cart");
  for (const item of ["notebook", unbrokenWord]) {
    await page.getByLabel("Item").fill(item);
    await page.getByRole("button", { name: "Add to cart" }).click();
    await page.getByText(item, { exact: true }).waitFor();
  }
  await page.goto("/preferences");
  await page.getByLabel("Key").fill("colour");
  await page.getByLabel("Value").fill("blue");
  await page.getByRole("button", { name: "Set", exact: true }).click();
  await page.getByText("colour", { exact: true }).waitFor();
}

/** The name in the badge of the page. */
async function answeredBy(page: Page): Promise<string> {
  return (await page.locator(".badge .answered strong").textContent()) ?? "";
}

describe.each(["with", "without"])("in a browser %s JavaScript", (scripts) => {
  const javaScriptEnabled = scripts === "with";

  test("someone signs in, edits a profile, fills a cart, and each reload shows the same from another server", async () => {
    await inWindow({ javaScriptEnabled }, async (page) => {
      await signIn(page);

      const navigation = page.getByRole("navigation");
      await navigation.getByRole("link", { name: "Profile" }).click();
      await page.getByRole("link", { name: "Edit profile" }).click();
      await page.getByLabel("Name").fill(`Alice ${scripts} JavaScript`);
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByRole("heading", { name: `Alice ${scripts} JavaScript` }).waitFor();

      await navigation.getByRole("link", { name: "Cart" }).click();
      for (const item of ["notebook", "pencil"]) {
        await page.getByLabel("Item").fill(item);
        await page.getByRole("button", { name: "Add to cart" }).click();
        await page.getByText(item, { exact: true }).waitFor();
      }

      for (const path of ["/cart", "/profile"]) {
        await page.goto(path);
        const servers = [await answeredBy(page)];
        for (let reload = 0; reload < 6; reload += 1) {
          await page.reload();
          servers.push(await answeredBy(page));
          const shown = path === "/cart" ? ["notebook", "pencil"] : [`Alice ${scripts} JavaScript`];
          for (const text of shown) expect(await page.getByText(text, { exact: true }).isVisible()).toBe(true);
        }
        expect(new Set(servers.slice(0, 3)).size).toBe(3);
        expect(servers).toEqual(servers.map((_, turn) => servers[turn % 3]));
        const hops = await page.locator(".badge .hops li").allTextContents();
        expect(servers.slice(-hops.length)).toEqual(hops.slice(-servers.length));
      }

      await page.getByRole("button", { name: "Sign out" }).click();
      await navigation.getByRole("link", { name: "Sign in" }).waitFor();
      await page.goto("/cart");
      expect(new URL(page.url()).pathname).toBe("/sign-in");
    });
  });

  test("someone finds a person, turns the pages, and sees their own card change, by keyboard alone", async () => {
    await inWindow({ javaScriptEnabled }, async (page) => {
      await signIn(page);
      await page.getByRole("navigation").getByRole("link", { name: "People" }).press("Enter");
      const cards = page.locator(".card");
      await page.getByRole("link", { name: "Next" }).press("Enter");
      await page.getByRole("link", { name: "Previous" }).waitFor();
      const second = await cards.first().textContent();
      await page.getByRole("link", { name: "Previous" }).press("Enter");
      await page.waitForURL(/before=/);
      expect(await cards.first().textContent()).not.toBe(second);

      await page.getByLabel("Name, headline or city").fill("zoe o'bri");
      await page.keyboard.press("Enter");
      await page.getByRole("link", { name: "Zoë O’Brien" }).press("Enter");
      await page.getByRole("heading", { name: "Zoë O’Brien" }).waitFor();
      expect(await page.getByRole("link", { name: "Edit profile" }).count()).toBe(0);

      const headline = `Bookkeeper ${scripts} JavaScript`;
      await page.goto("/people?q=bookkeeper");
      await cards.getByRole("link", { name: "Edit profile" }).press("Enter");
      await page.getByLabel("Headline").fill(headline);
      await page.keyboard.press("Enter");
      await page.getByRole("status").waitFor();
      for (let server = 0; server < 3; server += 1) {
        await page.goto("/people?q=bookkeeper");
        expect(await cards.getByText(headline, { exact: true }).isVisible()).toBe(true);
      }
    });
  });

  test("someone sees that a profile came from Redis, and how often that happens", async () => {
    await inWindow({ javaScriptEnabled }, async (page) => {
      await signIn(page);
      const isFromRedis = async () => {
        await page.goto("/profile");
        return page.getByRole("link", { name: "from redis" }).isVisible();
      };
      await eventually("the profile is read from Redis", isFromRedis, { withinMs: 20_000 });
      await page.getByRole("link", { name: "from redis" }).click();
      await page.getByRole("heading", { name: "Cache" }).waitFor();
      const counted = new Map<string, number>();
      for (let server = 0; server < 3; server += 1) {
        await page.reload();
        expect(await page.getByText("since it started").textContent()).toContain(await answeredBy(page));
        counted.set(await answeredBy(page), Number(await page.locator("[data-count=hits]").textContent()));
      }
      expect(counted.size).toBe(3);
      expect(Math.max(...counted.values())).toBeGreaterThan(0);
    });
  });

  test("someone sees whether the cache pays: in words, drawn, and in numbers", async () => {
    await inWindow({ javaScriptEnabled }, async (page) => {
      // A page of people for each server.
      for (let server = 0; server < 3; server += 1) await page.goto("/people");
      await page.goto("/cache");
      await page.getByRole("heading", { name: "Does it pay?" }).waitFor();
      expect(await page.locator(".verdict").textContent()).toMatch(/Each read took .+ on average/);
      const drawn = page.getByRole("img", { name: "Where reads were answered" });
      expect(await drawn.isVisible()).toBe(true);
      expect(await drawn.locator("rect").count()).toBeGreaterThan(0);
      const reads = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "reads", exact: true }) });
      expect(Number(await reads.getByRole("cell").textContent())).toBeGreaterThan(0);
    });
  });

  test("a form that is not right comes back with what was typed and what to change", async () => {
    await inWindow({ javaScriptEnabled }, async (page) => {
      await page.goto("/sign-up");
      await page.getByLabel("Username").fill("a!");
      await page.getByLabel("Password").fill("short");
      await page.getByRole("button", { name: "Open an account" }).click();
      await page.locator(".message").first().waitFor();
      expect(await page.getByLabel("Username").inputValue()).toBe("a!");
      expect(await page.getByLabel("Password").inputValue()).toBe("");
      expect(await page.locator(".message").count()).toBe(2);
    });
  });
});

const viewports = { desktop: { width: 1_280, height: 800 }, mobile: { width: 390, height: 844 } };

describe.each(["desktop", "mobile"] as const)("on a %s screen", (screen) => {
  test.for(["light", "dark"] as const)("no page is wider than the screen, in %s colours", async (colorScheme) => {
    await inWindow({ viewport: viewports[screen], colorScheme }, async (page) => {
      const look = async (name: string) => {
        const overflow = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        expect(overflow, name).toBe(0);
        await page.screenshot({ path: join(screenshots, `${name}-${screen}-${colorScheme}.png`), fullPage: true });
      };
      const visit = async (path: string) => {
        await page.goto(path);
        await look(path === "/" ? "home" : path.slice(1).replaceAll("/", "-"));
      };
      for (const path of ["/", "/people", "/cache", "/sign-in", "/sign-up", "/no-such-page"]) await visit(path);
      await page.goto("/people?q=zoe+brien");
      await page.getByRole("link", { name: "Zoë O’Brien" }).click();
      await page.getByRole("heading", { name: "Zoë O’Brien" }).waitFor();
      await look("person");
      await page.goto("/sign-up");
      await page.getByRole("button", { name: "Open an account" }).click();
      await page.locator(".message").first().waitFor();
      await look("sign-up-refused");
      await signIn(page);
      await fillPages(page);
      for (const path of ["/cart", "/preferences", "/profile", "/profile/edit"]) await visit(path);
      await page.goto("/people?q=unbroken");
      await look("people-own");
    });
  });
});
