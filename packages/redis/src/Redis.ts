/**
 * The part of Redis that a registry needs, over ioredis: scripts run on the node that holds their key, and the primaries
 * themselves, whether Redis is a single node, behind Sentinel, or a cluster.
 *
 * **Mental model**: a client connects once. It never connects again, replays nothing and gives each command a deadline:
 * whoever asks learns at once that Redis is lost, and nothing is written long after its writer gave up.
 *
 * **Gotchas**: errors of ioredis carry the arguments of their command, which may be a password; so only their messages
 * are kept, and without it.
 *
 * @since 0.2.0
 */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Cluster, Redis as Node } from "ioredis"
import { deadline, type Target } from "./Target.ts"

/**
 * Error raised when Redis can't be reached, or refuses.
 *
 * @category errors
 * @since 0.2.0
 */
export class RedisError extends Data.TaggedError("RedisError")<{
  /** One line for a person. */
  readonly reason: string
  /** Whether it refused our credentials, or what they may do. */
  readonly unauthorized?: boolean | undefined
}> {
  override get message(): string {
    return this.reason
  }
}

/**
 * A connected client. Everything fails once a connection of it is lost.
 *
 * @category models
 * @since 0.2.0
 */
export interface Redis {
  /** Whether the keys are spread over several nodes. */
  readonly isCluster: boolean
  /** Runs a script where its keys are. In a cluster they belong to one slot. */
  readonly run: (
    script: string,
    keys: ReadonlyArray<string>,
    ...args: ReadonlyArray<string | number>
  ) => Effect.Effect<unknown, RedisError>
  /** Connections to the nodes that hold keys: to one, or to all primaries of the cluster. */
  readonly primaries: Effect.Effect<ReadonlyArray<Node>, RedisError, Scope.Scope>
  /** Fails unless these are all the primaries, by the word of each of them, and every slot is served by one of them. */
  readonly confirm: (primaries: ReadonlyArray<Node>) => Effect.Effect<void, RedisError>
  /** Asks whether all that it is connected to is still there. */
  readonly ping: Effect.Effect<void, RedisError>
  /** Asks a node something. */
  readonly ask: <A>(question: () => Promise<A>) => Effect.Effect<A, RedisError>
  /** Fails as soon as a connection is lost. */
  readonly lost: Effect.Effect<never, RedisError>
}

