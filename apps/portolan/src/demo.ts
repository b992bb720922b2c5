/**
 * What `portolan up` serves where nothing is configured: three reference servers over stdio, and two replicas of a small
 * HTTP server that are announced in a registry file.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { failed, type Failure } from "./Failure.ts"

/** Text of the demo's configuration. */
export interface Demo {
  readonly directory: string
  readonly text: string
}

const program = (specifier: string): string => fileURLToPath(import.meta.resolve(specifier))

const attempt = <A>(what: string, run: () => Promise<A>): Effect.Effect<A, Failure> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => failed(`demo: ${what}: ${cause instanceof Error ? cause.message : String(cause)}`)
  })

/** Starts a replica on a free port; it ends with the scope, and with this process whatever ends that. */
const replica = (id: string): Effect.Effect<string, Failure, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [program("@portolan/example-weather"), "--id", id, "--with-parent"], {
          stdio: ["pipe", "pipe", "inherit"],
          // Ctrl-C goes to the gateway alone, which ends them once calls in flight are done.
          detached: true
        })
      ),
      (child) => Effect.sync(() => child.kill())
    ),
    (child) =>
      Effect.callback<string, Failure>((resume) => {
        let said = ""
        child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
          // Only its first line is of interest.
          if (said.length > 1000) return
          said += chunk
          const [, url] = /listening on (\S+)\n/.exec(said) ?? []
          if (url !== undefined) resume(Effect.succeed(url))
        })
        child.once("error", (error) => resume(Effect.fail(failed(`demo: ${id}: ${error.message}`))))
        child.once("exit", (code) => resume(Effect.fail(failed(`demo: ${id} ended at its start with code ${code}`))))
      })
  )

const prefix = "portolan-demo-"

/** Names of folders say whose they are: the machine (containers may share a folder for temporary files), then the process. */
const folderOf = (pid: number): string => `${prefix}${Os.hostname()}-${pid}-`

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It is there, and somebody else's.
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

/** Removes what demos left behind that were killed. */
const clean = async (): Promise<void> => {
  for (const name of await Fs.readdir(Os.tmpdir())) {
    const pid = Number(/-(\d+)-\w+$/.exec(name)?.[1])
    if (pid > 0 && name.startsWith(folderOf(pid)) && !isAlive(pid)) {
      await Fs.rm(Path.join(Os.tmpdir(), name), { recursive: true, force: true })
    }
  }
}

/** Starts the replicas, announces them, and writes the configuration. */
export const make: Effect.Effect<Demo, Failure, Scope.Scope> = Effect.gen(function*() {
  // What is another user's stays.
  yield* Effect.ignore(attempt("left behind", clean))
  const directory = yield* Effect.acquireRelease(
    attempt("no folder to work in", () => Fs.mkdtemp(Path.join(Os.tmpdir(), folderOf(process.pid)))),
    (directory) => Effect.ignore(attempt("left behind", () => Fs.rm(directory, { recursive: true, force: true })))
  )
  const ids = ["weather-a", "weather-b"]
  const urls = yield* Effect.all(ids.map(replica), { concurrency: "unbounded" })
  const services = ids.map((id, index) => ({
    id,
    service: "weather",
    version: "1.4.0",
    endpoint: { transport: "streamable-http", url: urls[index] },
    capabilities: ["weather.current", "weather.forecast"]
  }))
  const files = Path.join(directory, "files")
  yield* attempt("can't write its files", async () => {
    await Fs.mkdir(files)
    await Fs.writeFile(
      Path.join(files, "welcome.txt"),
      "This folder belongs to the demo of Portolan and goes with it.\n"
    )
    await Fs.writeFile(Path.join(directory, "demo.json"), `${JSON.stringify({ services }, null, 2)}\n`)
  })

  const node = process.execPath
  const server = (name: string) => program(`@modelcontextprotocol/server-${name}/dist/index.js`)
  return {
    directory,
    text: JSON.stringify({
      registries: [{ type: "file", name: "demo.json", path: "demo.json" }],
      mcpServers: {
        everything: { command: node, args: [server("everything"), "stdio"] },
        filesystem: { command: node, args: [server("filesystem"), files] },
        memory: {
          command: node,
          args: [server("memory")],
          env: { MEMORY_FILE_PATH: Path.join(directory, "memory.jsonl") }
        }
      }
    })
  }
})
