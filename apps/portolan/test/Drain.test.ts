/**
 * An instance that is to go finishes what it was given and gets nothing new, whichever way it is told: no call fails,
 * though none may be repeated.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { freePort, gateway, record, registry } from "./fleet.ts"
import * as Peers from "./peers.ts"
import { background, directory, portolan, until } from "./process.ts"
import { replica } from "./replicas.ts"

/** Longer than anything that isn't told how long calls take would wait by accident. */
const CallTime = 1_500
const callers = 8

const runs = (log: string): number => Fs.existsSync(log) ? Fs.readFileSync(log, "utf8").split("\n").length - 1 : 0

interface Fleet {
  readonly cwd: string
  readonly env: Record<string, string>
  readonly urls: { readonly a: string; readonly b: string }
  /** Announces these in the registry file. */
  readonly write: (...records: ReadonlyArray<object>) => void
  readonly done: (id: "a" | "b") => number
}

const paired = (id: "a" | "b", url: string) => ({ ...record(id, url), service: "pair" })

/** `a`, started by the test, and `b`: two replicas of `pair`, of which only what is in `records` is announced at first. */
const fleet = (
  records: ReadonlyArray<"a" | "b">,
  start: (log: string) => Effect.Effect<{ readonly url: string }, never, Scope.Scope> = (log) => replica(log, CallTime)
) =>
  Effect.gen(function*() {
    const logs = yield* directory()
    const log = { a: Path.join(logs, "a.log"), b: Path.join(logs, "b.log") }
    const [a, b] = yield* Effect.all([start(log.a), replica(log.b, CallTime)])
    const urls = { a: a.url, b: b.url }
    const running = yield* gateway(
      {
        registries: [{ type: "file", path: "services.json" }, { type: "memory" }],
        // By turns, so that both have calls.
        balancing: { strategy: "round-robin" }
      },
      { "services.json": registry(...records.map((id) => paired(id, urls[id]))) }
    )
    const { cwd } = running
    const made: Fleet = {
      cwd,
      env: { PORTOLAN_URL: running.url },
      urls,
      write: (...next) => {
        Fs.writeFileSync(Path.join(cwd, "services.next"), registry(...next))
        Fs.renameSync(Path.join(cwd, "services.next"), Path.join(cwd, "services.json"))
      },
      done: (id) => runs(log[id])
    }
    return { ...made, running }
  })

/** Calls go on; `a` is told to go amid some of its own; then they go on for a while without it. */
const drained = (
  { done, running }: Effect.Success<ReturnType<typeof fleet>>,
  tell: Effect.Effect<unknown, unknown, Scope.Scope>,
  open = Peers.stateless
) =>
  Effect.gen(function*() {
    const peers = yield* Effect.forEach(Array.from({ length: callers }), () => open(running.url))
    const errors: Array<string> = []
    let answered = 0
    const calling = new AbortController()
    const caller = async (peer: Peers.Peer, number: number) => {
      // Not all at once: some have just begun when `a` is told, others are nearly done.
      await new Promise((resolve) => setTimeout(resolve, number * CallTime / callers))
      for (let count = 0; !calling.signal.aborted; count++) {
        try {
          await peer.call("pair__write", { id: `${number}-${count}` })
          answered++
        } catch (error) {
          errors.push(String(error))
        }
      }
    }
    const all = yield* Effect.forkChild(Effect.promise(() => Promise.all(peers.map(caller))))
    yield* until(Effect.sync(() => done("a") >= callers && done("b") >= 2), 30_000)
    yield* tell
    const then = done("a")
    const before = answered
    yield* until(Effect.sync(() => errors.length > 0 || answered >= before + 3 * callers), 30_000)
    calling.abort()
    yield* Fiber.join(all)
    assert.deepStrictEqual(errors, [])
    assert.strictEqual(done("a"), then, "calls that began at the instance that was told to go")
    assert.strictEqual(done("a") + done("b"), answered, "each ran once")
  })

/** Until the gateway says so of `a`. */
const shows = ({ env }: Pick<Fleet, "env">, status: "healthy" | "draining" | "gone") =>
  until(
    Effect.promise(async () => {
      const response = await fetch(`${env["PORTOLAN_URL"]}/api/v1/instances/a`)
      const text = await response.text()
      return response.status === 404 ? status === "gone" : JSON.parse(text).health.status === status
    }),
    20_000
  )

describe("drain", () => {
  it.live("by `portolan mark`", () =>
    Effect.gen(function*() {
      const made = yield* fleet(["a", "b"])
      yield* drained(made, portolan(["mark", "a", "draining"], { env: made.env }))
    }), 60_000)

  it.live("by a record that says draining", () =>
    Effect.gen(function*() {
      const made = yield* fleet(["a", "b"])
      const { urls, write } = made
      const tell = Effect.sync(() => write({ ...paired("a", urls.a), status: "draining" }, paired("b", urls.b)))
      yield* drained(made, Effect.andThen(tell, shows(made, "draining")))
    }), 60_000)

  it.live("by SIGTERM of a server that announces itself and lets its calls end", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      let log = ""
      const made = yield* fleet(["b"], (path) => {
        log = path
        return Effect.succeed({ url: `http://127.0.0.1:${port}/mcp` })
      })
      const program = fileURLToPath(new URL("selfAnnounced.ts", import.meta.url))
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(
            process.execPath,
            [program, log, String(CallTime), String(port), Path.join(made.cwd, "services.json")],
            { stdio: ["ignore", "ignore", "inherit"] }
          )
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      yield* shows(made, "healthy")
      yield* drained(made, Effect.andThen(Effect.sync(() => child.kill("SIGTERM")), shows(made, "gone")))
      yield* until(Effect.sync(() => child.exitCode === 0), 10_000)
    }), 60_000)

  for (const open of [Peers.stateless, Peers.handshake]) {
    const era = open === Peers.stateless ? "stateless" : "handshake"

    it.live(`by its removal from a registry, for clients of the ${era} era`, () =>
      Effect.gen(function*() {
        const made = yield* fleet(["a", "b"])
        const { urls, write } = made
        const tell = Effect.sync(() => write(paired("b", urls.b)))
        yield* drained(made, Effect.andThen(tell, shows(made, "gone")), open)
      }), 60_000)

    it.live(`by SIGTERM of \`portolan register\`, for clients of the ${era} era`, () =>
      Effect.gen(function*() {
        const port = yield* freePort
        let log = ""
        const made = yield* fleet(["b"], (path) => {
          log = path
          return Effect.succeed({ url: `http://127.0.0.1:${port}/mcp` })
        })
        const program = fileURLToPath(new URL("replica.ts", import.meta.url))
        const command = [process.execPath, program, log, String(CallTime), String(port)]
        const registered = yield* background(
          ["register", "pair", "--id", "a", "--url", made.urls.a, "--drain", "3s", "--", ...command],
          { cwd: yield* directory(), env: made.env }
        )
        yield* until(Effect.sync(() => registered.err().includes("announced a")), 20_000)
        const tell = Effect.sync(() => registered.kill("SIGTERM"))
        yield* drained(made, Effect.andThen(tell, shows(made, "gone")), open)
        const { code, stderr } = yield* registered.ended
        // The command has no handler: it was ended by the signal, after its calls.
        assert.strictEqual(code, 143)
        assert.include(stderr, "a drains: ")
      }), 60_000)
  }
})
