/** A primary that its peers lost and we still reach: it takes itself for one for a while, and is not to be believed. */
import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as Network from "@portolan/tooling/backends/Network"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as RedisBackend from "./RedisBackend.ts"
import { instance, watch } from "./Watched.ts"

const unavailable = await Effect.runPromise(Redis.unavailable) ?? await Effect.runPromise(Network.unavailable)
if (unavailable !== undefined) console.log(`partition of redis skipped: ${unavailable}`)

const { config, user } = RedisBackend

/**
 * Cuts one of the primaries off from its peers while records are announced, and holds that the catalog follows its
 * successor and loses none of them.
 */
const partition = Effect.fnUntraced(function*(
  options: RedisRegistry.RedisRegistryOptions,
  nodes: ReadonlyArray<Redis.Node>,
  hosts: ReadonlyArray<Network.Host>,
  primaries: Effect.Effect<ReadonlyArray<Redis.Node>, unknown>
) {
  const registry = yield* RedisRegistry.make({ ...options, name: "announcer" })
  const announcer = yield* Announcement.announcer(registry, { ttl: "15 seconds", drain: 0 })
  const numbers = Array.from({ length: 10 }, (_, n) => n)
  yield* Effect.forEach(numbers, (n) => announcer.announce(instance(n)), { concurrency: "unbounded" })
  const catalog = yield* watch(options)
  yield* catalog.until(() => catalog.shown().length === numbers.length)

  const before = yield* primaries
  const former = before[0]!
  yield* RedisBackend.caughtUp(former, 1)
  const host = hosts[nodes.indexOf(former)]!
  yield* host.cutFromPeers
  const latter = yield* primaries.pipe(
    Effect.flatMap((now) => Effect.fromNullishOr(now.find((node) => !before.includes(node)))),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("20 seconds")
  )
  // A record that the successor holds changes there: whoever still reads the former one doesn't see it.
  const keys = yield* latter.cli("--scan", "--pattern", "portolan:instance:*")
  const n = Number(/weather-(\d+)$/m.exec(keys)?.[1])
  const changed = instance(n, 1)
  yield* latter.cli("SET", RedisBackend.keyOf(changed), JSON.stringify(changed))
  yield* latter.cli("PUBLISH", "portolan:changes", JSON.stringify({ id: changed.id }))
  yield* catalog.until(() => catalog.log.includes(`Updated ${changed.id}`), 20_000)
  yield* host.heal
  yield* catalog.until(() => catalog.source()?.state === "connected" && catalog.shown().length === numbers.length)
  assert.deepStrictEqual(catalog.log.filter((line) => line.startsWith("Removed")), [])
})

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "a partition" : `a partition [skipped: ${unavailable}]`,
  () => {
    it.live("of a primary under sentinel is followed to its successor", () =>
      Effect.gen(function*() {
        const hosts = yield* Network.make(6)
        const { master, nodes, primary, sentinels } = yield* Redis.replicated({ config, places: hosts })
        const options = { ...user, sentinels: sentinels.map(({ address }) => address), master }
        yield* partition(options, nodes, hosts, Effect.map(primary, (node) => [node]))
      }), 60_000)

    it.live("of a primary of a cluster is followed to its successor", () =>
      Effect.gen(function*() {
        const hosts = yield* Network.make(6)
        const { nodes, primaries } = yield* Redis.cluster({ config, places: hosts })
        const options = { ...user, cluster: nodes.map(({ address }) => address) }
        yield* partition(options, nodes, hosts, primaries)
      }), 60_000)
  }
)