/**
 * Connects until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const connect = Effect.fnUntraced(function*(
  target: Target
): Effect.fn.Return<Redis, RedisError, Scope.Scope> {
  const lost = Deferred.makeUnsafe<never, RedisError>()
  const failed = (cause: unknown) => explain(cause, target.secrets)
  const ask = <A>(question: () => Promise<A>) => Effect.tryPromise({ try: question, catch: failed })
  const open = new Set<Node | Cluster>()
  const lose = (error: RedisError) => {
    Deferred.doneUnsafe(lost, Effect.fail(error))
    for (const client of open) client.disconnect()
  }

  const leave = (client: Node | Cluster) => {
    open.delete(client)
    client.disconnect()
  }

  const join = Effect.fnUntraced(function*<C extends Node | Cluster>(make: () => C) {
    const client = yield* Effect.acquireRelease(Effect.sync(make), (client) => Effect.sync(() => leave(client)))
    yield* Effect.callback<void, RedisError>((resume) => {
      const events: NodeJS.EventEmitter = client
      const end = (cause: unknown) => {
        const error = failed(cause)
        if (open.has(client)) lose(error)
        else resume(Effect.fail(error))
      }
      const ready = () => {
        open.add(client)
        resume(Effect.void)
      }
      events.once("ready", ready)
      events.on("error", end)
      events.once("end", () => end(undefined))
      // How it went is told by the events, and better.
      client.connect().catch(() => {})
      return Effect.sync(() => {
        // The last word of the other side may still be on its way.
        events.off("ready", ready)
        leave(client)
      })
    })
    return client
  })

  /** Where the primary is by the word of the sentinel that answers first, which is listened to from then on. */
  const primaryOf = Effect.fnUntraced(function*(master: string) {
    const sentinel = yield* Effect.mapError(
      Effect.raceAll(target.sentinels.map((sentinel) => join(sentinel))),
      ({ reason, unauthorized }) => new RedisError({ reason: `no sentinel can be asked: ${reason}`, unauthorized })
    )
    // Others may have answered in the same moment.
    for (const other of open) if (other !== sentinel) leave(other)
    // The former primary may be there for seconds more, and take what it will lose.
    sentinel.on("message", (_, message: string) => {
      if (message.startsWith(`${master} `)) lose(new RedisError({ reason: "another node is the primary now" }))
    })
    yield* ask(() => sentinel.subscribe("+switch-master"))
    const told = decodeAddress(yield* ask(() => sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)))
    if (Option.isNone(told)) {
      return yield* new RedisError({ reason: "the sentinels know no primary of this name; is `master` right?" })
    }
    const [host, port] = told.value
    return { host, port: Number(port) }
  })

  const { master } = target
  const primary = master === undefined ? undefined : yield* primaryOf(master)
  const client = yield* join(() => target.client(primary))
  if (client instanceof Node) {
    const reason = unfit(yield* ask(() => client.call("HELLO")), primary !== undefined)
    if (reason !== undefined) return yield* new RedisError({ reason })
  }
  return {
    isCluster: client instanceof Cluster,
    run: (script, keys, ...args) => ask(() => client.eval(script, keys.length, ...keys, ...args)),
    primaries: client instanceof Node
      ? Effect.succeed([client])
      : Effect.forEach(
        client.nodes("master"),
        (node) => join(() => node.duplicate({ enableOfflineQueue: false })),
        { concurrency: "unbounded" }
      ),
    confirm: (primaries) =>
      client instanceof Node
        ? Effect.void
        // Of one node alone the word may be old: of one that was replaced while it hung, or that was away.
        : Effect.gen(function*() {
          const served = new Set<number>()
          // Asked again, as a slot that moves from one that is asked late to one that was asked early is named by none.
          for (let asked = 0; asked < 2 && served.size < slotCount; asked++) {
            const views = yield* Effect.forEach(
              primaries,
              (node) => Effect.flatMap(ask(() => node.cluster("SLOTS")), readSlots),
              { concurrency: "unbounded" }
            )
            const slots = slotsOf(primaries, views, target.reachedAt)
            if (slots === undefined) return yield* new RedisError({ reason: "the primaries are others now" })
            for (const slot of slots) served.add(slot)
          }
          if (served.size < slotCount) {
            const reason = `no primary serves ${slotCount - served.size} of the cluster's slots`
            return yield* new RedisError({ reason })
          }
        }),
    ping: Effect.suspend(() =>
      Effect.forEach(
        Array.from(open).filter((client) => client instanceof Node),
        (node) => ask(() => node.ping()),
        { concurrency: "unbounded", discard: true }
      )
    ),
    ask,
    lost: Deferred.await(lost)
  }
})

const addressOf = ({ options }: Node): string => `${options.host}:${options.port}`

// As sentinels answer it; nothing where they know no such primary.
const decodeAddress = Schema.decodeUnknownOption(Schema.Tuple([Schema.String, Schema.String]))

/**
 * Why a node, by what it says of itself, isn't what is looked for. One that holds a part of the records would show some of
 * them, and nobody would know; and sentinels may be behind.
 */
const unfit = (hello: unknown, isPrimary: boolean): string | undefined => {
  const field = (name: string): unknown => Array.isArray(hello) ? hello[hello.indexOf(name) + 1] : undefined
  const mode = field("mode")
  if (mode === "cluster") return "this is a node of a cluster; name it in `cluster`"
  if (mode === "sentinel") return "this is a sentinel; name it in `sentinels`, and the primary in `master`"
  return isPrimary && field("role") !== "master" ? "the node that the sentinels name isn't the primary" : undefined
}

