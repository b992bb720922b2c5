/**
 * Where calls go and what became of them, as an operator asks a running gateway: `explain`, `report`, `status`.
 */
import { assert, describe, it } from "@effect/vitest"
import { strategyNames } from "@portolan/core/Balancer"
import * as Effect from "effect/Effect"
import { setTimeout } from "node:timers/promises"
import { gateway, record, registry, status } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { background, portolan, until } from "./process.ts"

const tools = [{ name: "get_forecast", readOnly: true }]

interface Routing {
  readonly instance: string
  readonly hedged: boolean
  readonly queued: number
}

const fleet = (configuration: object = {}) =>
  Effect.gen(function*() {
    const [one, two, far, other] = yield* Effect.all([
      served({ tools }),
      served({ tools }),
      served({ tools }),
      served({ tools: [{ name: "read_graph" }] })
    ])
    const replica = (id: string, url: string, region: string, more: object = {}) => ({
      id,
      service: "weather",
      region,
      endpoint: { transport: "streamable-http", url },
      ...more
    })
    const file = registry(
      replica("weather-1", one.url, "us-west-2"),
      replica("weather-2", two.url, "us-west-2"),
      replica("weather-3", far.url, "us-east-1"),
      replica("weather-4", "http://127.0.0.1:9/mcp", "us-west-2"),
      { id: "memory-1", service: "memory", endpoint: { transport: "streamable-http", url: other.url } }
    )
    const running = yield* gateway({
      registries: [{ type: "file", name: "local", path: "fleet.json" }],
      routing: [
        { match: { tool: "memory.*" }, timeout: "30s" },
        { match: { tool: "weather.*" }, preferRegions: ["us-west-2"], minHealthScore: 0.3 }
      ],
      ...configuration
    }, { "fleet.json": file })
    const ask = (...args: ReadonlyArray<string>) => portolan(args, { env: { PORTOLAN_URL: running.url } })
    const call = Effect.map(ask("call", "weather__get_forecast", "--json"), ({ code, stderr, stdout }): Routing => {
      assert.deepStrictEqual([code, stderr], [0, ""])
      return JSON.parse(stdout)["_meta"]["dev.portolan/routing"]
    })
    const health = (id: string) =>
      Effect.promise(async () => {
        const text = await (await fetch(`${running.url}/api/v1/instances/${id}/health`)).text()
        const found: { readonly status: string; readonly circuit: { readonly state: string } } = JSON.parse(text)
        return found
      })
    yield* until(Effect.map(health("weather-4"), ({ status }) => status === "unhealthy"), 60_000)
    for (const id of ["weather-1", "weather-2", "weather-3"]) {
      yield* until(Effect.map(health(id), ({ status }) => status === "healthy"), 60_000)
    }
    return { ...running, ask, call }
  })

