/**
 * Instances as entries of Consul's key-value store: each is a record at `<prefix><service>/<id>`, held by a session.
 *
 * **Mental model**: one blocking query on the prefix is all that is read: every answer is everything there is. A record
 * is written as the lock of a session that deletes what it holds when it isn't renewed; so holding the key proves the
 * incarnation.
 *
 * **Gotchas**: Consul doesn't say why a key is gone. It counts as removed on purpose while the session that held it lives
 * or it had none, and as expired when the session is gone too; so a record is removed without ending its session, which
 * then ends by itself. An index may go back in a healthy Consul (it forgets deletions after 15 minutes), so that ends
 * no session here; but nobody witnessed what is missing then.
 *
 * @since 0.2.0
 */
import type * as RecordFormat from "@portolan/core/RecordFormat"
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import * as Consul from "./Consul.ts"
import { Entries, View } from "./internal/view.ts"

/**
 * Where the records are, and how they are written.
 *
 * @category models
 * @since 0.2.0
 */
export interface ConsulKeysOptions {
  /** A slash at its end is added. */
  readonly prefix: string
  readonly format: RecordFormat.RecordFormat
  /** A client for a session alone: what is wrong with its connections ends with it. */
  readonly connect: Effect.Effect<Consul.Consul, never, Scope.Scope>
  /** Makes what the registry fails with. */
  readonly failed: (operation: string) => (cause: Consul.ConsulError) => Registry.RegistryError
}

/** Queries a second while there is news; half as many after answers that bring none. */
const rate = 20

/** Sessions renewed at the same time. */
const concurrency = 8

/** Operations that Consul takes in one transaction. */
const transactionLimit = 64

/**
 * Makes what is special about a registry of the key-value store.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  consul: Consul.Consul,
  { connect, failed, format, ...options }: ConsulKeysOptions
): Pick<Registry.Registry, "list" | "watch" | "registrar"> => {
  const prefix = options.prefix.replace(/^\/+|\/+$/g, "") + "/"
  const pathOf = (key: string) => `kv/${key.split("/").map(encodeURIComponent).join("/")}`

  /** The query of the prefix, and what it has shown so far. */
  const begin = (consul: Consul.Consul) => {
    const ask = consul.blocking(Entries, [])
    const askSession = consul.blocking(Sessions)
    return {
      entries: (index: number) => ask(pathOf(prefix), index, [["recurse", ""]]),
      view: new View(prefix, format, {
        lives: (session) => Effect.map(askSession(`session/info/${session}`, 0), ({ body }) => body.length > 0),
        mayRead: (key) => ask(pathOf(key), 0)
      })
    }
  }

  /** What the session that was complete last has seen. */
  let last: View | undefined

  const watch = Stream.unwrap(Effect.map(connect, (consul) => {
    const { entries, view } = begin(consul)
    let index = 0
    let changed = false
    const read = Effect.gen(function*() {
      const { body, index: answered } = yield* entries(index)
      // Never less than 1. https://developer.hashicorp.com/consul/api-docs/features/blocking
      const now = Math.max(1, answered)
      changed = false
      if (now < index) {
        view.mistrust()
        index = 0
      } else {
        changed = yield* view.take(body, now)
        index = now
      }
      const dataLost = last !== undefined && last !== view && view.contradicts(last)
      last = view
      return changed ? { ...view.snapshot, dataLost } : Registry.alive
    })
    // What is slowed down is the question: an answer that had to wait would be old.
    return Stream.fromEffectRepeat(Effect.void).pipe(
      Stream.throttle({ cost: () => changed ? 1 : 2, units: rate, duration: "1 second" }),
      Stream.mapEffect(() => read)
    )
  })).pipe(Stream.mapError(failed("watch")))

  const list = Effect.suspend(() => {
    const { entries, view } = begin(consul)
    return entries(0).pipe(Effect.flatMap(({ body, index }) => view.take(body, index)), Effect.map(() => view.snapshot))
  })

  return {
    list: Effect.mapError(list, failed("list")),
    watch,
    registrar: Option.some(registrar(consul, prefix, format, failed))
  }
}

const Sessions = Schema.Array(Schema.Struct({ ID: Schema.String }))

/** Operation of a transaction, by the names of Consul's API. */
interface Operation {
  readonly Verb: "check-session" | "check-not-exists" | "delete" | "lock"
  readonly Key: string
  readonly Value?: string
  readonly Session?: string
}

const Outcome = Schema.fromJsonString(Schema.Struct({
  Errors: Schema.NullOr(Schema.Array(Schema.Struct({ OpIndex: Schema.Int, What: Schema.String })))
}))
const readOutcome = Schema.decodeUnknownEffect(Outcome)

/** What Consul says of a check that failed, as opposed to an operation that it refuses. */
const isCheck = /^(failed (to check session|session check)\b|key .* exists$)/

const Created = Schema.Struct({ ID: Schema.String })
const readCreated = Schema.decodeUnknownEffect(Schema.fromJsonString(Created))

/**
 * Consul ends a session once it was silent for this many of its TTLs, and a new leader counts them from the beginning.
 * https://developer.hashicorp.com/consul/docs/automate/session
 */
const silentTtls = 2

/** Shortest TTL of a session (seconds), unless its servers are told otherwise. */
const shortestTtl = 10

