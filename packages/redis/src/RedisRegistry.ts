/**
 * Instances announced in Redis: each is the JSON of its record at `<keyPrefix>instance:<id>`, with a TTL; changes are
 * published on `<keyPrefix>changes`.
 *
 * **Mental model**: what is published, and what Redis itself tells of its keys where it is set up to, only hints at ids;
 * `HintedRegistry` reads what they hold. A record, its TTL and what is published of it are written in one script, which
 * tells our record from that of another process by a member that it adds to the JSON.
 *
 * **Details**: times are those that Redis says are left, so no clock of a writer matters. Redis needs 6.0 or newer.
 *
 * **Gotchas**: everything is found by `SCAN`, which looks at every key of the database: give the records a database that
 * doesn't hold millions of others.
 *
 * @since 0.2.0
 */
import * as HintedRegistry from "@portolan/core/HintedRegistry"
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as RcRef from "effect/RcRef"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Scripts from "./internal/scripts.ts"
import * as Redis from "./Redis.ts"
import * as Target from "./Target.ts"

/**
 * Settings, with their defaults. One of `url`, `sentinels` with `master`, and `cluster` says where Redis is.
 *
 * @category models
 * @since 0.2.0
 */
export interface RedisRegistryOptions extends Target.TargetOptions {
  /** What all keys and channels begin with. Default `portolan:`. */
  readonly keyPrefix?: string | undefined
  /** Default `redis`. */
  readonly name?: string | undefined
  /** Default `limited`. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** How records are written down. Default: JSON, ours and that of others. */
  readonly format?: RecordFormat.RecordFormat | undefined
  /** Time between two readings of everything, which make good what no message told. Default 10 s. */
  readonly every?: Duration.Input | undefined
}

/** Keys that a page looks at, and that are read in one request. */
const pageSize = 1_000

/**
 * Makes a registry in Redis. Nothing is connected before it is used; its connections close with the scope.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: RedisRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const { keyPrefix = "portolan:", name = "redis" } = options
    const format = options.format ?? RecordFormat.plain
    const failed = (operation: string) => ({ reason, unauthorized = false }: Redis.RedisError) =>
      new Registry.RegistryError({ registry: name, operation, reason, ...(unauthorized ? { unauthorized } : {}) })
    const target = yield* Effect.mapError(
      Effect.fromResult(Target.make(options)),
      (reason) => failed("open")(new Redis.RedisError({ reason }))
    )

    return HintedRegistry.make({
      name,
      type: "redis",
      open: (hinted) => Effect.mapError(openSession(target, keyPrefix, hinted, failed("read")), failed("open")),
      decode: (id, text) => format.read(Scripts.withoutIncarnation(text), { id }),
      every: options.every,
      registrar: Option.some(yield* makeRegistrar(target, keyPrefix, format, failed)),
      trust: options.trust ?? "limited"
    })
  })

/**
 * Layer that adds a registry in Redis to `Registries`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (
  options: RedisRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

const channelOf = (keyPrefix: string) => `${keyPrefix}changes`
const keyOf = (keyPrefix: string, id: string) => `${keyPrefix}instance:${id}`

/** What is published of a change. */
const messageOf = (hint: HintedRegistry.Hint): string => JSON.stringify(hint)

const makeRegistrar = Effect.fnUntraced(function*(
  target: Target.Target,
  keyPrefix: string,
  format: RecordFormat.RecordFormat,
  failed: (operation: string) => (error: Redis.RedisError) => Registry.RegistryError
): Effect.fn.Return<Registry.Registrar, never, Scope.Scope> {
  // One connection for all that is written, opened when it is needed; one that failed is not used again.
  const connection = yield* RcRef.make({ acquire: Redis.connect(target), idleTimeToLive: Duration.infinity })
  const use = <A>(ask: (redis: Redis.Redis) => Effect.Effect<A, Redis.RedisError>) =>
    // One that hung until core gave it up isn't used again either.
    Effect.onError(
      Effect.scoped(Effect.flatMap(RcRef.get(connection), ask)),
      () => RcRef.invalidate(connection)
    )
  const millis = (ttl: Duration.Duration) => Math.max(1, Math.ceil(Duration.toMillis(ttl)))
  const channel = channelOf(keyPrefix)

  return {
    put: (instance, { incarnation, ttl }) =>
      Effect.gen(function*() {
        const { id } = instance
        const written = yield* Effect.mapError(
          format.write(instance, { id }),
          (reason) => new Redis.RedisError({ reason })
        )
        const text = Scripts.withIncarnation(written, incarnation)
        yield* use(({ run }) => run(Scripts.put, [keyOf(keyPrefix, id)], text, millis(ttl), channel, messageOf({ id })))
        return { instance, incarnation, ttl: Duration.millis(millis(ttl)), handle: text }
      }).pipe(Effect.mapError(failed("put"))),
    renew: (leases) =>
      use(({ run }) =>
        Effect.forEach(leases, ({ handle, incarnation, instance: { id }, ttl }) =>
          run(
            Scripts.renew,
            [keyOf(keyPrefix, id)],
            handle,
            millis(ttl),
            channel,
            messageOf({ id }),
            incarnation
          ), { concurrency: pageSize })
      ).pipe(
        Effect.map((answers) =>
          leases.flatMap((lease, index): ReadonlyArray<Registry.LeaseLost> => {
            if (answers[index] === "kept") return []
            const taken = answers[index] === "taken"
            return [{ lease, reason: taken ? "another process took its id" : "its record is gone", taken }]
          })
        ),
        Effect.mapError(failed("renew"))
      ),
    remove: ({ incarnation, instance: { id } }) =>
      use(({ run }) =>
        run(
          Scripts.remove,
          [keyOf(keyPrefix, id)],
          incarnation,
          channel,
          messageOf({ id, deregistered: true })
        )
      ).pipe(Effect.asVoid, Effect.mapError(failed("remove")))
  }
})

