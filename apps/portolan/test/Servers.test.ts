/**
 * Servers that restart, forget their sessions, list a lot, are killed amid calls, or behave badly.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gateway, metric, record, registry, status, timed } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { directory, isAlive, portolan, until } from "./process.ts"
import { replica } from "./replicas.ts"

const program = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const node = process.execPath
const fromFile = { registries: [{ type: "file", path: "services.json" }] }

/** A server that was gone is used again within this, ms. */
const BackAgain = 2_000

/** Calls until one is answered, and the time that took. */
const answered = (peer: Peers.Peer, tool: string) =>
  timed(Effect.promise(async () => {
    for (;;) {
      try {
        return Peers.textOf(await peer.call(tool, { id: "x" }))
      } catch {
        // Not yet.
      }
    }
  })).pipe(Effect.timeout("20 seconds"))

describe("a server that was gone", () => {
  it.live("is used again within 2 s on its port, and so is one that forgot its sessions", () =>
    Effect.gen(function*() {
      const tools = [{ name: "echo" }]
      const one = yield* served({ tools })
      const cwd = yield* directory()
      const log = join(cwd, "log")
      const other = yield* replica(log)
      const running = yield* gateway(fromFile, {
        "services.json": registry(record("one", one.url), record("other", other.url))
      })
      const peer = yield* Peers.stateless(running.url)
      const call = (tool: string) => Effect.promise(() => peer.call(tool, { id: "x" }))
      yield* call("one__echo")
      yield* call("other__write")

      // For a moment, and for long enough that the gateway tries in vain.
      for (const pause of [0, 3_000]) {
        yield* Effect.promise(one.stop)
        const refused = yield* Effect.promise(() => peer.call("one__echo", {}).then(() => "answered", String))
        assert.include(refused, "one__echo")
        yield* Effect.sleep(pause)
        yield* Effect.promise(one.restart)
        const [text, took] = yield* answered(peer, "one__echo")
        assert.strictEqual(text, "echo")
        assert.isBelow(took, BackAgain)
      }

      yield* other.kill
      const again = yield* replica(log, 0, Number(new URL(other.url).port))
      assert.strictEqual(again.url, other.url)
      const [, took] = yield* answered(peer, "other__write")
      assert.isBelow(took, BackAgain)

      const before = one.asked("initialize")
      one.forget()
      const [texts, time] = yield* timed(
        Effect.all(Array.from({ length: 16 }, () => call("one__echo")), { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(texts.map(Peers.textOf), texts.map(() => "echo"))
      assert.isBelow(time, BackAgain)
      assert.strictEqual(one.asked("initialize") - before, 1, "one new session for all callers")
    }), 60_000)
})

describe("a long list", () => {
  it.live("is read to its end, given in pages, and kept", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 250 }, (_, index) => `t${String(index).padStart(3, "0")}`)
      const server = yield* served({ tools: names.map((name) => ({ name })), pageSize: 100 })
      const running = yield* gateway({ ...fromFile, gateway: { pageSize: 40 } }, {
        "services.json": registry(record("many", server.url))
      })
      assert.strictEqual(running.found.tools, 250)
      const expected = names.map((name) => `many__${name}`)
      const peers = yield* Peers.all(running.url)
      for (const peer of peers) {
        const tools = yield* Effect.promise(peer.pages)
        assert.deepStrictEqual(tools.flat().map(({ name }) => name), expected, peer.name)
        assert.deepStrictEqual(tools.map((page) => page.length), [40, 40, 40, 40, 40, 40, 10], peer.name)
      }
      assert.strictEqual(server.asked("tools/list"), 3)
      const before = server.requests()
      for (let count = 0; count < 20; count++) {
        for (const peer of peers) {
          const tools = yield* Effect.promise(peer.pages)
          assert.strictEqual(tools.flat().length, 250)
        }
      }
      assert.strictEqual(server.requests(), before, "requests upstream")
    }), 60_000)
})

describe("kill -9 of one of two replicas", () => {
  const callers = 16

  /** Two replicas, and 16 callers whose calls go on until one replica has been dead for a while. */
  const killed = (tool: "look" | "write") =>
    Effect.gen(function*() {
      const cwd = yield* directory()
      const logs = [join(cwd, "a.log"), join(cwd, "b.log")]
      const [a, b] = yield* Effect.all([replica(logs[0] ?? "", 100), replica(logs[1] ?? "", 100)])
      const running = yield* gateway(fromFile, {
        "services.json": registry(
          { ...record("a", a.url), service: "pair" },
          { ...record("b", b.url), service: "pair" }
        )
      })
      const peers = yield* Peers.all(running.url)
      const runs = () =>
        logs.map((log) => {
          try {
            return readFileSync(log, "utf8").split("\n").filter((id) => id !== "")
          } catch {
            return []
          }
        })
      const answers: Array<string> = []
      const errors = new Map<string, string>()
      const calling = new AbortController()
      const caller = async (number: number) => {
        const peer = peers[number % peers.length]
        if (peer === undefined) return
        for (let count = 0; !calling.signal.aborted; count++) {
          const id = `${number}-${count}`
          try {
            answers.push(Peers.textOf(await peer.call(`pair__${tool}`, { id })))
          } catch (error) {
            errors.set(id, String(error))
          }
        }
      }
      const all = yield* Effect.forkChild(
        Effect.promise(() => Promise.all(Array.from({ length: callers }, (_, number) => caller(number))))
      )
      // Both work; then one is killed amid calls that it has begun.
      yield* until(
        Effect.sync(() => {
          const [ofA = [], ofB = []] = runs()
          const answered = new Set(answers.map((text) => text.split(" ")[0]))
          return ofA.length > callers && ofB.length > callers && ofA.some((id) => !answered.has(id))
        }),
        20_000
      )
      yield* a.kill
      const then = answers.length
      yield* until(Effect.sync(() => answers.length > then + 10 * callers), 20_000)
      calling.abort()
      yield* Fiber.join(all)
      return { answers, errors, runs: runs() }
    })

  it.live("fails no call of a read-only tool", () =>
    Effect.gen(function*() {
      const { answers, errors, runs } = yield* killed("look")
      assert.deepStrictEqual(Array.from(errors), [])
      const ids = runs.flat()
      // What was lost with the replica ran again on the other: there was something to rescue.
      assert.isAbove(ids.length, new Set(ids).size)
      assert.strictEqual(answers.length, new Set(ids).size)
    }), 60_000)

  it.live("runs no call twice of a tool that says nothing of itself, and says why not", () =>
    Effect.gen(function*() {
      const { answers, errors, runs } = yield* killed("write")
      const ids = runs.flat()
      assert.strictEqual(ids.length, new Set(ids).size, "each ran once at most")
      const done = answers.map((text) => text.split(" ")[0] ?? "")
      assert.strictEqual(done.length, new Set(done).size)
      // Calls were lost amid their run; a call that certainly wasn't sent was not.
      assert.isAbove(errors.size, 0)
      for (const [id, error] of errors) {
        assert.notInclude(runs[1], id, "only what went to the dead replica")
        assert.match(error, /pair__write: .*It may have run, and was not repeated: .*read-only or idempotent/)
      }
      assert.deepStrictEqual(ids.filter((id) => !errors.has(id)).toSorted(), done.toSorted())
    }), 60_000)
})

