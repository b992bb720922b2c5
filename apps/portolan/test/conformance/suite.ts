/**
 * The official conformance suite, run as a process, and what it found.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { directory } from "../process.ts"

const root = Path.dirname(fileURLToPath(import.meta.resolve("@modelcontextprotocol/conformance/package.json")))

/** Each scenario starts the same processes anew: Node keeps what it compiled for them. */
const compiled = fileURLToPath(new URL("../../node_modules/.cache/conformance", import.meta.url))

export const revisions = ["2025-11-25", "2026-07-28"] as const
export type Revision = (typeof revisions)[number]

export type Leg = "client" | "server"

/** What a revision asks of a leg: each has to pass, or is only reported. */
export interface Requirements {
  readonly required: ReadonlyArray<string>
  readonly notScored: ReadonlyArray<string>
}

/** Reads the lists of the suite itself; they are YAML of the plainest kind. */
export const requirements = (revision: Revision, leg: Leg): Requirements => {
  const text = Fs.readFileSync(Path.join(root, "requirements", `${revision}.yaml`), "utf8")
  const section = (name: string) => text.split(new RegExp(`^${name}:\\n`, "m"))[1]?.split(/^\w/m)[0] ?? ""
  return {
    required: Array.from(section(leg).matchAll(/^ {2}- (\S+)$/gm), ([, name]) => name!),
    notScored: Array.from(
      section("not_scored").matchAll(/^ {2}- scenario: (\S+)\n {4}leg: (\w+)$/gm),
      ([, name, of]) => of === leg ? [name!] : []
    ).flat()
  }
}

/** What the suite checked. */
export interface Check {
  readonly id: string
  readonly name: string
  readonly status: "SUCCESS" | "FAILURE" | "WARNING" | "SKIPPED" | "INFO"
  readonly errorMessage?: string
}

export interface Findings {
  /** The checks of each scenario that was run. */
  readonly checks: ReadonlyMap<string, ReadonlyArray<Check>>
  /** What it printed, which tells why if something was not run at all. */
  readonly output: string
}

/** The folder of a scenario ends with the time it was run at; a `/` in its name makes a folder of its own. */
const named = /^(?:server-)?(.*)-\d{4}-\d\d-\d\dT[\d-]+Z$/

const read = (folder: string): Findings["checks"] => {
  const found = new Map<string, ReadonlyArray<Check>>()
  for (const path of Fs.readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    const scenario = named.exec(Path.dirname(path))?.[1]
    if (Path.basename(path) !== "checks.json" || scenario === undefined) continue
    found.set(scenario, JSON.parse(Fs.readFileSync(Path.join(folder, path), "utf8")))
  }
  return found
}

/** Runs it with these arguments, and reads what it left. */
export const run = (args: ReadonlyArray<string>, env: Record<string, string> = {}): Effect.Effect<Findings> =>
  Effect.scoped(Effect.gen(function*() {
    const folder = yield* directory()
    const output = yield* Effect.callback<string>((resume) => {
      const child = spawn(process.execPath, [Path.join(root, "dist", "index.js"), ...args, "-o", folder], {
        env: { ...process.env, NODE_COMPILE_CACHE: compiled, ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let text = ""
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
      child.once("close", () => resume(Effect.succeed(text)))
      return Effect.sync(() => child.kill("SIGKILL"))
    })
    return { checks: read(folder), output }
  }))

/** A check that failed or warned. */
export interface Objection {
  readonly id: string
  readonly why: string
}

/** What speaks against a scenario: its checks that failed or warned, or that nothing was checked. */
export const objections = ({ checks, output }: Findings, scenario: string): ReadonlyArray<Objection> => {
  const found = checks.get(scenario)
  if (found === undefined) return [{ id: "not run", why: output.slice(-2_000) }]
  const against = found.filter(({ status }) => status === "FAILURE" || status === "WARNING")
  return against.length === 0 && !found.some(({ status }) => status === "SUCCESS")
    ? [{ id: "nothing checked", why: JSON.stringify(found) }]
    : against.map(({ errorMessage, id, status }) => ({ id, why: `${status}: ${errorMessage ?? ""}` }))
}