const registrar = (
  consul: Consul.Consul,
  prefix: string,
  format: RecordFormat.RecordFormat,
  failed: ConsulKeysOptions["failed"]
): Registry.Registrar => {
  const keyOf = ({ id, service }: ServiceInstance) => `${prefix}${service}/${id}`

  /** The operations whose check failed; then nothing was done. */
  const transaction = Effect.fnUntraced(function*(operations: ReadonlyArray<Operation>) {
    const { text } = yield* consul.send("PUT", "txn", operations.map((KV) => ({ KV })), [200, 409])
    const { Errors } = yield* Effect.mapError(
      readOutcome(text),
      () => new Consul.ConsulError({ reason: "Consul's answer to txn can't be read" })
    )
    const refused = Errors?.find(({ What }) => !isCheck.test(What))
    if (refused !== undefined) {
      const unauthorized = /permission denied/i.test(refused.What)
      return yield* new Consul.ConsulError({ reason: refused.What, ...(unauthorized ? { status: 403 } : {}) })
    }
    return new Set(Errors?.map(({ OpIndex }) => OpIndex))
  })

  /** As many transactions as it takes, of operations that only check. */
  const failing = (operations: ReadonlyArray<Operation>) =>
    Effect.map(
      Effect.forEach(
        Array.from({ length: Math.ceil(operations.length / transactionLimit) }, (_, n) => n * transactionLimit),
        (from) =>
          Effect.map(transaction(operations.slice(from, from + transactionLimit)), (failing) =>
            Array.from(failing, (index) => from + index))
      ),
      (indexes) =>
        new Set(indexes.flat())
    )

  const create = (name: string, seconds: number) =>
    consul.send("PUT", "session/create", {
      Name: name,
      TTL: `${seconds}s`,
      Behavior: "delete",
      LockDelay: "0s",
      // It lives by its TTL alone: an agent's death ends nothing. `Checks` is the older name of the same.
      NodeChecks: [],
      Checks: []
    }).pipe(
      Effect.flatMap(({ text }) =>
        Effect.mapError(
          readCreated(text),
          () => new Consul.ConsulError({ reason: "Consul's answer to session/create can't be read" })
        )
      ),
      Effect.map(({ ID }) => ({ session: ID, seconds }))
    )

  /** Removes a key, if the session still holds it. */
  const release = (Key: string, Session: string) =>
    transaction([{ Verb: "check-session", Key, Session }, { Verb: "delete", Key }])

  // Sessions by announcement, so that writing again takes the same one; what is lost or removed is forgotten.
  const sessions = new Map<string, { readonly session: string; readonly seconds: number; readonly key: string }>()
  const announcement = (instance: ServiceInstance, incarnation: string) => JSON.stringify([instance.id, incarnation])

  return {
    put: (instance, { incarnation, ttl }) =>
      Effect.gen(function*() {
        const { id, service } = instance
        if (service.includes("/")) {
          return yield* new Consul.ConsulError({
            reason: `service: "${service}" can't be part of a key with its slash`
          })
        }
        const text = yield* Effect.mapError(
          format.write(instance, { id, service }),
          (reason) => new Consul.ConsulError({ reason: `"${id}": ${reason}` })
        )
        const key = keyOf(instance)
        const known = announcement(instance, incarnation)
        const wanted = Math.max(1, Math.ceil(Duration.toSeconds(ttl) / silentTtls))
        const before = sessions.get(known)
        const { seconds, session } = before ?? (yield* Effect.catchIf(
          create(`Portolan ${id}`, wanted),
          ({ reason }) => wanted < shortestTtl && /Invalid Session TTL/.test(reason),
          () => create(`Portolan ${id}`, shortestTtl)
        ))
        // Not taken again after a failure; until it ends it may hold what was or wasn't written.
        sessions.delete(known)
        // The newest is seen: whoever holds the key loses it in the same step.
        yield* transaction([
          { Verb: "delete", Key: key },
          { Verb: "lock", Key: key, Value: Buffer.from(text).toString("base64"), Session: session }
        ])
        // It is of another service now.
        if (before !== undefined && before.key !== key) yield* release(before.key, session)
        sessions.set(known, { session, seconds, key })
        return { instance, incarnation, ttl: Duration.seconds(seconds * silentTtls), handle: session }
      }).pipe(Effect.mapError(failed("put"))),
    renew: (leases) =>
      Effect.gen(function*() {
        const renewed = yield* Effect.forEach(
          leases,
          ({ handle }) => consul.send("PUT", `session/renew/${handle}`, undefined, [200, 404]),
          { concurrency }
        )
        const gone = yield* failing(leases.map((lease): Operation => ({
          Verb: "check-session",
          Key: keyOf(lease.instance),
          Session: lease.handle
        })))
        const lost = leases.filter((_, index) => gone.has(index) || renewed[index]?.status === 404)
        const taken = yield* failing(lost.map(({ instance }): Operation => ({
          Verb: "check-not-exists",
          Key: keyOf(instance)
        })))
        for (const { incarnation, instance } of lost) sessions.delete(announcement(instance, incarnation))
        return lost.map((lease, index): Registry.LeaseLost => ({
          lease,
          reason: taken.has(index) ? "another process took its id" : "its record is gone",
          taken: taken.has(index)
        }))
      }).pipe(Effect.mapError(failed("renew"))),
    remove: ({ handle, incarnation, instance }) =>
      Effect.gen(function*() {
        sessions.delete(announcement(instance, incarnation))
        yield* release(keyOf(instance), handle)
      }).pipe(Effect.mapError(failed("remove")))
  }
}
