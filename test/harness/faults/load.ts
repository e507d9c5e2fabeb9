import { setTimeout as delay } from "node:timers/promises";
import { type Answer, Client } from "../client.ts";
import type { Stack } from "../stack.ts";
import { Tally } from "./tally.ts";

/** How long a person thinks between two requests, in ms. */
const thinkMs = 40;

/** After so many rounds a person signs out and in again. */
const roundsPerSession = 6;

/** What a person knows that must be so: by the servers' own answers. */
interface Person {
  readonly username: string;
  readonly password: string;
  readonly id: string;
  client: Client;
  /** Whether a sign-out was sent: nobody knows of the session until one has signed in again. */
  isOut: boolean;
  /** Of the present session: what was answered to be in the cart. */
  cart: Set<string>;
  /** The version of the profile that was answered to be there, and the last one that was sent. */
  version: number;
  lastSent: number;
  /** How often others were told that this profile was looked at. */
  views: number;
  /** Cookies of sessions that were ended, by the servers' answer. */
  readonly gone: Client[];
}

/** People who use the app through nginx, one request at a time each, and check every answer against what they were told before. */
export class Load {
  readonly tally = new Tally();
  readonly #stack: Pick<Stack, "nginx" | "servers">;
  readonly #people: Person[] = [];
  readonly #over = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #serial = 0;
  #unsure = 0;

  private constructor(stack: Pick<Stack, "nginx" | "servers">) {
    this.#stack = stack;
  }

  static async start(stack: Pick<Stack, "nginx" | "servers">, people: number): Promise<Load> {
    const load = new Load(stack);
    for (let number = 1; number <= people; number += 1) load.#people.push(await load.#newPerson(number));
    load.#running = Promise.all(load.#people.map((person) => load.#live(person)));
    return load;
  }

  /** Ends the load, when what is under way is answered, and looks on every server for what was lost or has come back. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#running;
    for (const person of this.#people) {
      for (const server of this.#stack.servers) await this.#audit(person, server);
    }
  }

  /** So many sessions may be there: one of each person, and those whose sign-in or sign-out a fault left unanswered. */
  get sessions(): number {
    return this.#people.length + this.#unsure;
  }

