/**
 * Registries on real servers with 5,000 instances of 200 services. `first catalog`: from opening the registry until the
 * catalog has all of them, in a new process each time. `raw`: the plainest client reads the same data. `idle`: what a watcher
 * sends to the backend and takes of the processor and memory while nothing happens (nobody renews anything). `write to
 * catalog`: from the start of a write until another connection's catalog has it; each joins a service picked at random.
 */
import type { Registrar } from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { connect, createServer } from "node:net"
import { createInterface } from "node:readline"
import * as ConsulRecord from "../../packages/consul/src/ConsulRecord.ts"
import * as Consul from "../src/backends/Consul.ts"
import * as Etcd from "../src/backends/Etcd.ts"
import * as Redis from "../src/backends/Redis.ts"
import { processorTime, residentMemory, show, summarize, table } from "./Measure.ts"
import * as Target from "./registries/Target.ts"

const starts = 5
const writes = 300
/** Writes whose times stand alone: the watcher's code isn't compiled yet. */
const cold = 20
const idleSeconds = 15

interface Backend {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Reads everything without Portolan; answers how many it found. */
  readonly raw: Effect.Effect<number, unknown>
  /** How it is filled where announcing all of it would take too long. */
  readonly fill?: Effect.Effect<unknown, unknown>
}

type Make = Effect.Effect<Backend, unknown, Scope.Scope>

const json = (url: string, init?: RequestInit) =>
  Effect.tryPromise(async (): Promise<unknown> => (await fetch(url, init)).json())

const sizeOf = (answer: unknown): number => Array.isArray(answer) ? answer.length : 0

/** All values in one answer; what is asked after it is answered after it. */
const readRedis = ({ host, port }: Pick<Backend, "host" | "port">) =>
  Effect.callback<number, Error>((resume) => {
    const words = ["EVAL", "return redis.call('MGET', unpack(redis.call('KEYS', ARGV[1])))", "0", "portolan:instance:*"]
    const socket = connect({ host, port })
    const chunks: Array<string> = []
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      chunks.push(chunk)
      if (!chunk.endsWith("+PONG\r\n")) return
      socket.destroy()
      resume(Effect.succeed(chunks.join("").match(/^\{/gm)?.length ?? 0))
    })
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.write(`*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join("")}PING\r\n`)
    return Effect.sync(() => socket.destroy())
  })

/** Hosts of the fleet. */
const hosts = 50

/** A fleet is announced by the agents of many hosts; one alone, which looks at all it has with each write, takes minutes. */
const fillConsul = (url: string) =>
  Effect.forEach(Target.instances, (instance, index) =>
    Effect.gen(function*() {
      const { Name, ...written } = yield* ConsulRecord.write(instance, { tags: ["mcp"] })
      const node = index % hosts
      const body = JSON.stringify({
        Node: `host-${node}`,
        Address: `10.1.0.${node}`,
        SkipNodeUpdate: index >= hosts,
        Service: { ...written, Service: Name }
      })
      yield* json(`${url}/v1/catalog/register`, { method: "PUT", body })
    }), { concurrency: 32, discard: true })

const consul = Consul.make
const backends: Record<Target.Name, { readonly unavailable: Effect.Effect<string | undefined>; readonly make: Make }> =
  {
    "Consul, services": {
      unavailable: Consul.unavailable,
      make: Effect.map(consul, (server) => ({
        ...server,
        fill: fillConsul(server.url),
        // The shortest way there is: no blocking, no index.
        raw: Effect.map(
          Effect.forEach(
            Array.from({ length: Target.serviceCount }, (_, n) => `${server.url}/v1/health/service/service-${n}`),
            (url) => json(url),
            { concurrency: 8 }
          ),
          (answers) => answers.reduce<number>((sum, answer) => sum + sizeOf(answer), 0)
        )
      }))
    },
    "Consul, keys": {
      unavailable: Consul.unavailable,
      make: Effect.map(consul, (server) => ({
        ...server,
        raw: Effect.map(json(`${server.url}/v1/kv/portolan/?recurse`), sizeOf)
      }))
    },
    Redis: {
      unavailable: Redis.unavailable,
      make: Effect.map(Redis.single(), (server) => ({ ...server, raw: readRedis(server) }))
    },
    etcd: {
      unavailable: Etcd.unavailable,
      make: Effect.map(Etcd.single(), (server) => ({
        ...server,
        raw: Effect.map(
          json(`${server.url}/v3/kv/range`, {
            method: "POST",
            body: JSON.stringify({ key: "Lw==", range_end: "MA==" })
          }),
          (answer) => typeof answer === "object" && answer !== null && "kvs" in answer ? sizeOf(answer.kvs) : 0
        )
      }))
    }
  }