describe("bad servers beside a good one", () => {
  const modes = ["hang", "flood", "garbage", "exit", "cursor", "many"] as const

  const freePort = Effect.callback<number>((resume) => {
    const holder = createServer().listen(0, "127.0.0.1", () => {
      const address = holder.address()
      holder.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
    })
  })

  it.live("are told of by name, and neither lists nor calls wait for them", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const cwd = yield* directory({
        "portolan.json": JSON.stringify({
          gateway: { port },
          mcpServers: Object.fromEntries(
            ["good", ...modes].map((mode) => [mode, { command: node, args: [program("server.mjs"), mode] }])
          )
        })
      })
      // The very first list: sooner than the command says what it found.
      const process = yield* Effect.forkChild(portolan(["up"], { cwd }))
      const url = `http://127.0.0.1:${port}`
      yield* until(
        Effect.promise(() => fetch(`${url}/healthz`).then((response) => response.ok, () => false)),
        20_000
      )
      const [peer, connecting] = yield* timed(Peers.stateless(url))
      const [first, listing] = yield* timed(Effect.promise(peer.tools))
      // `server/discover` waits as a list does, and what follows it doesn't wait again.
      assert.isBelow(connecting + listing, 2_300)
      const names = (tools: ReadonlyArray<Peers.Tool>, service: string) =>
        tools.filter(({ name }) => name.startsWith(`${service}__`)).length
      assert.strictEqual(names(first, "good"), 4)

      const times: Array<number> = []
      const calls = yield* Effect.forkChild(Effect.promise(async () => {
        for (let count = 0; count < 100; count++) {
          const start = performance.now()
          const reply = await peer.call("good__echo", { text: `${count}` })
          assert.strictEqual(Peers.textOf(reply), `${count}`)
          times.push(performance.now() - start)
        }
      }))
      yield* Fiber.join(calls)
      assert.isBelow(Math.max(...times), 1_000)

      yield* until(
        Effect.map(
          Effect.promise(peer.tools),
          (tools) => names(tools, "many") === 1_000 && names(tools, "flood") === 4
        ),
        20_000
      )
      const reasons = {
        hang: /no answer to the handshake within 10s/,
        garbage: /no answer to the handshake within 10s/,
        exit: /code 3.*no such module/,
        cursor: /tools\/list: the server repeats its cursor/
      }
      yield* until(
        Effect.map(status({ url }), ({ problems }) =>
          Object.entries(reasons).every(([id, reason]) =>
            problems.some((problem) =>
              problem.instance === id && reason.test(problem.reason)
            )
          )),
        20_000
      ).pipe(Effect.onError(() => Effect.flatMap(status({ url }), ({ problems }) => Effect.log(problems))))
      const { problems } = yield* status({ url })
      assert.deepStrictEqual(problems.map(({ instance }) => instance).toSorted(), Object.keys(reasons).toSorted())
      assert.strictEqual(yield* metric({ url }, "portolan_mcp_failed_calls_total"), 0)
      yield* Fiber.interrupt(process)
    }), 60_000)

  it.live("leave nothing behind when the gateway is killed, nor do their children", () =>
    Effect.gen(function*() {
      const running = yield* gateway({
        mcpServers: Object.fromEntries(
          ["grandchild", "stubborn"].map((mode) => [mode, { command: node, args: [program("server.mjs"), mode] }])
        )
      })
      const peer = yield* Peers.stateless(running.url)
      const pids: Array<number> = []
      for (const tool of ["grandchild__pid", "grandchild__child", "stubborn__pid"]) {
        pids.push(Number(Peers.textOf(yield* Effect.promise(() => peer.call(tool, {})))))
      }
      assert.isTrue(pids.every(isAlive))
      running.kill("SIGKILL")
      yield* running.ended
      const [, took] = yield* timed(until(Effect.sync(() => !pids.some(isAlive)), 20_000))
      assert.isBelow(took, 5_000)
    }), 60_000)
})
