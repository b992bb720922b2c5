import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type { RegistryEvent } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import * as EtcdBackend from "./EtcdBackend.ts"
import * as ScriptedEtcd from "./ScriptedEtcd.ts"

const instance = (n: number, seq = 0) =>
  ServiceInstance.make({
    id: `weather-${n}`,
    service: "weather",
    endpoint: { transport: "streamable-http", url: `http://10.0.0.${n}:8080/mcp` },
    metadata: { seq: String(seq) }
  })

const discovered = (options: EtcdRegistry.EtcdRegistryOptions) =>
  Layer.build(
    EtcdRegistry.layer(options).pipe(
      Layer.provideMerge(Discovery.layer({ debounce: 0 })),
      Layer.provideMerge(Registries.layer)
    )
  ).pipe(Effect.map(Context.get(Discovery.Discovery)))

const shown = (discovery: Discovery.Discovery["Service"]) =>
  Array.from(
    HashMap.values(discovery.catalog().entries),
    ({ instance }) => `${instance.id} #${String(instance.metadata["seq"])}`
  ).sort()

const until = (discovery: Discovery.Discovery["Service"], holds: () => boolean) =>
  discovery.updates.pipe(
    Stream.filter(holds),
    Stream.runHead,
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.die(new Error(`after 10 s: ${shown(discovery).join(", ")}`))
    })
  )

const source = (discovery: Discovery.Discovery["Service"]) => discovery.catalog().sources.get("etcd")

/** Why the first session of a registry failed, and what it said before. */
const failure = (options: EtcdRegistry.EtcdRegistryOptions) =>
  Effect.gen(function*() {
    const registry = yield* EtcdRegistry.make(options)
    const said: Array<RegistryEvent> = []
    const exit = yield* registry.watch.pipe(
      Stream.runForEach((event) => Effect.sync(() => void said.push(event))),
      Effect.exit,
      Effect.timeout("10 seconds")
    )
    return { said, reason: Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "" }
  })

