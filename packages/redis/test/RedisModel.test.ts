/** Random lives of a Redis that loses messages, keys and connections: in the end the catalog says what Redis holds. */
import { assert, describe, it } from "@effect/vitest"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as RedisBackend from "./RedisBackend.ts"
import { instance, watch } from "./Watched.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)
if (unavailable !== undefined) console.log(`model of redis skipped: ${unavailable}`)

// More than self-preservation lets go at once.
const n = fc.integer({ min: 1, max: 8 })
const about = <Tag extends string>(_tag: Tag) => fc.record({ _tag: fc.constant(_tag), n })
const commands = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: about("write") },
    { weight: 2, arbitrary: about("write silently") },
    { weight: 2, arbitrary: about("write briefly") },
    { weight: 2, arbitrary: about("write nonsense") },
    { weight: 3, arbitrary: about("remove") },
    { weight: 2, arbitrary: about("remove silently") },
    { weight: 1, arbitrary: about("cut the listeners") },
    { weight: 1, arbitrary: about("cut everybody") },
    { weight: 1, arbitrary: about("flush") },
    { weight: 1, arbitrary: about("pause") }
  ),
  { minLength: 5, maxLength: 25 }
)
type Command = typeof commands extends fc.Arbitrary<Array<infer C>> ? C : never

const play = Effect.fnUntraced(function*(node: Redis.Node, script: ReadonlyArray<Command>) {
  yield* node.cli("FLUSHALL")
  const backend = yield* RedisBackend.single(node)
  const { neighbour } = backend
  const catalog = yield* watch({ ...backend.options, every: "100 millis" }, { grace: "50 millis" })
  yield* catalog.connected
  let seq = 0
  /** What is shown of a text. */
  const written = new Map<string, string>()
  const act = ({ _tag, n }: Command): Effect.Effect<unknown, unknown> => {
    const record = instance(n, seq++)
    const key = RedisBackend.keyOf(record)
    const text = JSON.stringify(record)
    written.set(text, `${record.id} #${seq - 1}`)
    switch (_tag) {
      case "write":
        return backend.add(record)
      case "write silently":
        return Effect.promise(() => neighbour.set(key, text))
      case "write briefly":
        return Effect.promise(() => neighbour.set(key, text, "PX", 60))
      case "write nonsense":
        return RedisBackend.write(neighbour, record, "nonsense")
      case "remove":
        return backend.remove(record)
      case "remove silently":
        return Effect.promise(() => neighbour.del(key))
      case "cut the listeners":
        return node.cli("CLIENT", "KILL", "TYPE", "pubsub")
      case "cut everybody":
        return node.cli("CLIENT", "KILL", "USER", RedisBackend.user.username)
      case "flush":
        return node.cli("FLUSHALL")
      case "pause":
        return Effect.sleep("150 millis")
    }
  }
  for (const command of script) yield* act(command)
  // Redis is asked anew each time: what is brief may go meanwhile, and what is nonsense keeps its last good form.
  const truth = Effect.promise(async () => {
    const keys = await neighbour.keys("portolan:instance:*")
    const texts = await Promise.all(keys.map((key) => neighbour.get(key)))
    const nonsense = keys.filter((_, at) => texts[at] === "nonsense").map((key) => `${key.split(":")[2]} `)
    return { nonsense, good: texts.flatMap((text) => written.get(text ?? "") ?? []).sort() }
  })
  const same = Effect.map(truth, ({ good, nonsense }) => {
    const shown = catalog.shown().filter((line) => !nonsense.some((id) => line.startsWith(id)))
    return shown.join() === good.join() && catalog.source()?.rejected.length === nonsense.length
  })
  yield* Effect.gen(function*() {
    while (!(yield* same)) yield* Effect.sleep(20)
  }).pipe(Effect.timeoutOrElse({
    duration: "10 seconds",
    orElse: () =>
      Effect.flatMap(truth, ({ good, nonsense }) =>
        Effect.die(
          new Error(`Redis holds ${good.join(", ")} and nonsense of ${nonsense}; shown: ${catalog.shown().join(", ")}`)
        ))
  }))
  // None missing, none doubled: what was published adds up.
  const there = new Set<string>()
  for (const line of catalog.log) {
    const [what, id = ""] = line.split(" ")
    assert.strictEqual(there.has(id), what !== "Added", `${line} of ${catalog.log.join(", ")}`)
    if (what === "Removed") there.delete(id)
    else there.add(id)
  }
  assert.deepStrictEqual(Array.from(there).sort(), catalog.shown().map((line) => line.split(" ")[0]))
})

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "any life of a Redis" : `any life of a Redis [skipped: ${unavailable}]`,
  () => {
    it.live("is told as it is in the end", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ config: RedisBackend.config })
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(commands, (script) => Effect.runPromise(Effect.scoped(play(node, script)))),
            { numRuns: 15, endOnFailure: true }
          )
        )
      }), 120_000)
  }
)