/** One session: its own connections, listening to all that tells of changes. */
const openSession = Effect.fnUntraced(function*(
  target: Target.Target,
  keyPrefix: string,
  hinted: (hint: HintedRegistry.Hint) => void,
  failed: (error: Redis.RedisError) => Registry.RegistryError
): Effect.fn.Return<HintedRegistry.HintedSession, Redis.RedisError, Scope.Scope> {
  const redis = yield* Redis.connect(target)
  const primaries = yield* redis.primaries
  const keys = keyOf(keyPrefix, "")
  const idOf = (key: string) => key.slice(keys.length)
  const pattern = `${keys.replace(/[*?[\]\\]/g, "\\$&")}*`
  const keyspace = `__keyspace@${target.database}__:`

  yield* Effect.forEach(primaries, (node) => {
    node.on("message", (_, message) => Option.map(hintOf(message), hinted))
    node.on("pmessage", (_, channel, event) => {
      // A heartbeat changes the time that is left and nothing else.
      if (event === "expire" || event === "persist") return
      hinted({ id: idOf(channel.slice(keyspace.length)), deregistered: event === "del" })
    })
    return Effect.andThen(
      redis.ask(() => node.subscribe(channelOf(keyPrefix))),
      // Redis tells of its keys where it is set up to, and to whom it may.
      Effect.catchIf(
        redis.ask(() => node.psubscribe(keyspace + pattern)),
        ({ unauthorized }) => unauthorized === true,
        () => Effect.void
      )
    )
  }, { concurrency: "unbounded", discard: true })

  // A node after the other: `from` is the number of the node and a cursor of it, which has 64 bits.
  const begin = "0 0"
  const page = Effect.fnUntraced(function*(from = begin): Effect.fn.Return<HintedRegistry.Page, Redis.RedisError> {
    const [at = "0", cursor = "0"] = from.split(" ")
    const node = primaries[Number(at)]
    if (from === begin) yield* redis.confirm(primaries)
    if (node === undefined) return { readings: [] }
    const reply = yield* redis.ask(() => node.eval(Scripts.page, 0, cursor, pattern, pageSize))
    const [next, found] = yield* Effect.mapError(decodePage(reply), garbled)
    const last = next === "0" && Number(at) + 1 === primaries.length
    // What one of them had is skipped once it isn't a primary any more: nothing is missing only if they all still are.
    if (last) yield* redis.confirm(primaries)
    return {
      readings: found.map(readingOf(idOf)),
      next: last ? undefined : next === "0" ? `${Number(at) + 1} 0` : `${at} ${next}`
    }
  })

  const read = Effect.fnUntraced(function*(ids: ReadonlyArray<string>) {
    const reply = yield* redis.run(Scripts.read, ids.map((id) => keys + id))
    const readings = yield* Effect.mapError(decodeReadings(reply), garbled)
    // Silence is no answer: who takes it for one would remove what another node has.
    if (readings.length !== ids.length) return yield* new Redis.RedisError({ reason: "its slots are moving" })
    return readings.map(readingOf(idOf))
  })

  return {
    page: (from) => Effect.mapError(page(from), failed),
    // In a cluster keys are read one by one, as each may be on its way to another node.
    read: (ids) =>
      Effect.forEach(Arr.chunksOf(ids, redis.isCluster ? 1 : pageSize), read, { concurrency: pageSize }).pipe(
        Effect.map((readings) => readings.flat()),
        Effect.mapError(failed)
      ),
    ping: Effect.mapError(redis.ping, failed),
    lost: Effect.mapError(redis.lost, failed)
  }
})

// As the scripts answer it: key, text, ms that are left.
const Reading = Schema.Tuple([Schema.String, Schema.NullOr(Schema.String), Schema.Finite])
const Readings = Schema.Array(Reading)
const decodeReadings = Schema.decodeUnknownEffect(Readings)
const decodePage = Schema.decodeUnknownEffect(Schema.Tuple([Schema.String, Readings]))

const garbled = () =>
  new Redis.RedisError({ reason: "its answer can't be read; is this a Redis of version 6.0 or newer?" })

const readingOf =
  (idOf: (key: string) => string) => ([key, text, millis]: typeof Reading.Type): HintedRegistry.Reading => {
    const id = idOf(key)
    if (millis === -2) return { _tag: "Absent", id }
    const left = millis < 0 ? undefined : Duration.millis(millis)
    return text === null
      ? { _tag: "Wrong", id, reason: "expected a string at its key, not another type of Redis", left }
      : { _tag: "Found", id, text, left }
  }

// A message that can't be read is no news: everything is read once in a while.
const hintOf = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({
  id: Schema.String,
  deregistered: Schema.optionalKey(Schema.Boolean)
})))
