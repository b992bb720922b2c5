/**
 * Servers that announce themselves in each registry, seen by a process that listens to it: announced, wiped, ended in
 * order and not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as Discovery from "@portolan/core/Discovery"
import { announce, memoryRegistry, type RegistryOption } from "@portolan/core/promise"
import * as Registries from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { type Described, open } from "./announcer.ts"
import { directory, until } from "./process.ts"

const program = fileURLToPath(new URL("./announcer.ts", import.meta.url))

const weather = {
  id: "weather-1",
  service: "weather",
  endpoint: { transport: "streamable-http", url: "http://127.0.0.1:9/mcp" }
} as const

/** A running backend: how it is reached, and what loses all its records. */
interface Backend {
  readonly registry: RegistryOption
  readonly described?: Described
  readonly wipe?: Effect.Effect<void, unknown>
}

const of = (described: Described, wipe: Effect.Effect<void, unknown>): Backend => ({
  registry: open(described),
  described,
  wipe
})

const backends = {
  memory: Effect.sync((): Backend => ({ registry: memoryRegistry() })),
  file: Effect.map(directory({ "services.json": "{\"services\": []}" }), (folder) => {
    const file = path.join(folder, "services.json")
    return of(
      { type: "file", options: { path: file } },
      Effect.promise(() => fs.rm(`${file}.d`, { recursive: true, force: true }))
    )
  }),
  etcd: Effect.map(
    Etcd.make,
    ({ restartEmpty, url }) => of({ type: "etcd", options: { endpoints: [url] } }, restartEmpty)
  ),
  consul: Effect.map(Consul.make, ({ restartEmpty, url }) => of({ type: "consul", options: { url } }, restartEmpty)),
  "consul's keys": Effect.map(
    Consul.make,
    ({ restartEmpty, url }) => of({ type: "consul", options: { url, kv: "portolan/" } }, restartEmpty)
  ),
  redis: Effect.map(Redis.single(), ({ restartEmpty, url }) => of({ type: "redis", options: { url } }, restartEmpty))
}

const lacksConsul = await Effect.runPromise(Consul.unavailable)
const lacking = new Map([
  ["etcd", await Effect.runPromise(Etcd.unavailable)],
  ["consul", lacksConsul],
  ["consul's keys", lacksConsul],
  ["redis", await Effect.runPromise(Redis.unavailable)]
])

/**
 * ms until it is gone after its process was killed, at most. Consul's agent tells its server at once that a check is
 * critical, but not for up to 30 s after it meant to compare all it has with its server and was registering something.
 * https://github.com/hashicorp/consul/blob/v1.8.7/agent/ae/ae.go
 */
const gone = (name: string) => name === "consul" ? 20_000 + 30_000 : 20_000

/** What the registry has of it now: its status, or that it isn't there. */
const statusIn = (registry: RegistryOption) =>
  Effect.scoped(Effect.flatMap(registry.open, ({ list }) => list)).pipe(
    Effect.map(({ instances }) => instances.find(({ id }) => id === weather.id)?.status ?? "absent"),
    Effect.catch(() => Effect.succeed("unknown"))
  )

/** What a listening process sees of it, one after the other. */
const seen = Effect.fnUntraced(function*(registry: RegistryOption) {
  const steps: Array<string> = []
  const discovery = yield* Layer.build(
    Registries.layerOf(registry.open).pipe(
      Layer.provideMerge(Discovery.layer({ debounce: 0 })),
      Layer.provideMerge(Registries.layer)
    )
  ).pipe(Effect.map(Context.get(Discovery.Discovery)))
  yield* discovery.ready
  yield* discovery.updates.pipe(
    Stream.runForEach(({ changes }) =>
      Effect.sync(() => {
        for (const { _tag, entry } of changes) {
          steps.push(_tag === "Removed" ? "removed" : entry.instance.status)
        }
      })
    ),
    Effect.forkScoped
  )
  return steps
})

for (const [name, make] of Object.entries(backends)) {
  const lacks = lacking.get(name)
  if (lacks !== undefined) console.log(`skipped: announcing in ${name}: ${lacks}`)
  describe.skipIf(lacks !== undefined)(`announcing in ${name}`, () => {
    it.live("is seen, comes back after the registry lost it, drains and goes", () =>
      Effect.gen(function*() {
        const { registry, wipe } = yield* make
        const steps = yield* seen(registry)
        const announced = yield* Effect.promise(() =>
          announce(registry, weather, { ttl: "2 seconds", drain: "1 second" })
        )
        yield* until(Effect.sync(() => steps.includes("up")), 10_000)
        if (wipe !== undefined) {
          yield* wipe
          yield* until(Effect.map(statusIn(registry), (status) => status === "up"), 20_000)
        }
        steps.length = 0
        yield* Effect.promise(announced.close)
        yield* until(Effect.sync(() => steps.includes("removed")), 10_000)
        assert.deepStrictEqual(steps.slice(-2), ["draining", "removed"])
        assert.strictEqual(yield* statusIn(registry), "absent")
      }), 60_000)

    it.live("has a layer that does so for as long as it lives", () =>
      Effect.gen(function*() {
        const { registry } = yield* make
        // Held open, as what is in memory is gone with its last user.
        yield* registry.open
        const scope = yield* Scope.make()
        const instance = Effect.sync(() => ServiceInstance.make(weather))
        yield* Layer.buildWithScope(Announcement.layer(registry.open, instance, { drain: 0 }), scope)
        yield* until(Effect.map(statusIn(registry), (status) => status === "up"), 10_000)
        yield* Scope.close(scope, Exit.void)
        yield* until(Effect.map(statusIn(registry), (status) => status === "absent"), 10_000)
      }), 60_000)

    it.live.skipIf(name === "memory")(
      "ends with the process: at once in order, else with its lease",
      () =>
        Effect.gen(function*() {
          const { described, registry } = yield* make
          const ended = Effect.fnUntraced(function*(signal: NodeJS.Signals) {
            const child = yield* Effect.acquireRelease(
              Effect.sync(() =>
                spawn(process.execPath, [program, JSON.stringify(described)], { stdio: ["ignore", "pipe", "inherit"] })
              ),
              (child) => Effect.sync(() => child.kill("SIGKILL"))
            )
            yield* Effect.promise(() => new Promise((resolve) => child.stdout.once("data", resolve)))
            assert.strictEqual(yield* statusIn(registry), "up")
            child.kill(signal)
            return yield* Effect.promise(() => new Promise((resolve) => child.once("exit", (_, by) => resolve(by))))
          })
          assert.strictEqual(yield* ended("SIGTERM"), "SIGTERM")
          assert.strictEqual(yield* statusIn(registry), "absent")
          assert.strictEqual(yield* ended("SIGKILL"), "SIGKILL")
          assert.strictEqual(yield* statusIn(registry), "up")
          yield* until(Effect.map(statusIn(registry), (status) => status === "absent"), gone(name))
        }),
      90_000
    )
  })
}
