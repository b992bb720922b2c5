import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Source } from "../src/internal/discovery/source.ts"
import * as Registry from "../src/Registry.ts"
import { instance, scripted } from "./fixtures/scripted.ts"

const groups = ["a", "b", "c"] as const
const ids = fc.uniqueArray(fc.constantFrom("x", "y"))
const step = fc.oneof(
  fc.record({ do: fc.constant("snapshot" as const), group: fc.constantFrom(...groups), ids }),
  fc.record({ do: fc.constant("groups" as const), present: fc.subarray([...groups]) }),
  // All of it is told anew, in an order of its own.
  fc.record({ do: fc.constant("rejoin" as const), order: fc.shuffledSubarray([...groups], { minLength: 3 }) }),
  // The session doesn't know yet what changed.
  fc.record({
    do: fc.constant("list" as const),
    order: fc.shuffledSubarray([...groups], { minLength: 3 }),
    group: fc.constantFrom(...groups),
    ids
  })
)

const done = <A>(taking: Generator<void, A>): A => {
  for (;;) {
    const next = taking.next()
    if (next.done === true) return next.value
  }
}

describe("groups", () => {
  it("model: an id is there as long as a group has it, and every other record with it is rejected", () =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const { registry } = scripted({ authoritative: true, groupOf: ({ service }) => service })
        const source = new Source(registry, { grace: 60_000, damping: 0, gathering: 0 }, 0)
        const backend = new Map<string, ReadonlyArray<string>>()
        const take = (event: Registry.RegistryEvent) => assert.isUndefined(done(source.take(event, 0)))
        const all = (group: string) => (backend.get(group) ?? []).map((id) => instance(id, { service: group }))
        const snapshot = (group: string) => take(Registry.snapshot(all(group), [], group))
        take({ _tag: "Groups", groups: [] })
        for (const step of steps) {
          switch (step.do) {
            case "snapshot":
              if (!backend.has(step.group)) continue
              backend.set(step.group, step.ids)
              snapshot(step.group)
              break
            case "groups":
              for (const group of groups) {
                if (!step.present.includes(group)) backend.delete(group)
                else if (!backend.has(group)) backend.set(group, [])
              }
              take({ _tag: "Groups", groups: step.present })
              break
            case "rejoin":
              source.failed("lost", 0)
              take({ _tag: "Groups", groups: Array.from(backend.keys()) })
              for (const group of step.order) if (backend.has(group)) snapshot(group)
              break
            case "list":
              if (backend.has(step.group)) backend.set(step.group, step.ids)
              source.listing()
              done(source.takeList(Registry.snapshot(step.order.flatMap(all)), 0))
          }
          const records = Array.from(backend).flatMap(([group, ids]) => ids.map((id) => `${group}/${id}`))
          const shown = Array.from(source.records.values(), ({ instance }) => `${instance.service}/${instance.id}`)
          assert.sameMembers([...shown, ...source.summary.rejected.map(({ id }) => id)], records)
          assert.sameMembers(
            Array.from(source.records.keys()),
            Array.from(new Set(Array.from(backend.values()).flat()))
          )
        }
      }),
      { numRuns: 2_000 }
    ))
})