const unavailable = await Effect.runPromise(Etcd.unavailable)
if (unavailable !== undefined) console.log(`etcd skipped: ${unavailable}`)

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "etcd" : `etcd [skipped: ${unavailable}]`,
  () => {
    it.live("E1 what was compacted away while it was disconnected is found by reading anew", () =>
      Effect.gen(function*() {
        const backend = yield* EtcdBackend.make(yield* Etcd.make)
        yield* backend.add(instance(1))
        yield* backend.add(instance(2))
        const discovery = yield* discovered({ endpoints: [backend.url] })
        yield* until(discovery, () => shown(discovery).length === 2)
        yield* backend.proxy.refuse
        yield* backend.remove(instance(1))
        yield* backend.update(instance(2, 1))
        yield* backend.add(instance(3))
        yield* backend.compact
        yield* backend.proxy.restore
        yield* until(discovery, () => shown(discovery).join() === "weather-2 #1,weather-3 #0")
      }))

    it.live("E2 a quiet prefix outlives the compaction of what happens elsewhere", () =>
      Effect.gen(function*() {
        const server = yield* Etcd.make
        const backend = yield* EtcdBackend.make(server)
        yield* backend.add(instance(1))
        const discovery = yield* discovered({ endpoints: [backend.url], wait: "100 millis" })
        yield* until(discovery, () => shown(discovery).length === 1)
        const elsewhere = EtcdBackend.ask(server.url, "kv/put", {
          key: EtcdBackend.base64("/elsewhere"),
          value: EtcdBackend.base64("")
        })
        for (let round = 0; round < 5; round++) {
          yield* Effect.replicateEffect(elsewhere, 20)
          // Two windows begin after the writes, and so from their revision.
          const accepted = backend.proxy.connections().accepted
          yield* Effect.gen(function*() {
            while (backend.proxy.connections().accepted < accepted + 2) yield* Effect.sleep(20)
          }).pipe(Effect.timeout("10 seconds"))
          yield* backend.compact
        }
        yield* backend.update(instance(1, 1))
        yield* until(discovery, () => shown(discovery).join() === "weather-1 #1")
        assert.strictEqual(source(discovery)?.reconnects, 0)
      }))

    it.live("E5 a lease that ran out in an outage is granted anew", () =>
      Effect.gen(function*() {
        const server = yield* Etcd.make
        const backend = yield* EtcdBackend.make(server)
        const direct = yield* EtcdRegistry.make({ endpoints: [server.url], name: "direct" })
        const count = (expected: number) =>
          Effect.gen(function*() {
            while ((yield* direct.list).instances.length !== expected) yield* Effect.sleep(50)
          }).pipe(Effect.timeout("10 seconds"))
        yield* Announcement.announce(yield* EtcdRegistry.make({ endpoints: [backend.url] }), instance(1), {
          ttl: "2 seconds",
          drain: 0
        })
        const discovery = yield* discovered({ endpoints: [backend.url] })
        yield* until(discovery, () => shown(discovery).length === 1)
        yield* backend.proxy.stall
        yield* count(0)
        yield* backend.proxy.restore
        yield* count(1)
        yield* until(discovery, () => shown(discovery).length === 1)
      }))

    it.live("a removal says how it came about", () =>
      Effect.gen(function*() {
        const server = yield* Etcd.make
        const backend = yield* EtcdBackend.make(server)
        const registry = yield* EtcdRegistry.make({ endpoints: [server.url] })
        const registrar = Option.getOrThrow(registry.registrar)
        const lease = { ttl: Duration.minutes(1), incarnation: "one" }
        const seen: Array<string> = []
        yield* registry.watch.pipe(
          Stream.runForEach((event) =>
            Effect.sync(() => {
              if (event._tag !== "Delta") return
              for (const change of event.changes) if (change._tag === "Removed") seen.push(`${change.id} ${change.how}`)
            })
          ),
          Effect.forkScoped
        )
        const removed = yield* registrar.put(instance(1), lease)
        const revoked = yield* registrar.put(instance(2), lease)
        yield* backend.add(instance(3))
        yield* registrar.remove(removed)
        // What the end of its time does too: etcd revokes the lease, and its keys go.
        yield* EtcdBackend.ask(server.url, "lease/revoke", { ID: revoked.handle })
        yield* backend.remove(instance(3))
        yield* Effect.gen(function*() {
          while (seen.length < 3) yield* Effect.sleep(10)
        }).pipe(Effect.timeout("10 seconds"))
        assert.deepStrictEqual(seen, ["weather-1 deregistered", "weather-2 expired", "weather-3 deregistered"])
      }))

    it.live("an instance may move to another service: the end of its old key is not its own", () =>
      Effect.gen(function*() {
        const server = yield* Etcd.make
        const backend = yield* EtcdBackend.make(server)
        const moved = { ...instance(1), service: "climate" }
        const discovery = yield* discovered({ endpoints: [server.url] })
        yield* backend.add(instance(1))
        yield* backend.add(moved)
        yield* backend.remove(instance(1))
        yield* backend.add(instance(2))
        yield* until(discovery, () => shown(discovery).length === 2)
        const services = Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance.service)
          .sort()
        assert.deepStrictEqual(services, ["climate", "weather"])
      }))

    it.live("records that start processes, are not JSON, or lie about their key are rejected by id", () =>
      Effect.gen(function*() {
        const server = yield* Etcd.make
        const put = (key: string, value: string) =>
          EtcdBackend.ask(server.url, "kv/put", { key: EtcdBackend.base64(key), value: EtcdBackend.base64(value) })
        const stdio = { id: "tool", service: "tools", endpoint: { transport: "stdio", command: "sh" } }
        yield* put("/portolan/tools/tool", JSON.stringify(stdio))
        yield* put("/portolan/weather/broken", "{")
        yield* put("/portolan/weather/other", JSON.stringify(instance(1)))
        yield* put("/portolan/stray", "")
        yield* put(EtcdBackend.keyOf(instance(2)), JSON.stringify(instance(2)))
        const discovery = yield* discovered({ endpoints: [server.url] })
        yield* until(discovery, () => (source(discovery)?.rejected.length ?? 0) === 4)
        assert.deepStrictEqual(shown(discovery), ["weather-2 #0"])
        assert.deepStrictEqual(
          source(discovery)?.rejected.map(({ id }) => id).sort(),
          ["/portolan/stray", "broken", "other", "tool"]
        )
      }))

    it.live("whatever is announced comes back as it was", () =>
      Effect.gen(function*() {
        const registry = yield* EtcdRegistry.make({ endpoints: [(yield* Etcd.make).url] })
        const registrar = Option.getOrThrow(registry.registrar)
        const trip = Effect.fnUntraced(function*(instance: ServiceInstance.ServiceInstance) {
          const lease = yield* registrar.put(instance, { ttl: Duration.minutes(1), incarnation: "one" })
          const { instances, rejected } = yield* registry.list
          const lost = yield* registrar.renew([lease])
          yield* registrar.remove(lease)
          return { instances, rejected, lost, left: (yield* registry.list).instances }
        })
        const text = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" })
        const arbitrary = fc.record({
          id: fc.oneof(text, fc.constantFrom("a/b", "a/", "/", "%2f")),
          service: text.filter((service) => !service.includes("/")),
          tags: fc.array(text),
          metadata: fc.dictionary(text, fc.jsonValue())
        }).map((fields) => ServiceInstance.make({ ...instance(1), ...fields }))
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(arbitrary, async (instance) => {
              const { instances, left, lost, rejected } = await Effect.runPromise(trip(instance))
              assert.deepStrictEqual([rejected, lost, left], [[], [], []])
              assert.isTrue(
                instances.length === 1 && ServiceInstance.equals(instances[0], instance),
                JSON.stringify(instances)
              )
            }),
            { numRuns: 50 }
          )
        )
      }))

    it.live("the next endpoint is taken when one is dead", () =>
      Effect.gen(function*() {
        const server = yield* Etcd.make
        const backend = yield* EtcdBackend.make(server)
        yield* backend.proxy.refuse
        yield* backend.add(instance(1))
        const discovery = yield* discovered({ endpoints: [backend.url, server.url] })
        yield* until(discovery, () => shown(discovery).length === 1)
      }))
  }
)