/** Slots of a cluster. */
const slotCount = 16_384

// As CLUSTER SLOTS answers it: the first and the last slot of a range, its primary (host, port, id, more), its replicas.
const Slots = Schema.Array(Schema.TupleWithRest(
  Schema.Tuple([
    Schema.Int,
    Schema.Int,
    Schema.TupleWithRest(Schema.Tuple([Schema.NullOr(Schema.String), Schema.Int, Schema.String]), [Schema.Unknown])
  ]),
  [Schema.Unknown]
))

const readSlots = (answer: unknown) =>
  Effect.mapError(
    Schema.decodeUnknownEffect(Slots)(answer),
    () => new RedisError({ reason: "its answer to CLUSTER SLOTS can't be read" })
  )

/**
 * The slots that these nodes have, each by its own word; none where one of them knows of other primaries. Slots may be on
 * their way from one of them to another, so not all need to say the same of each slot.
 */
const slotsOf = (
  primaries: ReadonlyArray<Node>,
  views: ReadonlyArray<typeof Slots.Type>,
  reachedAt: Target["reachedAt"]
): ReadonlyArray<number> | undefined => {
  // A node may know itself by another address than the others do, but not by another id.
  const ids = new Map<string, string>()
  for (const [, , [host, port, id]] of views.flat()) {
    if (host === null) continue
    const at = reachedAt({ host, port })
    ids.set(`${at.host}:${at.port}`, id)
  }
  const read = primaries.map((node) => ids.get(addressOf(node)))
  const names = (ids: Iterable<string | undefined>) => Array.from(new Set(ids)).sort().join()
  if (views.some((view) => names(view.map(([, , [, , id]]) => id)) !== names(read))) return undefined
  return views.flatMap((view, at) =>
    view.flatMap(([first, last, [, , id]]) =>
      id === read[at] ? Array.from({ length: last - first + 1 }, (_, n) => first + n) : []
    )
  )
}

const explain = (cause: unknown, secrets: ReadonlyArray<string>): RedisError => {
  const said = messageOf(cause)
  const unauthorized = /\b(NOAUTH|WRONGPASS|NOPERM)\b|invalid password|user executing the script can't/.test(said)
  const plain = plainly.reduce((text, [pattern, words]) => text.replace(pattern, words), said)
  const reason = secrets.reduce((text, secret) => secret === "" ? text : text.replaceAll(secret, "***"), plain)
  return new RedisError({ reason, ...(unauthorized ? { unauthorized } : {}) })
}

/** What is long, or leaves open what to do, in other words. */
const plainly: ReadonlyArray<readonly [RegExp, string]> = [
  // Since 6.0 a connection that listens may also ask.
  [/^Connection in subscriber mode.*/, "this Redis is too old: 6.0 or newer is needed"],
  [/^Unknown RESP type.*/, "it doesn't speak the protocol of Redis"],
  [/NOAUTH .*/, "NOAUTH: it asks for a password"],
  [/self-signed certificate.*|unable to (?:verify|get) .*certificate.*/, "$&: is `tls.ca` right?"],
  [/.*SSL routines:[^:]*:\w* ?alert ([a-z ]+).*/, "it refuses our certificate: $1"],
  // Which script it was tells nobody anything.
  [/ script: [0-9a-f]{40}, on @user_script:\d+\.$/, ""]
]

const messageOf = (cause: unknown): string => {
  // A name with several addresses fails with the failures of all of them; a cluster with that of its last node.
  if (cause instanceof AggregateError && cause.errors.length > 0) return messageOf(cause.errors[0])
  if (!(cause instanceof Error)) return "Redis closed the connection"
  if ("lastNodeError" in cause) return `no node of the cluster can be asked: ${messageOf(cause.lastNodeError)}`
  if (cause.message === "Connection is closed.") return "Redis closed the connection"
  if (cause.message === "Command timed out") return `no answer within ${deadline} ms`
  return (cause.message === "" ? cause.name : cause.message).split("\n")[0] ?? ""
}