/** Passes everything on to a server, and counts what it is sent: a packet to it is a request, or several in one go. */
const counted = ({ host, port }: Backend) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly packets: () => number; readonly close: () => void }>((resume) => {
      let packets = 0
      const server = createServer((client) => {
        const upstream = connect({ host, port })
        client.on("data", () => packets++).pipe(upstream).pipe(client)
        for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
          one.on("error", () => other.destroy()).on("close", () => other.destroy())
        }
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ port, packets: () => packets, close: () => void server.close() }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const compiled = new URL("compiled.mjs", import.meta.url).href
const program = new URL("registries/watch.ts", import.meta.url).pathname

/** A process that watches, until the scope closes. It writes once it is told to. */
const watcher = (name: Target.Name, url: string, writes = 0) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", compiled, program, name, url, String(writes)], {
          stdio: ["pipe", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      return {
        pid: child.pid ?? 0,
        go: () => child.stdin.write("\n"),
        next: Effect.promise(async (): Promise<unknown> => {
          const { done, value } = await lines.next()
          if (done === true) throw new Error(`the watcher of ${name} ended`)
          return JSON.parse(value)
        })
      }
    }
  )

const announceAll = (registrar: Registrar) =>
  Effect.forEach(
    Target.instances,
    (instance) => registrar.put(instance, { ttl: Duration.hours(1), incarnation: "bench" }),
    { concurrency: 32, discard: true }
  )

const percentile = (values: ReadonlyArray<number>, share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(Math.floor(values.length * share), values.length - 1)] ?? Number.NaN

const numbers = (value: unknown): ReadonlyArray<number> => Array.isArray(value) ? value.map(Number) : []

const measure = Effect.fnUntraced(function*(name: Target.Name, make: Make) {
  const backend = yield* make
  const { registrar } = yield* Target.open(name, backend.url)
  yield* backend.fill ?? announceAll(yield* Effect.fromOption(registrar))

  const first: Array<number> = []
  const raw: Array<number> = []
  for (let round = 0; round < starts; round++) {
    const began = performance.now()
    const found = yield* backend.raw
    if (found !== Target.instances.length) return yield* Effect.die(new Error(`${name}: raw: ${found} instances`))
    raw.push(performance.now() - began)
    first.push(Number(yield* Effect.scoped(Effect.flatMap(watcher(name, backend.url), ({ next }) => next))))
  }

  const proxy = yield* counted(backend)
  const url = backend.url.replace(`${backend.host}:${backend.port}`, `127.0.0.1:${proxy.port}`)
  const idle = yield* Effect.scoped(Effect.gen(function*() {
    const watching = yield* watcher(name, url, writes)
    yield* watching.next
    // What opening leaves to do is done.
    yield* Effect.sleep("5 seconds")
    const before = { packets: proxy.packets(), time: processorTime(watching.pid) }
    yield* Effect.sleep(Duration.seconds(idleSeconds))
    return {
      packets: (proxy.packets() - before.packets) / idleSeconds,
      time: (processorTime(watching.pid) - before.time) / idleSeconds,
      memory: residentMemory(watching.pid)
    }
  }))

  // Not through the proxy, which takes a processor of its own.
  const watching = yield* watcher(name, backend.url, writes)
  yield* watching.next
  yield* Effect.sleep("5 seconds")
  watching.go()
  const times = numbers(yield* watching.next)
  return [
    name,
    show(summarize(first)),
    show(summarize(raw)),
    show(summarize(times.slice(0, cold))),
    show(summarize(times.slice(cold))),
    percentile(times.slice(cold), 0.99).toFixed(1),
    idle.packets.toFixed(1),
    idle.time.toFixed(1),
    idle.memory.toFixed(0)
  ]
})

const rows: Array<ReadonlyArray<string>> = []
for (const name of Target.names) {
  const { make, unavailable } = backends[name]
  const reason = await Effect.runPromise(unavailable)
  if (reason !== undefined) console.log(`${name}: left out: ${reason}`)
  else rows.push(await Effect.runPromise(Effect.scoped(measure(name, make))))
}

table(
  `registries with ${
    Target.instances.length.toLocaleString("en")
  } instances of ${Target.serviceCount} services: median (min … max)`,
  [
    [
      "",
      "first catalog, ms",
      "raw, ms",
      `first ${cold} writes to catalog, ms`,
      "later ones, ms",
      "p99",
      "idle: requests/s",
      "processor, ms/s",
      "memory, MiB"
    ],
    ...rows,
    ["goal", "3,000", "", "", "", "100", "5", "", ""]
  ]
)
process.exit(0)
