/**
 * Callers don't notice that their servers are restarted, killed, stopped and drained; and nothing runs twice that must not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Path from "node:path"
import { gateway, record, registry } from "./fleet.ts"
import * as Peers from "./peers.ts"
import { directory, until } from "./process.ts"
import { supervised } from "./replicas.ts"

const callers = 16
const callsOfEach = 10_000
/** ms that a server takes for a call: long enough that some are always under way where something is killed. */
const time = 12

const tools = ["look", "write"] as const
type Tool = (typeof tools)[number]

type Caller = Pick<Peers.Peer, "call" | "close">

/** Asks by plain HTTP: it costs a fraction of what an SDK does. */
const raw = async (url: string, era: "stateless" | "handshake"): Promise<Caller> => {
  const agent = new Http.Agent({ keepAlive: true })
  const common = { "content-type": "application/json", accept: "application/json, text/event-stream" }
  let last = 0
  const post = (message: object, more: Record<string, string>) =>
    new Promise<{ readonly session: string; readonly text: string }>((resolve, reject) => {
      const body = JSON.stringify({ jsonrpc: "2.0", id: ++last, ...message })
      Http.request(`${url}/mcp`, { method: "POST", agent, headers: { ...common, ...more } }, (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        response.on("end", () => resolve({ session: String(response.headers["mcp-session-id"]), text }))
      }).on("error", reject).end(body)
    })
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {}
  }
  const hello = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } }
  const session = era === "stateless" ? "" : (await post({ method: "initialize", params: hello }, {})).session
  return {
    call: async (name, args) => {
      const params = { name, arguments: args, ...(era === "stateless" ? { _meta: meta } : {}) }
      const headers: Record<string, string> = era === "stateless"
        ? { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name }
        : { "mcp-protocol-version": "2025-11-25", "mcp-session-id": session }
      const { error, result } = JSON.parse((await post({ method: "tools/call", params }, headers)).text)
      if (error !== undefined) throw new Error(error.message)
      return result
    },
    close: async () => agent.destroy()
  }
}

const failovers = (reply: Peers.Reply): number => {
  const meta: unknown = Reflect.get(reply, "_meta")
  const routing: unknown = typeof meta === "object" && meta !== null
    ? Reflect.get(meta, "dev.portolan/routing")
    : undefined
  return typeof routing === "object" && routing !== null ? Number(Reflect.get(routing, "failovers")) : 0
}

interface Tally {
  /** Calls by id, and why they failed, if they did. */
  readonly ended: Map<string, string | undefined>
  /** Answered by another instance than the first that was tried. */
  rescued: number
  retries: number
}

