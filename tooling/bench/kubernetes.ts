/**
 * Reading Kubernetes: a Service with 2,000 endpoints in 40 slices, in a stand-in for the API server that runs here. `first
 * catalog`: from opening the registry until the catalog has all of them, in a new process each time; `loading the client` is
 * what the official client takes of that. The others: from a write of a slice until another process has published it.
 * `moves`: endpoints that change slices in two writes, 20 ms apart, and how many of them were away for a moment.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { execFileSync, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as KubernetesApi from "../src/backends/KubernetesApi.ts"
import { residentMemory, show, summarize, table } from "./Measure.ts"

const sliceCount = 40
const perSlice = 50
const starts = 5
const rounds = 50
/** Changes whose times stand alone: the watcher's code isn't compiled yet. */
const cold = 5

interface Endpoint {
  readonly address: string
  readonly terminating?: boolean
}

const namesOf = (slice: number): ReadonlyArray<Endpoint> =>
  Array.from({ length: perSlice }, (_, n) => ({ address: `10.1.${slice}.${n}` }))

const sliceOf = (slice: number, endpoints: ReadonlyArray<Endpoint>): KubernetesApi.Manifest => ({
  kind: "EndpointSlice",
  metadata: { name: `weather-${slice}`, namespace: "mcp", labels: { "kubernetes.io/service-name": "weather" } },
  addressType: "IPv4",
  endpoints: endpoints.map(({ address, terminating = false }) => ({
    addresses: [address],
    conditions: { ready: !terminating, serving: true, terminating },
    targetRef: { kind: "Pod", name: `weather-${address.replaceAll(".", "-")}`, namespace: "mcp" },
    zone: "eu-west-1a"
  })),
  ports: [{ name: "mcp", port: 3000 }]
})

const compiled = new URL("compiled.mjs", import.meta.url).href
const program = new URL("kubernetes/watch.ts", import.meta.url).pathname

const Published = Schema.Struct({ at: Schema.Finite, changes: Schema.Array(Schema.String) })
const readFirst = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Finite))
const readPublished = Schema.decodeUnknownEffect(Schema.fromJsonString(Published))

/** A process that watches, until the scope closes. */
const watcher = (kubeconfig: string) =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", compiled, program, kubeconfig, String(sliceCount * perSlice)], {
          stdio: ["ignore", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    const next = Effect.promise(async () => {
      const { done, value } = await lines.next()
      if (done === true) throw new Error("the watcher ended")
      return value
    })
    return {
      pid: child.pid ?? 0,
      first: yield* Effect.flatMap(next, readFirst),
      next: Effect.flatMap(next, readPublished)
    }
  })

/** What loading the official client takes in a new process. */
const loading = Effect.sync(() => {
  const timed = `const began = performance.now()
    await import("@kubernetes/client-node")
    console.log(performance.now() - began)`
  const cwd = new URL("../../packages/kubernetes", import.meta.url).pathname
  return Number(execFileSync(process.execPath, ["--input-type=module", "-e", timed], { cwd, encoding: "utf8" }))
})

const measure = Effect.gen(function*() {
  const api = yield* KubernetesApi.make({ tls: true })
  yield* api.apply({
    kind: "Service",
    metadata: { name: "weather", namespace: "mcp", annotations: { "portolan.dev/tools": "get_forecast" } },
    spec: { ports: [{ name: "mcp", port: 80 }] }
  })
  for (let slice = 0; slice < sliceCount; slice++) yield* api.apply(sliceOf(slice, namesOf(slice)))

  const first: Array<number> = []
  const client: Array<number> = []
  for (let start = 0; start < starts; start++) {
    client.push(yield* loading)
    first.push(yield* Effect.scoped(Effect.map(watcher(api.kubeconfig), ({ first }) => first)))
  }

  const watching = yield* watcher(api.kubeconfig)
  yield* Effect.sleep("1 second")
  /** ms until something is published that a write was for. */
  const timeOf = Effect.fnUntraced(function*(slice: number, endpoints: ReadonlyArray<Endpoint>, expected: string) {
    const began = performance.timeOrigin + performance.now()
    yield* api.apply(sliceOf(slice, endpoints))
    const { at, changes } = yield* watching.next
    if (changes.join() !== expected) return yield* Effect.die(new Error(`${changes.join()} instead of ${expected}`))
    // The catalog is published at most every 50 ms; a change that comes alone doesn't wait for that.
    yield* Effect.sleep(60 + 40 * Math.random())
    return at - began
  })
  const times = { added: new Array<number>(), terminating: new Array<number>(), removed: new Array<number>() }
  let flickers = 0
  for (let round = 0; round < rounds; round++) {
    const slice = round % sliceCount
    const one = { address: `10.2.${slice}.${round}` }
    const [before, id] = [namesOf(slice), `mcp/weather-${one.address.replaceAll(".", "-")}:3000`]
    times.added.push(yield* timeOf(slice, [...before, one], `Added ${id}`))
    // To the next slice.
    const next = (slice + 1) % sliceCount
    yield* api.apply(sliceOf(slice, before))
    yield* Effect.sleep("20 millis")
    const ending = { ...one, terminating: true }
    yield* api.apply(sliceOf(next, [...namesOf(next), one]))
    yield* Effect.sleep("20 millis")
    const began = performance.timeOrigin + performance.now()
    yield* api.apply(sliceOf(next, [...namesOf(next), ending]))
    for (let seen = false; !seen;) {
      const { at, changes } = yield* watching.next
      seen = changes.includes(`Updated ${id}`)
      if (seen) times.terminating.push(at - began)
      else flickers += changes.length
    }
    yield* Effect.sleep("100 millis")
    times.removed.push(yield* timeOf(next, namesOf(next), `Removed ${id}`))
  }
  const [early, late] = [times.added.slice(0, cold), times.added.slice(cold)]
  table(`Kubernetes, ${sliceCount * perSlice} endpoints in ${sliceCount} slices: median (min … max), ms`, [
    ["", "measured", "goal"],
    ["first catalog", show(summarize(first)), "2,000"],
    ["loading the client", show(summarize(client)), ""],
    [`added, first ${cold}`, show(summarize(early)), "50"],
    ["added, later", show(summarize(late)), "50"],
    ["terminating", show(summarize(times.terminating)), "50"],
    ["removed", show(summarize(times.removed)), "50"],
    [`${rounds} moves, away`, String(flickers), "0"],
    ["memory, MiB", residentMemory(watching.pid).toFixed(0), ""]
  ])
})

await Effect.runPromise(Effect.scoped(measure))
process.exit(0)
