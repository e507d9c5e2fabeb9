import { execFile } from "node:child_process";
import { promisify } from "node:util";
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

/** Runs a `docker-compose` command on the project under test and returns what it printed. */
export async function compose(...args: string[]): Promise<string> {
  const { stdout } = await run("docker-compose", args, { cwd: repository, timeout: 60_000 });
  return stdout;
}

/** Every container of the project under test, those that have ended too, by the name of its service. */
export async function containers(): Promise<Map<string, Container>> {
  const project = `label=com.docker.compose.project=${setting("COMPOSE_PROJECT_NAME")}`;
  const ids = await run("docker", ["ps", "--all", "--quiet", "--filter", project]);
  const { stdout } = await run("docker", ["inspect", ...ids.stdout.split("\n").filter(Boolean)]);
  const found = JSON.parse(stdout) as Container[];
  return new Map(found.map((container) => [container.Config.Labels["com.docker.compose.service"] ?? "", container]));
}

export async function container(service: string): Promise<Container> {
  const found = (await containers()).get(service);
  if (found === undefined) throw new Error(`There is no container of ${service}.`);
  return found;
}

/** A variable that `npm run test:compose` sets. */
export function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: run these tests with npm run test:compose.`);
  return value;
}
