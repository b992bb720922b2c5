import { assert, describe, it } from "@effect/vitest"
import * as Discovery from "@portolan/core/Discovery"
import * as Registry from "@portolan/core/Registry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as MemoryBackend from "./MemoryBackend.ts"
import { events, mutants, type Mutation, timers, withWatch } from "./Mutants.ts"
import * as ScriptedBackend from "./ScriptedBackend.ts"

const law = (id: string): RegistryLaws.Law => {
  const found = RegistryLaws.laws.find((law) => law.id === id)
  if (found === undefined) throw new Error(`no law ${id}`)
  return found
}

const quick: Partial<RegistryLaws.Times> = { visible: "1500 millis", slack: "500 millis" }

describe("broken registries break their law", () => {
  for (const { law: id, mutate, name, reason } of mutants) {
    it.live(`${id}: a registry that ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(RegistryLaws.check(
          law(id),
          "mutant",
          (backend) => Effect.succeed(mutate(backend.registry)),
          {
            controls: MemoryBackend.make((registry) => ({ ...registry, authoritative: false })),
            seed: 7,
            times: quick
          }
        )).pipe(Effect.ensuring(Effect.sync(() => {
          timers.forEach((timer) => clearInterval(timer))
          timers.clear()
        })))
        assert.strictEqual(error.law, id)
        assert.match(error.reason, reason)
        assert.match(error.message, /replay with PORTOLAN_SEED=7/)
      }))
  }

  const scripted = Effect.fnUntraced(function*(id: string, mutate: Mutation) {
    return yield* Effect.flip(
      RegistryLaws.check(law(id), "mutant", (backend) => Effect.succeed(mutate(backend.registry)), {
        controls: ScriptedBackend.make("deltas"),
        seed: 7,
        times: quick
      })
    )
  })

  it.live("G5: a registry that takes a batch apart", () =>
    Effect.gen(function*() {
      const error = yield* scripted(
        "G5",
        events((event) => event._tag === "Delta" ? event.changes.map((change) => Registry.delta([change])) : [event])
      )
      assert.match(error.reason, /1 of the 3 records of a batch/)
    }))

  for (
    const [how, told] of [
      ["deregistered", /Removed lawful-1,/],
      // Missing, and removed after a second.
      ["unknown", /Updated lawful-1,/]
    ] as const
  ) {
    it.live(`G11: a registry that drops a record that went bad as ${how}`, () =>
      Effect.gen(function*() {
        const error = yield* scripted(
          "G11",
          events((event) =>
            event._tag === "Delta"
              ? [
                Registry.delta(
                  event.changes.flatMap((change): ReadonlyArray<Registry.Change> =>
                    change._tag === "Reject" ? [{ _tag: "Removed", id: change.rejected.id, how }, change] : [change]
                  )
                )
              ]
              : [event]
          )
        )
        assert.match(error.reason, told)
      }))
  }

  it.live("G11: a registry whose session dies of a bad record", () =>
    Effect.gen(function*() {
      const error = yield* scripted(
        "G11",
        withWatch(({ watch }) =>
          Stream.mapEffect(watch, (event) =>
            event._tag === "Delta" && event.changes.some(({ _tag }) => _tag === "Reject")
              ? Effect.fail(
                new Registry.RegistryError({ registry: "mutant", operation: "watch", reason: "bad record" })
              )
              : Effect.succeed(event._tag === "Snapshot" ? { ...event, rejected: [] } : event))
        )
      )
      assert.match(error.reason, /the bad record among the rejected|Removed/)
    }))
})

describe("a broken discovery breaks its law", () => {
  const cases: ReadonlyArray<readonly [id: string, name: string, reason: RegExp, discovery: typeof Discovery.layer]> = [
    ["G8", "has no self-preservation", /removals held/, (options) => Discovery.layer({ ...options, grace: 0 })],
    [
      "G10",
      "waits for ever",
      /silence was noticed/,
      (options) => Discovery.layer({ ...options, idleTimeout: "1 hour" })
    ],
    ["G12", "keeps every update for a slow subscriber", /updates kept for it/, (options) =>
      Layer.effect(
        Discovery.Discovery,
        Effect.map(Discovery.Discovery, (discovery) =>
          Discovery.Discovery.of({
            ...discovery,
            updates: Stream.buffer(discovery.updates, { capacity: "unbounded" })
          }))
      ).pipe(Layer.provide(Discovery.layer(options)))],
    ["G19", "publishes at once", /updates in \d+ windows/, (options) => Discovery.layer({ ...options, debounce: 0 })],
    ["G20", "doesn't damp", /flapping instance was removed/, (options) => Discovery.layer({ ...options, damping: 0 })]
  ]
  for (const [id, name, reason, discovery] of cases) {
    it.live(`${id}: a discovery that ${name}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(
          RegistryLaws.check(law(id), "memory", (backend) => Effect.succeed(backend.registry), {
            controls: MemoryBackend.make((registry) => ({ ...registry, authoritative: false })),
            discovery,
            seed: 7,
            times: quick
          })
        )
        assert.match(error.reason, reason)
      }))
  }
})

describe("the suite itself", () => {
  const controls: RegistryLaws.Controls = {
    add: () => Effect.fail(new Error("disk full")),
    update: () => Effect.void,
    remove: () => Effect.void
  }

  it("says which laws are left out, and why", () => {
    const gaps = (id: string, lacks: ReadonlyArray<RegistryLaws.Lack>) => RegistryLaws.leftOut(law(id), controls, lacks)
    assert.deepStrictEqual(gaps("G1", ["lease", "order"]), [])
    assert.deepStrictEqual(gaps("G5", ["order"]), ["order"])
    assert.deepStrictEqual(gaps("G6", []), ["stopBackend", "startBackend"])
    assert.deepStrictEqual(gaps("G10", ["push"]), ["push", "pauseConnections", "resumeConnections"])
  })

  it.live("tells a control that fails from a law that is broken", () =>
    Effect.gen(function*() {
      const backend = yield* MemoryBackend.make()
      const error = yield* Effect.flip(
        RegistryLaws.check(law("G4"), "memory", Effect.succeed(backend.registry), { controls, seed: 3 })
      )
      assert.strictEqual(error.reason, "the control add failed: disk full")
    }))

  it.live("takes the seed of the environment, and the same seed gives the same commands", () =>
    Effect.gen(function*() {
      const run = Effect.flip(RegistryLaws.check(
        law("model"),
        "mutant",
        (backend) => Effect.succeed(events((event, index) => index > 1 ? [] : [event])(backend.registry)),
        { controls: MemoryBackend.make(), times: { ...quick, visible: "300 millis" } }
      ))
      const before = process.env["PORTOLAN_SEED"]
      process.env["PORTOLAN_SEED"] = "4711"
      const [first, second] = yield* Effect.all([run, run]).pipe(
        Effect.ensuring(Effect.sync(() => {
          if (before === undefined) delete process.env["PORTOLAN_SEED"]
          else process.env["PORTOLAN_SEED"] = before
        }))
      )
      assert.strictEqual(first.seed, 4711)
      const commands = (error: RegistryLaws.LawBroken) => error.reason.slice(0, error.reason.indexOf(":"))
      assert.strictEqual(commands(first), commands(second))
    }))
})