describe("explain", () => {
  it.live("names who is picked, who was considered, and who is left out and why", () =>
    Effect.gen(function*() {
      const { ask, call } = yield* fleet()
      yield* call
      const { code, stderr, stdout } = yield* ask("explain", "weather__get_forecast")
      assert.deepStrictEqual([code, stderr], [0, ""])
      const [rule, picked, considered, ...left] = stdout.trimEnd().split("\n")
      assert.strictEqual(rule, "rule       2 \"weather.*\": prefer us-west-2, min score 0.3")
      const figures = "us-west-2  score [01]\\.\\d\\d  ewma (-|\\S+ m?s) +in flight 0"
      assert.match(picked ?? "", new RegExp(`^picked     weather-[12]  ${figures}  peak-ewma of 2$`))
      assert.match(considered ?? "", new RegExp(`^considered weather-[12]  ${figures}( |$)`))
      assert.strictEqual(left[0], "left out   weather-3  us-east-1  other region (2 healthy in us-west-2)")
      assert.match(left[1] ?? "", /^ {11}weather-4 {2}us-west-2 {2}does not offer it \(unhealthy: \S/)
      assert.lengthOf(left, 2)

      const json = JSON.parse(
        (yield* ask("explain", "weather__get_forecast", "--caller", "principal:ann", "--json")).stdout
      )
      assert.deepInclude(json, { requested: "weather__get_forecast", strategy: "peak-ewma" })
      const service = yield* ask("explain", "memory")
      assert.match(service.stdout, /^rule {7}none: peak-ewma\npicked {5}memory-1 {2}score .* the only one\n$/)
      yield* ask("mark", "memory-1", "down")
      const down = yield* ask("explain", "memory__read_graph")
      assert.deepStrictEqual(down.code, 0)
      assert.match(down.stdout, /^rule {7}1 "memory\.\*": timeout 30s\nfails {6}no instance takes calls \(1 down\)\n/)
      assert.match(down.stdout, /\nleft out {3}memory-1 {2}marked down/)
      const unknown = yield* ask("explain", "weather__get_forcast")
      assert.deepStrictEqual([unknown.code, unknown.stdout], [1, ""])
      assert.include(unknown.stderr, "did you mean \"weather__get_forecast\"?")
      const wrong = yield* ask("explain", "weather", "--caller", "acme")
      assert.deepStrictEqual([wrong.code, wrong.stdout], [1, ""])
      assert.include(wrong.stderr, "expected tenant:<name> or principal:<name>")
    }), 240_000)

  it.live("agrees with 1,000 decisions, of every strategy, while instances come and go", () =>
    Effect.gen(function*() {
      // Far enough apart that the moment between question and call changes no comparison.
      const servers = yield* Effect.forEach([0, 5, 15], (ms) =>
        served({ tools: [{ name: "look", readOnly: true, run: () => setTimeout(ms, String(ms)) }] }))
      const instances = strategyNames.flatMap((service) =>
        servers.map(({ url }, index) => ({
          id: `${service}-${index}`,
          service,
          weight: index + 1,
          endpoint: { transport: "streamable-http", url }
        }))
      )
      const { url } = yield* gateway({
        registries: [{ type: "file", name: "local", path: "fleet.json" }],
        balancing: { slowStart: "0s" },
        routing: strategyNames.map((service) => ({ match: { service }, strategy: service }))
      }, { "fleet.json": registry(...instances) })
      yield* until(
        Effect.map(status({ url }), ({ problems, tools }) =>
          tools === strategyNames.length && problems.length === 0),
        60_000
      )
      const api = <A>(path: string, method = "GET", body?: object) =>
        Effect.promise(async (): Promise<A> => {
          const response = await fetch(`${url}/api/v1${path}`, {
            method,
            headers: { "content-type": "application/json" },
            ...body === undefined ? {} : { body: JSON.stringify(body) }
          })
          assert.strictEqual(response.status, 200, path)
          return JSON.parse(await response.text())
        })
      const peer = yield* Peers.stateless(url)
      const seen = new Map<string, number>()
      let decisions = 0
      // These go by the clock, too: one that wasn't heard of for 3 s is tried, scores are looked at anew. That may come
      // just between question and call.
      const timed: ReadonlyArray<string> = ["peak-ewma", "health-weighted"]
      const overtaken: Array<string> = []
      for (let round = 0; decisions - overtaken.length < 1_000; round++) {
        const away = `-${Math.floor(round / 10) % servers.length}`
        if (round % 10 === 0 || round % 10 === 5) {
          const as = round % 10 === 0 ? "draining" : "up"
          yield* Effect.forEach(strategyNames, (service) => api(`/instances/${service}${away}/mark`, "PUT", { as }))
        }
        for (const strategy of strategyNames) {
          const tool = `${strategy}__look`
          const { picked } = yield* api<{ readonly picked?: { readonly instance: string } }>(`/explain?tool=${tool}`)
          const routed = yield* Effect.promise(() => peer.call(tool, {}))
          const { hedged, instance, queued }: Routing = JSON.parse(JSON.stringify(routed))._meta["dev.portolan/routing"]
          if (picked?.instance !== instance && timed.includes(strategy)) overtaken.push(strategy)
          else assert.strictEqual(picked?.instance, instance, `${strategy}, decision ${decisions}`)
          // Results say so, too.
          assert.deepStrictEqual([hedged, queued], [false, 0])
          seen.set(instance, (seen.get(instance) ?? 0) + 1)
          decisions++
        }
      }
      assert.isAtMost(overtaken.length, 5, overtaken.join(", "))
      assert.strictEqual(seen.size, instances.length, "each of them was picked")
      // What was recorded of the decisions agrees, too.
      const report = yield* api<{
        readonly total: { readonly calls: number; readonly successes: number }
        readonly decisions: { readonly strategies: ReadonlyArray<{ readonly picks: number }> }
        readonly instances: { readonly top: ReadonlyArray<{ readonly instance: string; readonly picks: number }> }
      }>("/report?top=1000")
      assert.deepInclude(report.total, { calls: decisions, successes: decisions })
      assert.strictEqual(report.decisions.strategies.reduce((sum, { picks }) => sum + picks, 0), decisions)
      assert.deepStrictEqual(new Map(report.instances.top.map(({ instance, picks }) => [instance, picks])), seen)
    }), 240_000)
})

describe("report", () => {
  it.live("tells what became of calls", () =>
    Effect.gen(function*() {
      const { ask, call } = yield* fleet()
      const none = yield* ask("report")
      assert.deepStrictEqual([none.code, none.stderr], [0, ""])
      assert.match(none.stdout, /^calls {2}0 calls in .*, 0 in flight\n/)
      for (let count = 0; count < 3; count++) yield* call
      const { code, stderr, stdout } = yield* ask("report")
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^calls {4}3 calls in .*, 100 % answered, 0 in flight\nlatency {2}average .*p99 \S+ m?s\n/)
      assert.match(stdout, /\npicks {4}3 peak-ewma\nrules {4}3 "weather\.\*"\n/)
      assert.match(
        stdout,
        /\nSERVICE +CALLS +OK +FAILED +P50 +P95 +P99 +RETRIES +SHED +EJECTED +IN FLIGHT\nweather +3 +100 % +0 /
      )
      assert.match(stdout, /\nweather-[12] +weather +healthy +[123] +0 /)
      assert.match(stdout, /\nTOOL +CALLS .*\nweather__get_forecast +3 +100 % /)
      assert.match(stdout, /\nCALLER +CALLS .*\nanonymous +3 +100 % /)
      const json = JSON.parse((yield* ask("report", "--service", "weather", "--top", "1", "--json")).stdout)
      assert.strictEqual(json.total.calls, 3)
      assert.lengthOf(json.instances.top, 1)
      const unknown = yield* ask("report", "--service", "wether")
      assert.deepStrictEqual([unknown.code, unknown.stdout], [1, ""])
      assert.include(unknown.stderr, "did you mean \"weather\"?")
    }), 240_000)
})

