import type { Client } from "../client.ts";
import { eventually } from "../eventually.ts";
import type { SessionFleet } from "./fleet.ts";
import { change, sessionAt, signedIn } from "./requests.ts";

interface Person {
  readonly name: string;
  readonly client: Client;
  readonly tabs: Tab[];
}

/** One of a person's tabs: it counts in a field of its own. */
interface Tab {
  readonly field: string;
  /** How many times its count went up, by what the servers answered. */
  acknowledged: number;
}

/** People who use the servers all the time, each from several tabs at once, which bounce between the servers. */
export class Traffic {
  readonly #fleet: SessionFleet;
  readonly #people: Person[] = [];
  /** How often somebody was found signed out. */
  logouts = 0;
  /** Answers that are neither a success nor a sign-out. */
  readonly failures: string[] = [];
  #isPaused = true;
  #running: Promise<void>[] = [];

  private constructor(fleet: SessionFleet) {
    this.#fleet = fleet;
  }

  static async start(fleet: SessionFleet, size: { people: number; tabs: number }): Promise<Traffic> {
    const traffic = new Traffic(fleet);
    for (let number = 1; number <= size.people; number += 1) {
      const name = `person-${number}`;
      const client = await fleet.use((url) => signedIn(url, { user: name }));
      const tabs = Array.from({ length: size.tabs }, (_, index) => ({ field: `tab-${index}`, acknowledged: 0 }));
      traffic.#people.push({ name, client, tabs });
    }
    traffic.#resume();
    return traffic;
  }

  get clients(): readonly Client[] {
    return this.#people.map(({ client }) => client);
  }

  /** Waits until every tab has been served by each server, or nearly so, since this was asked; or until somebody is not. */
  async goneAround(): Promise<void> {
    const tabs = this.#people.flatMap((person) => person.tabs);
    const goals = tabs.map(({ acknowledged }) => acknowledged + 2 * this.#fleet.urls.length);
    const isThere = ({ acknowledged }: Tab, index: number) => acknowledged >= (goals[index] ?? 0);
    await eventually(
      "everybody has been everywhere",
      () => tabs.every(isThere) || this.logouts > 0 || this.failures.length > 0,
    );
  }

  /** How many changes were acknowledged and are not there. The traffic stands still meanwhile. */
  async lostChanges(): Promise<number> {
    await this.pause();
    let lost = 0;
    for (const { client, tabs } of this.#people) {
      const session = await this.#fleet.use((url) => sessionAt(url, client));
      for (const { field, acknowledged } of tabs) lost += acknowledged - Number(session?.[field] ?? 0);
    }
    this.#resume();
    return lost;
  }

  async pause(): Promise<void> {
    this.#isPaused = true;
    await Promise.all(this.#running);
  }

  #resume(): void {
    this.#isPaused = false;
    this.#running = this.#people.flatMap((person) => person.tabs.map((tab) => this.#run(person, tab)));
  }

  async #run({ name, client }: Person, tab: Tab): Promise<void> {
    while (!this.#isPaused) {
      const { status, text } = await this.#fleet.use((url) => change(url, client, { add: { [tab.field]: 1 } }));
      if (status === 200) tab.acknowledged += 1;
      else if (status === 401) this.logouts += 1;
      else this.failures.push(`${name}: ${status} ${text}`);
      const session = await this.#fleet.use((url) => sessionAt(url, client));
      if (session?.["user"] !== name) this.logouts += 1;
    }
  }
}
