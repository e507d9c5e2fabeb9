import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { eventually } from "./eventually.ts";
import { repository } from "./stack.ts";

/** What the engine says about a container; only what the tests look at. */
export interface Container {
  readonly Id: string;
  readonly State: {
    readonly Status: string;
    readonly Pid: number;
    readonly ExitCode: number;
    readonly StartedAt: string;
    readonly FinishedAt: string;
    readonly Health?: { readonly Status: string };
  };
  readonly RestartCount: number;
  readonly NetworkSettings: { readonly Ports: Readonly<Record<string, readonly { readonly HostIp: string }[] | null>> };
  readonly Config: { readonly Labels: Readonly<Record<string, string>> };
}

const run = promisify(execFile);

/** The containers of one set of compose files and settings. */
export class Project {
  readonly #env: Readonly<Record<string, string>>;

  /** @param env variables beside those of `npm run test:compose`, whose project is meant without any */
  constructor(env: Readonly<Record<string, string>> = {}) {
    this.#env = env;
  }

  /** Runs a `docker-compose` command on it, for so many minutes at most, and returns what it printed. */
  async compose(args: readonly string[], minutes = 1): Promise<string> {
    const env = { ...process.env, ...this.#env };
    const { stdout } = await run("docker-compose", args, { cwd: repository, env, timeout: minutes * 60_000 });
    return stdout;
  }

  /** All of them, those that have ended too, by the name of the service. */
  async containers(): Promise<Map<string, Container>> {
    const project = `label=com.docker.compose.project=${this.setting("COMPOSE_PROJECT_NAME")}`;
    const ids = await run("docker", ["ps", "--all", "--quiet", "--filter", project]);
    const { stdout } = await run("docker", ["inspect", ...ids.stdout.split("\n").filter(Boolean)]);
    const found = JSON.parse(stdout) as Container[];
    return new Map(found.map((container) => [container.Config.Labels["com.docker.compose.service"] ?? "", container]));
  }

  async container(service: string): Promise<Container> {
    const found = (await this.containers()).get(service);
    if (found === undefined) throw new Error(`There is no container of ${service}.`);
    return found;
  }

  /** All run and pass their health checks, but for those that do their work once and end. */
  async untilHealthy(): Promise<void> {
    const isFine = ({ State }: Container) =>
      State.Health === undefined
        ? State.Status === "exited" && State.ExitCode === 0
        : State.Health.Status === "healthy";
    const healthy = async () => [...(await this.containers()).values()].every(isFine);
    await eventually("all containers are healthy", healthy, { withinMs: 90_000, everyMs: 200 });
  }

  /** The address of what is published on the port that a variable names. */
  origin(variable: string): string {
    return `http://localhost:${this.setting(variable)}`;
  }

  /** A variable of this project. */
  setting(name: string): string {
    return this.#env[name] ?? setting(name);
  }
}

/** A variable that `npm run test:compose` sets. */
function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run these tests with npm run test:compose.`);
  return value;
}