describe("a scripted etcd", () => {
  it.live("E3 the fragments of one answer are one batch", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedEtcd.make({
        list: { header: ScriptedEtcd.header(5) },
        watch: [
          { header: ScriptedEtcd.header(5), created: true },
          { header: ScriptedEtcd.header(6), fragment: true, events: [ScriptedEtcd.put(instance(1), 6)] },
          { header: ScriptedEtcd.header(6), events: [ScriptedEtcd.put(instance(2), 6)] }
        ]
      })
      const { reason, said } = yield* failure({ endpoints: [url] })
      assert.deepStrictEqual(
        said.flatMap((event) => event._tag === "Delta" ? [event.changes.length] : []),
        [2]
      )
      assert.include(reason, "etcd ended the watch")
    }))

  const begun = { list: { header: ScriptedEtcd.header(10) } }
  const cases = [
    [
      "E1 compacted",
      { header: ScriptedEtcd.header(0), canceled: true, compact_revision: "12" },
      "compacted its history up to 12"
    ],
    [
      "E4 created and cancelled in one message",
      { header: ScriptedEtcd.header(10), created: true, canceled: true },
      "cancelled the watch"
    ],
    ["E11 the revision went back", { header: ScriptedEtcd.header(4), created: true }, "went back from 10 to 4"],
    [
      "E12 another cluster",
      { header: { ...ScriptedEtcd.header(10), cluster_id: "8" }, created: true },
      "another cluster"
    ]
  ] as const
  for (const [title, answer, expected] of cases) {
    it.live(`${title}: the session fails and says so`, () =>
      Effect.gen(function*() {
        const { url } = yield* ScriptedEtcd.make({ ...begun, watch: [answer] })
        const { reason, said } = yield* failure({ endpoints: [url] })
        assert.strictEqual(said[0]?._tag, "Snapshot")
        assert.include(reason, expected)
      }))
  }

  it.live("refused credentials are told apart, whatever status etcd wraps them in", () =>
    Effect.gen(function*() {
      for (
        const [status, body] of [
          [401, { error: "etcdserver: invalid auth token", code: 16 }],
          [403, { error: "etcdserver: permission denied", code: 7 }],
          [400, { error: "etcdserver: user name is empty", code: 3 }]
        ] as const
      ) {
        const { url } = yield* ScriptedEtcd.make({ ...begun, status, list: body })
        const registry = yield* EtcdRegistry.make({ endpoints: [url] })
        const error = yield* Effect.flip(registry.list)
        assert.strictEqual(error.unauthorized, true)
        assert.strictEqual(error.message, `etcd: list: ${body.error}`)
      }
    }))

  it.live("an answer of something else is one clear line", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedEtcd.make({ list: "<html>" })
      const registry = yield* EtcdRegistry.make({ endpoints: [url] })
      assert.include((yield* Effect.flip(registry.list)).message, "etcd: list: etcd's answer to kv/range can't be read")
    }))
})

describe("settings", () => {
  it.effect("a wrong endpoint is named", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(EtcdRegistry.make({ endpoints: ["localhost:2379"] }))
      assert.strictEqual(
        error.message,
        "etcd: open: endpoints: expected http(s) URLs of etcd members, not \"localhost:2379\""
      )
    }))

  it.live("a dead endpoint is named without its password", () =>
    Effect.gen(function*() {
      const registry = yield* EtcdRegistry.make({ endpoints: ["http://user:secret@127.0.0.1:1"] })
      const { message } = yield* Effect.flip(registry.list)
      assert.strictEqual(
        message,
        "etcd: list: etcd at http://127.0.0.1:1 can't be reached: connect ECONNREFUSED 127.0.0.1:1"
      )
    }))
})
