/** TLS, passwords and sealed records, on real Redis: what is let in, and what a person reads where it isn't. */
import { assert, describe, it } from "@effect/vitest"
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as Certificates from "@portolan/tooling/backends/Certificates"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import * as RedisBackend from "./RedisBackend.ts"
import { instance, watch } from "./Watched.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)
if (unavailable !== undefined) console.log(`security of redis skipped: ${unavailable}`)

const { config, keyOf, user } = RedisBackend

/** Announces and sees it: both ways work. */
const works = Effect.fnUntraced(function*(options: RedisRegistry.RedisRegistryOptions) {
  const registry = yield* RedisRegistry.make({ ...options, name: "announcer" })
  const registrar = Option.getOrThrow(registry.registrar)
  yield* registrar.put(instance(1), { ttl: Duration.seconds(30), incarnation: "one" })
  const catalog = yield* watch(options)
  yield* catalog.shows("weather-1 #0")
})

/** Why it can't be read, or written. */
const refusal = (options: RedisRegistry.RedisRegistryOptions) =>
  Effect.gen(function*() {
    const registry = yield* RedisRegistry.make(options)
    const read = yield* Effect.flip(registry.list)
    const written = yield* Effect.flip(
      Option.getOrThrow(registry.registrar).put(instance(1), { ttl: Duration.seconds(30), incarnation: "one" })
    )
    assert.strictEqual(written.unauthorized, read.unauthorized)
    assert.notInclude(read.message, "\n")
    return read
  })

const password = "o-so:secret/@"

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "redis" : `redis [skipped: ${unavailable}]`,
  () => {
    it.live("speaks TLS with a single node, and shows its certificate", () =>
      Effect.gen(function*() {
        const tls = yield* Certificates.authority("fleet")
        const { url } = yield* Redis.single({ tls, password })
        const { cert, key } = yield* tls.issue("client")
        yield* works({ url, password, tls: { ca: tls.cert } })
        yield* works({ url, password, tls: { ca: tls.cert, cert, key } })
        yield* works({ url: url.replace("127.0.0.1", "localhost"), password, tls: { ca: tls.cert } })

        const others = yield* Certificates.authority("others")
        const foreign = yield* others.issue("client")
        assert.match((yield* refusal({ url, password })).detail, /^self-signed certificate.*: is `tls.ca` right\?$/)
        assert.match((yield* refusal({ url, password, tls: { ca: others.cert } })).detail, /certificate/)
        const named = yield* refusal({ url, password, tls: { ca: tls.cert, serverName: "other.example" } })
        assert.match(named.detail, /other\.example/)
        const stranger = yield* refusal({ url, password, tls: { ca: tls.cert, ...foreign } })
        // Its word may be lost with the connection.
        assert.match(stranger.detail, /it refuses our certificate: unknown ca|ECONNRESET|closed the connection/)
        const plain = yield* refusal({ url: url.replace("rediss:", "redis:"), password })
        assert.isNotEmpty(plain.detail)
      }), 60_000)

    it.live(
      "speaks TLS with sentinels and what they name, and with all nodes of a cluster",
      () =>
        Effect.gen(function*() {
          const tls = yield* Certificates.authority("fleet")
          const trusted = { password, tls: { ca: tls.cert } }
          const { master, sentinels } = yield* Redis.replicated({ tls, password })
          yield* works({ ...trusted, sentinels: sentinels.map(({ address }) => address), master })
          const { nodes } = yield* Redis.cluster({ tls, password })
          yield* works({ ...trusted, cluster: nodes.slice(0, 2).map(({ address }) => address) })
        }),
      60_000
    )

    it.live("tells in a line what a wrong password is, and never the password", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ password, config })
        const { address } = node
        yield* works({ url: node.url, password })
        yield* works({ url: `redis://:${encodeURIComponent(password)}@${address}` })
        yield* works({ url: node.url, ...user })
        const wrong = "not/so@secret"
        for (
          const options of [
            { url: node.url },
            { url: node.url, password: wrong },
            { url: `redis://:${encodeURIComponent(wrong)}@${address}` },
            { url: node.url, username: "nobody", password: wrong }
          ]
        ) {
          const error = yield* refusal(options)
          assert.isTrue(error.unauthorized, error.message)
          assert.notInclude(`${error.message} ${String(error.cause)}`, wrong)
          assert.notInclude(`${error.message} ${String(error.cause)}`, encodeURIComponent(wrong))
        }
      }), 60_000)

    it.live("says which right its user lacks", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ config })
        yield* node.cli("ACL", "SETUSER", "mute", "on", ">mute", "~portolan:*", "&portolan:*", "+@all", "-publish")
        const registry = yield* RedisRegistry.make({ url: node.url, username: "mute", password: "mute" })
        yield* registry.list
        const error = yield* Effect.flip(
          Option.getOrThrow(registry.registrar).put(instance(1), { ttl: Duration.seconds(30), incarnation: "one" })
        )
        assert.isTrue(error.unauthorized, error.message)
        assert.strictEqual(error.detail, "ERR The user executing the script can't run this command or subcommand")
      }))

    it.live("keeps to its database and its prefix", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single()
        yield* works({ url: `${node.url}/3`, keyPrefix: "fleet[1]*:" })
        assert.strictEqual(yield* node.cli("-n", "3", "EXISTS", "fleet[1]*:instance:weather-1"), "1")
        assert.strictEqual(yield* node.cli("DBSIZE"), "0")
        yield* node.cli("-n", "3", "SET", "fleet1:instance:weather-2", JSON.stringify(instance(2)))
        const registry = yield* RedisRegistry.make({ url: node.url, database: 3, keyPrefix: "fleet[1]*:" })
        assert.deepStrictEqual((yield* registry.list).instances.map(({ id }) => id), ["weather-1"])
      }))

    it.live("holds sealed records, which nobody reads who has no key", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ config })
        const key = (id: string) => ({ id, key: Redacted.make(Buffer.from(randomBytes(32)).toString("base64")) })
        const first = key("2026-10")
        const second = key("2026-11")
        const sealed = (...keys: ReadonlyArray<typeof first>) => RecordFormat.sealed({ keys })
        yield* works({ url: node.url, format: yield* sealed(first) })
        const stored = yield* node.cli("GET", keyOf(instance(1)))
        assert.notMatch(stored, /10\.0\.0\.1|streamable/)
        // A rotation: the new key writes, both are read.
        yield* works({ url: node.url, format: yield* sealed(second, first) })
        const without = yield* (yield* RedisRegistry.make({ url: node.url, format: yield* sealed(first) })).list
        assert.deepStrictEqual(without.instances, [])
        assert.match(without.rejected[0]?.reason ?? "", /2026-11/)
        // Who may write keys but has none can't slip in a plain record, nor move a sealed one to another id.
        yield* node.cli("SET", keyOf(instance(2)), JSON.stringify(instance(2)))
        yield* node.cli("SET", keyOf(instance(3)), yield* node.cli("GET", keyOf(instance(1))))
        const { instances, rejected } = yield* (yield* RedisRegistry.make({
          url: node.url,
          format: yield* sealed(second)
        })).list
        assert.deepStrictEqual(instances.map(({ id }) => id), ["weather-1"])
        assert.deepStrictEqual(rejected.map(({ id }) => id).sort(), ["weather-2", "weather-3"])
      }))
  }
)
