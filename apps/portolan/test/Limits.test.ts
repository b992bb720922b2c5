/**
 * Limits of calls, through a running gateway and the official client.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { createServer, request } from "node:http"
import { join } from "node:path"
import { gateway, record, registry } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { until } from "./process.ts"

const configuration = (url: string, limits: object) => ({
  mcpServers: { worker: { url } },
  calls: { limits }
})

/** A server whose calls run until they are let go. */
const worker = Effect.gen(function*() {
  const running: Array<() => void> = []
  let peak = 0
  const { url } = yield* served({
    tools: [{
      name: "work",
      run: () =>
        new Promise((resolve) => {
          running.push(() => resolve("done"))
          peak = Math.max(peak, running.length)
        })
    }]
  })
  return {
    url,
    running: () => running.length,
    peak: () => peak,
    finish: (count = 1) => {
      for (const resolve of running.splice(0, count)) resolve()
    }
  }
})

/** What stands before a server and turns calls of tools away, as a limiter of rates does; the rest passes. */
const limiter = (url: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly refused: () => number; readonly stop: () => void }>((resume) => {
      let refused = 0
      const server = createServer((incoming, response) => {
        const chunks: Array<Buffer> = []
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
          const body = Buffer.concat(chunks)
          if (body.includes("tools/call")) {
            refused++
            return void response.writeHead(429, { "retry-after": "60" }).end("slow down")
          }
          const onwards = request(url, { method: incoming.method, headers: incoming.headers }, (answer) => {
            response.writeHead(answer.statusCode ?? 502, answer.headers)
            answer.pipe(response)
          })
          onwards.on("error", () => response.destroy())
          response.on("close", () => onwards.destroy())
          onwards.end(body)
        })
      }).listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({
          url: `http://127.0.0.1:${port}/mcp`,
          refused: () => refused,
          stop: () => {
            server.close()
            server.closeAllConnections()
          }
        }))
      })
    }),
    ({ stop }) => Effect.sync(stop)
  )

describe("a server that asks for time", () => {
  it.live("gets it, and calls that must not run twice go elsewhere", () =>
    Effect.gen(function*() {
      let ran = 0
      const run = () => String(++ran)
      const servers = yield* Effect.all([1, 2].map(() => served({ tools: [{ name: "count", run }] })))
      const busy = yield* limiter(servers[0]?.url ?? "")
      const records = [busy.url, servers[1]?.url ?? ""].map((url, index) => ({
        ...record(`counter-${index}`, url),
        service: "counter"
      }))
      const { url } = yield* gateway({
        registries: [{ type: "file", path: "counters.json" }],
        balancing: { strategy: "round-robin" }
      }, { "counters.json": registry(...records) })
      const client = yield* Peers.stateless(url)
      for (let call = 1; call <= 20; call++) {
        assert.strictEqual(Peers.textOf(yield* Effect.promise(() => client.call("counter__count", {}))), String(call))
      }
      assert.strictEqual(ran, 20)
      assert.strictEqual(busy.refused(), 1)
      const said = yield* Effect.promise(() =>
        fetch(`${url}/api/v1/explain?tool=counter__count`).then((answer) => answer.text())
      )
      assert.match(said, /asked to be left alone .*HTTP 429: slow down, back in/)
    }), 40_000)
})

describe("limits", () => {
  it.live(
    "hold, let calls wait, refuse with a hint, and take effect when they are edited",
    () =>
      Effect.gen(function*() {
        const server = yield* worker
        const { cwd, url } = yield* gateway(configuration(server.url, { perInstance: 2, queue: 3, wait: "20s" }))
        const client = yield* Peers.stateless(url)
        const call = () => client.call("worker__work", {}).then(Peers.textOf)
        const calls = Array.from({ length: 5 }, call)
        yield* until(Effect.sync(() => server.running() === 2), 10_000)
        yield* Effect.sleep(100)
        assert.strictEqual(server.running(), 2)

        const refused = yield* Effect.promise(() => call().then(() => undefined, (error: unknown) => error))
        assert(refused instanceof Error && "code" in refused)
        assert.strictEqual(refused.code, -31000)
        assert.match(
          refused.message,
          /worker__work: overloaded: 3 calls wait already, as many as may; try again in [\d.]+ s$/
        )

        const settings = Effect.promise(async () => {
          const { settings }: { settings: ReadonlyArray<{ path: string; value: unknown; origin: string }> } = JSON
            .parse(
              await (await fetch(`${url}/api/v1/configuration`)).text()
            )
          return new Map(settings.map(({ origin, path, value }) => [path, [value, origin]]))
        })
        const before = yield* settings
        assert.deepStrictEqual(before.get("calls.limits.perInstance"), [2, "file"])
        assert.deepStrictEqual(before.get("calls.retryBudget.share"), [0.2, "default"])
        assert.deepStrictEqual(before.get("health.ejection.baseTime"), ["1s", "default"])
        assert.deepStrictEqual(before.get("gateway.sessions"), ["sticky", "default"])

        // Room that is made by hand is found by those who wait.
        Fs.writeFileSync(
          join(cwd, "portolan.json"),
          JSON.stringify(configuration(server.url, { perInstance: 4, queue: 3, wait: "20s" }))
        )
        yield* until(Effect.sync(() => server.running() === 4), 10_000)
        assert.deepStrictEqual((yield* settings).get("calls.limits.perInstance"), [4, "file"])
        server.finish()
        yield* until(Effect.sync(() => server.running() === 4), 10_000)
        server.finish(4)
        assert.deepStrictEqual(yield* Effect.promise(() => Promise.all(calls)), Array.from(calls, () => "done"))
        assert.strictEqual(server.peak(), 4)
      }),
    40_000
  )

  it.live("of time shed who waited too long, and nothing is stuck then", () =>
    Effect.gen(function*() {
      const server = yield* worker
      const { url } = yield* gateway(configuration(server.url, { perService: 1, wait: "200ms" }))
      const client = yield* Peers.stateless(url)
      const call = () => client.call("worker__work", {}).then(Peers.textOf, (error: unknown) => String(error))
      const first = call()
      yield* until(Effect.sync(() => server.running() === 1), 10_000)
      assert.match(yield* Effect.promise(call), /overloaded: no room within 200 ms; try again in/)
      server.finish()
      assert.strictEqual(yield* Effect.promise(() => first), "done")
      const next = call()
      yield* until(Effect.sync(() => server.running() === 1), 10_000)
      server.finish()
      assert.strictEqual(yield* Effect.promise(() => next), "done")
    }), 40_000)
})