  #isOver(): boolean {
    return this.#over.signal.aborted;
  }

  async #newPerson(number: number): Promise<Person> {
    const username = `person-${number}-${process.pid}-${Math.floor(performance.now())}`.slice(0, 32);
    const password = "a password of a throwaway person";
    const client = new Client();
    const server = this.#stack.servers[0] ?? "";
    const answer = await client.request("POST", `${server}/api/sign-up`, { json: { username, password } });
    if (answer.status !== 201) throw new Error(`Signing up answered ${answer.status}: ${answer.text}`);
    const { body } = await client.request("GET", `${server}/api/profile`);
    const { id } = body as { id: string };
    return {
      username,
      password,
      id,
      client,
      isOut: false,
      cart: new Set(),
      version: 0,
      lastSent: 0,
      views: 0,
      gone: [],
    };
  }

  async #live(person: Person): Promise<void> {
    for (let round = 1; !this.#isOver(); round += 1) {
      for (const step of [this.#fillCart, this.#readCart, this.#changeProfile, this.#readProfile, this.#beLookedAt]) {
        if (this.#isOver()) return;
        await step.call(this, person);
        await delay(thinkMs);
      }
      if (round % roundsPerSession === 0) await this.#signOutAndIn(person);
      await this.#tryGoneSession(person);
    }
  }

  /** In two tabs at the same moment, which nginx sends to two servers. */
  async #fillCart(person: Person): Promise<void> {
    const tabs = [1, 2].map(async () => {
      this.#serial += 1;
      const item = `item ${this.#serial}`;
      const answer = await this.#ask(person.client, "POST", "/api/cart", { item });
      if (answer?.status === 201) person.cart.add(item);
      return answer;
    });
    const answers = await Promise.all(tabs);
    await this.#unlessSignedOut(
      person,
      answers.find((answer) => answer?.status === 401),
    );
  }

  async #readCart(person: Person): Promise<void> {
    const answer = await this.#ask(person.client, "GET", "/api/cart");
    if (answer?.status === 200) {
      const { items } = answer.body as { items: readonly string[] };
      this.tally.judge(
        "stale",
        [...person.cart].every((item) => items.includes(item)),
        "a cart",
      );
    }
    await this.#unlessSignedOut(person, answer);
  }

  async #changeProfile(person: Person): Promise<void> {
    person.lastSent += 1;
    const version = person.lastSent;
    const answer = await this.#ask(person.client, "PATCH", "/api/profile", { headline: `${version}` });
    if (answer?.status === 200) person.version = version;
    await this.#unlessSignedOut(person, answer);
  }

  async #readProfile(person: Person): Promise<void> {
    const answer = await this.#ask(person.client, "GET", "/api/profile");
    if (answer?.status === 200) {
      const { username, headline } = answer.body as { username: string; headline: string };
      this.tally.judge("foreign", username === person.username, username);
      const isNow = Number(headline) >= person.version && Number(headline) <= person.lastSent;
      this.tally.judge("stale", isNow, `a profile of version ${headline} after ${person.version}`);
    }
    await this.#unlessSignedOut(person, answer);
  }

  async #beLookedAt(person: Person): Promise<void> {
    const answer = await this.#ask(new Client(), "GET", `/api/people/${person.id}`);
    if (answer?.status !== 200) return;
    const { views } = answer.body as { views?: number | null };
    if (typeof views !== "number") return;
    this.tally.judge("lost", views > person.views, `${views} looks after ${person.views}`);
    person.views = views;
  }

  async #signOutAndIn(person: Person): Promise<void> {
    const thief = person.client.copy();
    person.isOut = true;
    const answer = await this.#ask(person.client, "POST", "/api/sign-out");
    if (answer?.status === 204) {
      person.gone.push(thief);
      await this.#tryGoneSession(person);
    } else this.#unsure += 1;
    await this.#signIn(person);
  }

  async #signIn(person: Person): Promise<void> {
    const { username, password } = person;
    while (!this.#isOver()) {
      const client = new Client();
      const answer = await this.#ask(client, "POST", "/api/sign-in", { username, password });
      if (answer?.status === 200) {
        person.client = client;
        person.isOut = false;
        person.cart = new Set();
        return;
      }
      this.#unsure += 1;
      await delay(thinkMs);
    }
  }

  async #tryGoneSession({ gone }: Person): Promise<void> {
    const thief = gone[Math.floor(Math.random() * gone.length)];
    if (thief === undefined) return;
    const answer = await this.#ask(thief, "GET", "/api/me");
    if (answer?.status === 200 || answer?.status === 401)
      this.tally.judge("revived", answer.status === 401, "under load");
  }

  async #unlessSignedOut(person: Person, answer: Answer | undefined): Promise<void> {
    if (answer === undefined || answer.status >= 500) return;
    const isKnown = answer.status !== 401;
    this.tally.judge("signed out", isKnown, "under load");
    if (!isKnown) await this.#signIn(person);
  }

  async #ask(
    client: Client,
    method: "GET" | "POST" | "PATCH",
    path: string,
    json?: Readonly<Record<string, string>>,
  ): Promise<Answer | undefined> {
    const request = client.request(method, this.#stack.nginx + path, json === undefined ? {} : { json });
    return this.tally.time(request);
  }

  async #audit(person: Person, server: string): Promise<void> {
    for (const thief of person.gone) {
      const { status } = await thief.request("GET", `${server}/api/me`);
      this.tally.judge("revived", status === 401, "afterwards");
    }
    if (person.isOut) return;
    const cart = await person.client.request("GET", `${server}/api/cart`);
    this.tally.judge("signed out", cart.status === 200, `afterwards: ${cart.status}`);
    if (cart.status === 200) {
      const { items } = cart.body as { items: readonly string[] };
      this.tally.judge(
        "lost",
        [...person.cart].every((item) => items.includes(item)),
        "an item of a cart, afterwards",
      );
      const { body } = await person.client.request("GET", `${server}/api/profile`);
      this.tally.judge(
        "lost",
        Number((body as { headline: string }).headline) >= person.version,
        "a profile, afterwards",
      );
    }
  }
}