describe("status", () => {
  it.live("names the services whose calls suffer, and from what", () =>
    Effect.gen(function*() {
      let release = () => {}
      const released = new Promise<string>((resolve) => {
        release = () => resolve("done")
      })
      const server = yield* served({ tools: [{ name: "wait", run: () => released }] })
      const { url } = yield* gateway({ registries: [{ type: "file", name: "local", path: "fleet.json" }] }, {
        "fleet.json": registry({ ...record("slow", server.url), limits: { maxConcurrency: 1 } })
      })
      const env = { PORTOLAN_URL: url }
      const says = (text: string) =>
        until(Effect.map(portolan(["status"], { env }), ({ stdout }) => stdout.includes(text)), 60_000)
      yield* says("1 tool")
      const calls = [
        yield* background(["call", "slow__wait"], { env }),
        yield* background(["call", "slow__wait"], { env })
      ]
      yield* says("\nslow: 1 call waiting for room; `portolan explain slow` tells more\n")
      const { stdout } = yield* portolan(["explain", "slow__wait"], { env })
      assert.match(stdout, /\nwaits {6}a call waits already\n/)
      release()
      for (const call of calls) assert.deepInclude(yield* call.ended, { code: 0, stdout: "done\n" })
      assert.notInclude((yield* portolan(["status"], { env })).stdout, "waiting")
    }), 240_000)
})
