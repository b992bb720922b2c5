/** What is announced as services of a real Consul: how long it lives, and that it is whole. */
import { assert, describe, it } from "@effect/vitest"
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import * as Announcement from "@portolan/core/Announcement"
import * as RecordFormat from "@portolan/core/RecordFormat"
import type { RegistryEvent } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Catalogs from "./Catalogs.ts"
import * as ConsulBackend from "./ConsulBackend.ts"

const { instance } = Catalogs

const unavailable = await Effect.runPromise(Consul.unavailable)
if (unavailable !== undefined) console.log(`what consul is told skipped: ${unavailable}`)

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "what consul is told" : `what consul is told [skipped: ${unavailable}]`,
  () => {
    it.live("C10 an agent that lost its data is announced to again", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const registry = yield* ConsulRegistry.make({ url: server.url, name: "announcer" })
        yield* Announcement.announce(registry, instance(1), { ttl: "2 seconds", drain: 0 })
        yield* server.restartEmpty
        const catalog = yield* Catalogs.make({ url: server.url })
        yield* catalog.until(() => catalog.ids() === "weather-1" && catalog.entries()[0]?.status === "up")
      }))

    it.live("an agent that restarts with its data ends no lease", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const registry = yield* ConsulRegistry.make({ url: server.url })
        const { put } = Option.getOrThrow(registry.registrar)
        yield* put(instance(1), { ttl: Duration.minutes(1), incarnation: "first" })
        yield* Effect.andThen(server.kill, server.start)
        // The catalog says what the agent tells it in its own time.
        const checks: object = JSON.parse(yield* ConsulBackend.ask(server.url, "GET", "agent/checks"))
        assert.nestedPropertyVal(checks, "portolan:weather-1:first.Status", "passing")
      }))

    it.live("a record that isn't renewed has expired, and is back once it is", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const registry = yield* ConsulRegistry.make({ url: server.url })
        const { put, renew } = Option.getOrThrow(registry.registrar)
        const said: Array<RegistryEvent> = []
        yield* registry.watch.pipe(
          Stream.runForEach((event) => Effect.sync(() => void said.push(event))),
          Effect.forkScoped
        )
        const last = () => {
          const event = said.findLast(({ _tag }) => _tag === "Snapshot")
          return event?._tag === "Snapshot"
            ? { instances: event.instances.map(({ id }) => id), expired: event.expired }
            : undefined
        }
        const lease = yield* put(instance(1), { ttl: Duration.seconds(1), incarnation: "first" })
        yield* Catalogs.eventually(() => last()?.instances.join() === "weather-1")
        yield* Catalogs.eventually(() => last()?.instances.length === 0)
        assert.deepStrictEqual(last()?.expired, ["weather-1"])
        assert.deepStrictEqual((yield* registry.list).expired, ["weather-1"])
        assert.deepStrictEqual(yield* renew([lease]), [])
        yield* Catalogs.eventually(() => last()?.instances.join() === "weather-1")
        assert.deepStrictEqual(last()?.expired, [])
      }))

    it.live("maintenance outlasts what its process writes, and not the process", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const registry = yield* ConsulRegistry.make({ url })
        const { put } = Option.getOrThrow(registry.registrar)
        const lease = { ttl: Duration.seconds(30), incarnation: "first" }
        const status = Effect.map(registry.list, ({ instances }) => instances[0]?.status)
        yield* put(instance(1), lease)
        yield* ConsulBackend.ask(url, "PUT", "agent/service/maintenance/weather-1?enable=true")
        yield* put({ ...instance(1), version: "1.1.0" }, lease)
        assert.strictEqual(yield* status, "draining")
        yield* put(instance(1), { ...lease, incarnation: "second" })
        assert.strictEqual(yield* status, "up")
      }))

    it.live("what Consul has no field for survives the trip, sealed or not", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const key = { id: "one", key: Redacted.make(Buffer.alloc(32, 1).toString("base64")) }
        const sealed = yield* RecordFormat.sealed({ keys: [key] })
        yield* ConsulBackend.ask(url, "PUT", "agent/service/register", { Name: "stranger", Port: 1, Tags: ["sealed"] })
        const announced = (tag: string) =>
          ServiceInstance.make({
            ...instance(1),
            endpoint: { transport: "a2a", card: "https://agents.example.com/card.json" },
            limits: { maxConcurrency: 4 },
            metadata: { gpu: true, note: "Übung ".repeat(300) },
            id: tag,
            tags: [tag]
          })
        const trip = Effect.fnUntraced(function*(options: { readonly tag: string; readonly format?: typeof sealed }) {
          const registry = yield* ConsulRegistry.make({ url, ...options })
          yield* Announcement.announce(registry, announced(options.tag), { drain: 0 })
          return yield* registry.list
        })
        const open = yield* trip({ tag: "open" })
        assert.deepStrictEqual(open.instances, [announced("open")])
        const { instances, rejected } = yield* trip({ tag: "sealed", format: sealed })
        assert.deepStrictEqual(instances, [announced("sealed")])
        assert.deepStrictEqual(rejected.map(({ id }) => id), ["stranger"])
        assert.notInclude(
          yield* ConsulBackend.ask(url, "GET", "health/service/weather?tag=sealed"),
          "agents.example.com"
        )
      }))
  }
)