describe("10,000 calls of each kind, under restarts, kills, a stop and a drain", () => {
  it.live("fail none that may be repeated, and run none twice that may not", () =>
    Effect.gen(function*() {
      const log = Path.join(yield* directory(), "log")
      const servers = yield* Effect.all(Array.from({ length: 3 }, () => supervised(log, time, 100)), {
        concurrency: "unbounded"
      })
      const running = yield* gateway(
        { registries: [{ type: "file", path: "services.json" }] },
        {
          "services.json": registry(
            ...servers.map(({ url }, index) => ({ ...record(`trio-${index}`, url), service: "trio" }))
          )
        }
      )
      const opened = (count: number, open: () => Promise<Caller>) =>
        Effect.forEach(Array.from({ length: count }), () =>
          Effect.acquireRelease(Effect.promise(open), ({ close }) => Effect.promise(() => close().catch(() => {}))))
      const peers: ReadonlyArray<Caller> = [
        ...(yield* Effect.forEach([Peers.handshake, Peers.stateless], (open) =>
          open(running.url))),
        ...(yield* opened(7, () => raw(running.url, "handshake"))),
        ...(yield* opened(7, () => raw(running.url, "stateless")))
      ]
      assert.strictEqual(peers.length, callers)

      const tallies: Record<Tool, Tally> = {
        look: { ended: new Map(), rescued: 0, retries: 0 },
        write: { ended: new Map(), rescued: 0, retries: 0 }
      }
      const faults = new AbortController()
      const caller = async (peer: Caller, number: number) => {
        const wanted = () => !faults.signal.aborted || tools.some((tool) => tallies[tool].ended.size < callsOfEach)
        for (let count = 0; wanted(); count++) {
          const tool = tools[count % 2]!
          const tally = tallies[tool]
          const id = `${tool}-${number}-${count}`
          try {
            const reply = await peer.call(`trio__${tool}`, { id })
            tally.ended.set(
              id,
              Peers.textOf(reply).startsWith(`${id} by `) ? undefined : `a wrong answer: ${Peers.textOf(reply)}`
            )
            const more = failovers(reply)
            if (more > 0) tally.rescued++
            tally.retries += more
          } catch (error) {
            tally.ended.set(id, String(error))
          }
        }
      }
      const began = performance.now()
      const calling = yield* Effect.forkChild(Effect.promise(() => Promise.all(peers.map(caller))))

      const kills: Array<string> = []
      const told: Array<string> = []
      const tell = (text: string) => told.push(`${((performance.now() - began) / 1000).toFixed(1)} s ${text}`)
      const pick = () => Math.floor(Math.random() * servers.length)
      /** Ends one, and waits until it is back. */
      const end = (index: number, signal: "SIGTERM" | "SIGKILL") =>
        Effect.gen(function*() {
          const server = servers[index]!
          const { ends } = server
          const before = ends()
          server.signal(signal)
          kills.push(signal)
          tell(`${signal} ${index}`)
          yield* until(Effect.sync(() => ends() > before && server.isUp()), 20_000)
          tell(`${index} is back`)
        })
      // One of those that aren't stopped, each second, and the next one only when it is back.
      const killing = Effect.forever(Effect.suspend(() => {
        const index = pick()
        const kill = index === stopped ? Effect.void : end(index, "SIGKILL")
        return Effect.all([kill, Effect.sleep(1_000)], { concurrency: "unbounded" })
      }))
      let stopped = -1
      yield* Effect.sleep(500)
      for (let index = 0; index < servers.length; index++) yield* end(index, "SIGTERM")
      const kill = yield* Effect.forkChild(killing)
      yield* Effect.sleep(3_000)
      stopped = pick()
      servers[stopped]!.signal("SIGSTOP")
      tell(`SIGSTOP ${stopped}`)
      yield* Effect.sleep(5_000)
      servers[stopped]!.signal("SIGCONT")
      tell(`SIGCONT ${stopped}`)
      stopped = -1
      const drained = pick()
      const mark = (as: "draining" | "up") =>
        Effect.promise(() =>
          fetch(`${running.url}/api/v1/instances/trio-${drained}/mark`, {
            method: "PUT",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ as })
          })
        )
      assert.isTrue((yield* mark("draining")).ok)
      tell(`drain ${drained}`)
      yield* Effect.sleep(1_500)
      assert.isTrue((yield* mark("up")).ok)
      faults.abort()
      yield* Fiber.join(calling)
      yield* Fiber.interrupt(kill)
      const took = (performance.now() - began) / 1000

      const ran = new Map<string, number>()
      for (const id of Fs.readFileSync(log, "utf8").split("\n")) if (id !== "") ran.set(id, (ran.get(id) ?? 0) + 1)
      const errorsOf = ({ ended }: Tally) => Array.from(ended).filter(([, error]) => error !== undefined)
      const { look, write } = tallies
      const twice = Array.from(ran).filter(([id, times]) => times > 1 && id.startsWith("write"))
      const mayHaveRun = errorsOf(write).filter(([, error]) =>
        /It may have run, and was not repeated/.test(error ?? "")
      )
      const figures = {
        took,
        kills: kills.length,
        look: { calls: look.ended.size, rescued: look.rescued, retries: look.retries, failed: errorsOf(look).length },
        write: {
          calls: write.ended.size,
          rescued: write.rescued,
          retries: write.retries,
          mayHaveRun: mayHaveRun.length,
          failed: errorsOf(write).length - mayHaveRun.length,
          twice: twice.length
        }
      }
      console.log(JSON.stringify(figures))
      if (figures.look.failed + figures.write.failed + twice.length > 0) console.log(told.join("\n"))
      assert.deepStrictEqual(errorsOf(look).slice(0, 10), [])
      assert.deepStrictEqual(
        errorsOf(write).filter(([, error]) => !/It may have run, and was not repeated/.test(error ?? "")).slice(0, 10),
        []
      )
      assert.deepStrictEqual(twice, [])
      // Answered means that it ran.
      for (const { ended } of [look, write]) {
        for (const [id, error] of ended) if (error === undefined) assert.isTrue(ran.has(id), id)
      }
      assert.isAbove(look.rescued, 0)
    }), 300_000)
})

describe("a session whose server was killed", () => {
  const killed = (sessions: "sticky" | "strict") =>
    Effect.gen(function*() {
      const log = Path.join(yield* directory(), "log")
      const servers = yield* Effect.all(Array.from({ length: 2 }, () => supervised(log, 0, 100)), {
        concurrency: "unbounded"
      })
      const running = yield* gateway(
        { gateway: { sessions }, registries: [{ type: "file", path: "services.json" }] },
        {
          "services.json": registry(
            ...servers.map(({ url }, index) => ({ ...record(`pair-${index}`, url), service: "pair" }))
          )
        }
      )
      /** The process that answers. */
      const call = ({ call }: Peers.Peer) =>
        Effect.map(
          Effect.tryPromise(() => call("pair__look", { id: "x" })),
          (reply) => Number(/ by (\d+)$/.exec(Peers.textOf(reply))?.[1])
        )
      const peer = yield* Peers.handshake(running.url)
      const home = yield* call(peer)
      for (let count = 0; count < 10; count++) assert.strictEqual(yield* call(peer), home)
      process.kill(home, "SIGKILL")
      yield* until(Effect.sync(() => servers.some(({ ends, isUp }) => ends() > 0 && isUp())), 20_000)
      return { running, home, call: call(peer), open: Effect.flatMap(Peers.handshake(running.url), call) }
    })

  it.live("goes on elsewhere, and stays there", () =>
    Effect.gen(function*() {
      const { call, home } = yield* killed("sticky")
      const next = yield* call
      assert.notStrictEqual(next, home)
      for (let count = 0; count < 10; count++) assert.strictEqual(yield* call, next)
    }), 60_000)

  it.live("is lost with `sessions: strict`, until the client begins a new one", () =>
    Effect.gen(function*() {
      const { call, open } = yield* killed("strict")
      // At first it may be said that nobody is there; in the end that what was there is gone. It is never answered.
      const said = yield* Effect.flip(call).pipe(
        Effect.map(({ cause }) => String(cause)),
        Effect.repeat({
          until: (error) => error.includes("begin a new session"),
          schedule: Schedule.spaced("50 millis")
        }),
        Effect.timeout("10 seconds")
      )
      assert.match(said, /pair__look: .*what it kept for this session is lost; begin a new session/)
      assert.include(String((yield* Effect.flip(call)).cause), "begin a new session")
      assert.isAbove(yield* open, 0)
    }), 60_000)
})
