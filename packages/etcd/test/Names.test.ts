import { assert, describe, it } from "@effect/vitest"
import type { Place } from "@portolan/core/RecordFormat"
import type { Change } from "@portolan/core/Registry"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { Names } from "../src/internal/names.ts"
import { instance } from "./Watched.ts"

interface Key {
  readonly service: string
  readonly created: number
  readonly written: number
}

/** What the catalog shows, and what is rejected, by what was told. */
class View {
  readonly shown = new Map<string, string>()
  readonly rejected = new Set<string>()

  take(changes: ReadonlyArray<Change>) {
    for (const change of changes) {
      const id = change._tag === "Removed" ? change.id : change._tag === "Put" ? change.instance.id : change.rejected.id
      if (change._tag === "Reject") this.rejected.add(id)
      else this.rejected.delete(id)
      if (change._tag === "Removed") this.shown.delete(id)
      if (change._tag === "Put") this.shown.set(id, change.instance.service)
    }
  }

  get told() {
    return { shown: Array.from(this.shown).sort(), rejected: Array.from(this.rejected).sort() }
  }
}

/** A record that says its id itself, or leaves it to its key. */
const put = (names: Names, { created, service, written }: Key, saysItsId: boolean) =>
  Effect.runSync(
    names.put(`/${service}/x`, { id: "x", service }, { created, written }, ({ id }: Place) =>
      Effect.succeed(
        saysItsId && id !== "x"
          ? Result.fail("it says another id")
          : Result.succeed({ ...instance(1), id, service })
      ))
  )

describe("names of keys with one id", () => {
  for (const saysItsId of [true, false]) {
    it(`are those of a new session, ${saysItsId ? "for records that say their id" : "for records of others"}`, () =>
      fc.assert(
        fc.property(
          fc.array(fc.record({ service: fc.constantFrom("a", "b", "c", "d"), gone: fc.boolean() }), { maxLength: 20 }),
          (steps) => {
            const names = new Names()
            const view = new View()
            const keys = new Map<string, Key>()
            const sessions: Array<Names> = []
            const byAge = () => Array.from(keys.values()).sort((self, that) => self.created - that.created)
            steps.forEach(({ gone, service }, step) => {
              const written = step + 1
              const key = { service, written, created: keys.get(service)?.created ?? written }
              if (!gone) {
                keys.set(service, key)
                view.take(put(names, key, saysItsId))
              } else if (keys.delete(service)) {
                const { id, rivals } = names.remove(`/${service}/x`)
                view.take([{ _tag: "Removed", id, how: "deregistered" }])
                const next = byAge().filter(({ service }) => rivals.includes(`/${service}/x`))
                assert.strictEqual(next.length, rivals.length)
                for (const key of next) view.take(put(names, key, saysItsId))
              }
              const [fresh, seen] = [new Names(), new View()]
              for (const key of byAge()) seen.take(put(fresh, key, saysItsId))
              assert.deepStrictEqual(view.told, seen.told)
              assert.strictEqual(names.size, keys.size)
              // They are of one history, whenever they were begun.
              sessions.forEach((before, at) => assert.isFalse(fresh.contradicts(before, at + 1)))
              assert.isFalse(fresh.contradicts(names, written))
              sessions.push(fresh)
              assert.strictEqual(seen.shown.size, saysItsId ? Math.min(keys.size, 1) : keys.size)
            })
          }
        ),
        { numRuns: 1_000 }
      ))
  }

  it("a record that can't be read takes the id of none, however late it was written", () => {
    const names = new Names()
    Effect.runSync(
      names.put(
        "/a/x",
        { id: "x", service: "a" },
        { created: 3, written: 3 },
        () => Effect.succeed(Result.fail("broken"))
      )
    )
    const view = new View()
    view.take(put(names, { service: "b", created: 2, written: 2 }, true))
    assert.deepStrictEqual(view.told, { shown: [["x", "b"]], rejected: ["/a/x"] })
  })

  it("the name of another key isn't taken", () => {
    const names = new Names()
    const view = new View()
    const other = { id: "x@b", service: "b" }
    view.take(
      Effect.runSync(
        names.put("/b/x@b", other, { created: 1, written: 1 }, () => Effect.succeed(Result.fail("broken")))
      )
    )
    view.take(put(names, { service: "a", created: 2, written: 2 }, false))
    view.take(put(names, { service: "b", created: 3, written: 3 }, false))
    assert.deepStrictEqual(view.told, { shown: [["x", "b"]], rejected: ["/a/x", "x@b"] })
  })
})
