/**
 * The model: random commands against the backend and a map, in the end both say the same.
 *
 * @since 0.1.0
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as FastCheck from "fast-check"
import { type Bench, Broken, type Law } from "./Law.ts"
import { discover } from "./Watching.ts"

type Write =
  | { readonly _tag: "Add"; readonly n: number }
  | { readonly _tag: "Update"; readonly n: number }
  | { readonly _tag: "Rewrite"; readonly n: number }
  | { readonly _tag: "Remove"; readonly n: number }

type Command = Write | { readonly _tag: "Cut" } | { readonly _tag: "Outage"; readonly writes: ReadonlyArray<Write> }

// Four at most, fewer than self-preservation protects: what is gone is gone at once.
const n = FastCheck.integer({ min: 1, max: 4 })
const write: FastCheck.Arbitrary<Write> = FastCheck.oneof(
  { weight: 3, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Add" as const), n }) },
  { weight: 2, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Update" as const), n }) },
  { weight: 1, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Rewrite" as const), n }) },
  { weight: 2, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Remove" as const), n }) }
)

const commands = (bench: Bench): FastCheck.Arbitrary<ReadonlyArray<Command>> => {
  const arbitraries: Array<FastCheck.WeightedArbitrary<Command>> = [{ weight: 12, arbitrary: write }]
  if (bench.has("cutConnections")) {
    arbitraries.push({ weight: 1, arbitrary: FastCheck.constant({ _tag: "Cut" }) })
  }
  if (bench.has("stopBackend") && bench.has("startBackend")) {
    const writes = FastCheck.array(write, { maxLength: 5 })
    arbitraries.push({
      weight: 1,
      arbitrary: FastCheck.record({ _tag: FastCheck.constant("Outage" as const), writes })
    })
  }
  return FastCheck.array(FastCheck.oneof(...arbitraries), { minLength: 1, maxLength: bench.sizes.commands })
}

const play = Effect.fnUntraced(function*(bench: Bench, script: ReadonlyArray<Command>): Effect.fn.Return<void, Broken> {
  const model = new Map<number, ServiceInstance>()
  let seq = 0

  const apply = Effect.fnUntraced(function*({ _tag, n }: Write): Effect.fn.Return<void, Broken> {
    const held = model.get(n)
    if (_tag === "Remove") {
      if (held === undefined) return
      yield* bench.controls.remove(held)
      model.delete(n)
      return
    }
    const instance = _tag === "Rewrite" && held !== undefined ? held : bench.instance(n, seq++)
    yield* held === undefined ? bench.controls.add(instance) : bench.controls.update(instance)
    model.set(n, instance)
  })

  yield* Effect.scoped(Effect.gen(function*() {
    const view = yield* discover(bench, yield* bench.registry)
    for (const command of script) {
      switch (command._tag) {
        case "Cut":
          yield* bench.controls.cutConnections
          break
        case "Outage":
          yield* bench.controls.stopBackend
          yield* Effect.forEach(command.writes, apply, { discard: true })
          yield* bench.controls.startBackend
          break
        default:
          yield* apply(command)
      }
      // Gives a registry in this process the time to tell each step.
      yield* Effect.sleep(1)
    }
    yield* view.equals(() => model.values())
    yield* Effect.forEach(Array.from(model.values()), bench.controls.remove, { discard: true })
    yield* view.equals(() => [])
  }))
})

const show = (script: ReadonlyArray<Command>): string =>
  script.map((command) =>
    command._tag === "Cut"
      ? "cut"
      : command._tag === "Outage"
      ? `outage(${show(command.writes)})`
      : `${command._tag.toLowerCase()} ${command.n}`
  ).join(", ")

const model: Law = {
  id: "model",
  title: "after any commands the catalog holds what a map would",
  needs: [],
  run: Effect.fnUntraced(function*(bench) {
    const run = Effect.runPromiseWith(yield* Effect.context())
    const report = yield* Effect.promise((signal) =>
      FastCheck.check(
        FastCheck.asyncProperty(commands(bench), (script) => run(play(bench, script), { signal })),
        { seed: bench.seed, numRuns: bench.sizes.runs }
      )
    )
    if (report.failed) {
      const script = report.counterexample?.[0] ?? []
      const cause = report.errorInstance instanceof Error ? report.errorInstance.message : String(report.errorInstance)
      return yield* new Broken({
        reason: `after ${show(script)}: ${cause} (path ${report.counterexamplePath ?? "none"})`
      })
    }
  })
}

export const laws: ReadonlyArray<Law> = [model]
