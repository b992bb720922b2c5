import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Network from "@portolan/tooling/backends/Network"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Catalogs from "./Catalogs.ts"
import { eventually, instance } from "./Catalogs.ts"
import * as ConsulBackend from "./ConsulBackend.ts"
import { prefix } from "./ConsulKeysBackend.ts"
import { ids, registry, session, writing } from "./Keys.ts"

const unavailable = await Effect.runPromise(Consul.unavailable)
if (unavailable !== undefined) console.log(`faults of consul's keys skipped: ${unavailable}`)
const noNetwork = unavailable === undefined ? await Effect.runPromise(Network.unavailable) : undefined
if (noNetwork !== undefined) console.log(`a partition of consul's keys skipped: ${noNetwork}`)

/** Servers say after a second, and not after seven, that they find no leader. */
const impatient = { performance: { raft_multiplier: 1, rpc_hold_timeout: "1s" } }

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "faults of consul's keys" : `faults of consul's keys [skipped: ${unavailable}]`,
  () => {
    it.live("H5 most of a fleet that runs out at once is held, one that is removed goes", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const { put, remove } = writing(yield* registry({ url }))
        const catalog = yield* Catalogs.make({ url, kv: prefix })
        const fleet = (ttl: Duration.Input) =>
          Effect.forEach(
            [1, 2, 3, 4, 5, 6],
            (n) => put(instance(n), { ttl: Duration.fromInputUnsafe(ttl), incarnation: String(ttl) })
          )
        const known = () => catalog.entries().length
        yield* fleet("2 seconds")
        yield* eventually(() => known() === 6)
        yield* eventually(() => catalog.source()?.held === known())
        assert.isAtLeast(known(), 3)

        const leases = yield* fleet("1 minute")
        yield* eventually(() => known() === 6 && catalog.source()?.held === 0)
        yield* Effect.forEach(leases, remove, { discard: true })
        yield* eventually(() => known() === 0)
      }))

    it.live("the death of its agent ends no lease before its time", () =>
      Effect.gen(function*() {
        const cluster = yield* Consul.cluster()
        const leader = yield* cluster.leader
        const agent = cluster.members.find((member) => member !== leader)!
        const consul = yield* registry({ url: agent.url })
        const lease = yield* writing(consul).put(instance(1), { ttl: Duration.minutes(1), incarnation: "one" })
        yield* agent.kill
        const states = ConsulBackend.ask(leader.url, "GET", "health/state/critical")
        yield* Effect.repeat(states, { until: (body) => body.includes("serfHealth") }).pipe(
          Effect.timeout("20 seconds")
        )
        assert.strictEqual(ids(yield* (yield* registry({ url: leader.url })).list), "weather-1")
        yield* agent.start
        assert.deepStrictEqual(yield* writing(consul).renew([lease]), [])
      }))

    it.live("needs the prefix and sessions, and no other right; rights that are lost take nothing away", () =>
      Effect.gen(function*() {
        const token = "0b8c5e0a-1f3d-4a6e-9c53-1d5a0f6e7b21"
        const { url } = yield* Consul.single({ token })
        const acl = (path: string, body: object) =>
          Effect.promise(async (): Promise<Record<string, unknown>> => {
            const headers = { "x-consul-token": token }
            const response = await fetch(`${url}/v1/acl/${path}`, {
              method: "PUT",
              headers,
              body: JSON.stringify(body)
            })
            return JSON.parse(await response.text())
          })
        const rules = (right: string) =>
          `key_prefix "portolan/" { policy = "${right}" } session_prefix "" { policy = "${right}" }`
        const allowed = Effect.fnUntraced(function*(Name: string) {
          const policy = yield* acl("policy", { Name, Rules: rules(Name) })
          const { SecretID } = yield* acl("token", { Policies: [{ ID: policy["ID"] }] })
          return {
            policy: String(policy["ID"]),
            registry: yield* registry({ url, token: String(SecretID), wait: "1 second" })
          }
        })
        const lease = { ttl: Duration.minutes(1), incarnation: "one" }
        const writer = (yield* allowed("write")).registry
        const leases = [yield* writing(writer).put(instance(1), lease)]
        assert.deepStrictEqual(yield* writing(writer).renew(leases), [])

        const { policy, registry: reader } = yield* allowed("read")
        const { running, said } = yield* session(reader)
        yield* eventually(() => ids(said.at(-1)) === "weather-1")
        const refused = yield* Effect.flip(writing(reader).put(instance(2), lease))
        assert.strictEqual(refused.unauthorized, true)
        assert.match(refused.message, /^consul: put: .*permission denied/i)

        // Consul doesn't refuse the next query: it leaves out what may not be read.
        yield* acl(`policy/${policy}`, { Name: "read", Rules: rules("deny") })
        const lost = yield* Effect.timeout(Effect.flip(Fiber.join(running)), "20 seconds")
        assert.strictEqual(lost.message, "consul: watch: Consul answered HTTP 403: Permission denied")
        assert.propertyVal(lost, "unauthorized", true)
        assert.deepStrictEqual(said.map(ids), ["weather-1"])
        assert.strictEqual((yield* Effect.flip(reader.list)).unauthorized, true)

        const stranger = yield* registry({ url, token: "6d1a4a7c-0000-4000-8000-000000000000" })
        const { message, unauthorized } = yield* Effect.flip(stranger.list)
        assert.strictEqual(unauthorized, true)
        assert.strictEqual(message, "consul: list: Consul answered HTTP 403: ACL not found")
      }))

    it.live("C7 without a leader stale reads go on, and others say why not", () =>
      Effect.gen(function*() {
        const { leader, members: [survivor, ...others] } = yield* Consul.cluster({ settings: impatient })
        yield* leader
        const { url } = survivor!
        const stale = yield* registry({ url, stale: true, wait: "1 second" })
        yield* writing(stale).put(instance(1), { ttl: Duration.minutes(1), incarnation: "one" })
        const { said } = yield* session(stale)
        yield* eventually(() => ids(said.at(-1)) === "weather-1")
        said.length = 0
        yield* Effect.forEach(others, ({ kill }) => kill, { concurrency: "unbounded" })
        const strict = yield* registry({ url })
        // At first the dead leader is asked.
        yield* Effect.flip(strict.list).pipe(
          Effect.repeat({
            until: ({ message }) => message === "consul: list: Consul answered HTTP 500: No cluster leader"
          }),
          Effect.timeout("20 seconds")
        )
        assert.strictEqual(ids(yield* stale.list), "weather-1")
        const { said: later } = yield* session(stale)
        yield* eventually(() => ids(later.at(-1)) === "weather-1")
        assert.deepStrictEqual(said, [])
      }))

    it.live("a leader's death costs nothing that was announced", () =>
      Effect.gen(function*() {
        const cluster = yield* Consul.cluster()
        const leader = yield* cluster.leader
        const follower = cluster.members.find((member) => member !== leader)!
        const consul = yield* registry({ url: follower.url, wait: "1 second" })
        yield* Effect.forEach(
          [1, 2, 3],
          (n) => Announcement.announce(consul, instance(n), { ttl: "10 seconds", drain: 0 })
        )
        const catalog = yield* Catalogs.make({ url: follower.url, kv: prefix, wait: "1 second" })
        yield* eventually(() => catalog.ids() === "weather-1,weather-2,weather-3")
        yield* leader.kill
        yield* cluster.leader
        yield* Announcement.announce(consul, instance(4), { drain: 0 })
        yield* eventually(() => catalog.ids() === "weather-1,weather-2,weather-3,weather-4")
        assert.deepStrictEqual(
          catalog.changes().toSorted(),
          ["Added weather-1", "Added weather-2", "Added weather-3", "Added weather-4"]
        )
      }))

    it.live.skipIf(noNetwork !== undefined)(
      `a leader that is cut off is noticed, and what the others wrote is seen after it${
        noNetwork === undefined ? "" : ` [skipped: ${noNetwork}]`
      }`,
      () =>
        Effect.gen(function*() {
          const hosts = yield* Network.make(3)
          const cluster = yield* Consul.cluster({ places: hosts, settings: impatient })
          const leader = yield* cluster.leader
          const host = hosts[cluster.members.indexOf(leader)]!
          const catalog = yield* Catalogs.make({ url: leader.url, kv: prefix, wait: "1 second" })
          const other = yield* registry({ url: cluster.members.find((member) => member !== leader)!.url })
          yield* Announcement.announce(other, instance(1), { ttl: "1 minute", drain: 0 })
          yield* eventually(() => catalog.ids() === "weather-1")

          yield* host.cutFromPeers
          yield* eventually(() => catalog.source()?.state === "stale")
          yield* Announcement.announce(other, instance(2), { ttl: "1 minute", drain: 0 })
          assert.strictEqual(catalog.ids(), "weather-1")
          yield* host.heal
          // The others come back to it in their own time.
          yield* Effect.timeout(
            Effect.retry(ConsulBackend.ask(leader.url, "GET", "kv/portolan/?keys"), Schedule.spaced("50 millis")),
            "60 seconds"
          )
          yield* Effect.timeout(eventually(() => catalog.ids() === "weather-1,weather-2"), "5 seconds")
          assert.strictEqual(catalog.source()?.state, "connected")
          assert.deepStrictEqual(catalog.changes(), ["Added weather-1", "Added weather-2"])
        }),
      120_000
    )
  }
)
