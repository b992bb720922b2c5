import { assert, describe, it } from "@effect/vitest"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as fc from "fast-check"
import * as Catalog from "../src/Catalog.ts"
import { instance } from "./fixtures/scripted.ts"

const entry = (id: string, more?: Parameters<typeof instance>[1]): Catalog.CatalogEntry => ({
  key: Catalog.key("r", id),
  instance: instance(id, more),
  source: "r",
  alsoIn: [],
  firstSeen: 0,
  changedAt: 0,
  missingSince: undefined
})

const added = (entry: Catalog.CatalogEntry): Catalog.CatalogChange => ({ _tag: "Added", entry })

/** The change that makes `id` what is wanted, if it is one. */
const change = (
  catalog: Catalog.Catalog,
  id: string,
  entry: Catalog.CatalogEntry | undefined
): ReadonlyArray<Catalog.CatalogChange> => {
  const known = HashMap.get(catalog.entries, Catalog.key("r", id))
  if (Option.isNone(known)) return entry === undefined ? [] : [added(entry)]
  return [
    entry === undefined ? { _tag: "Removed", entry: known.value } : { _tag: "Updated", entry, previous: known.value }
  ]
}

/** What an index must hold, found by looking at every entry. */
const scan = (catalog: Catalog.Catalog, names: (entry: Catalog.CatalogEntry) => ReadonlyArray<string>) => {
  const found: Record<string, ReadonlyArray<string>> = {}
  for (const entry of HashMap.values(catalog.entries)) {
    for (const name of new Set(names(entry))) found[name] = [...(found[name] ?? []), entry.key].sort()
  }
  return found
}

const read = (
  index: Iterable<[string, HashMap.HashMap<Catalog.InstanceKey, Catalog.CatalogEntry>]>,
  catalog: Catalog.Catalog
) => {
  const found: Record<string, ReadonlyArray<string>> = {}
  for (const [name, entries] of index) {
    found[name] = Array.from(HashMap.keys(entries)).sort()
    for (const [key, entry] of entries) assert.strictEqual(HashMap.getUnsafe(catalog.entries, key), entry)
  }
  return found
}

const consistent = (catalog: Catalog.Catalog) => {
  const services = Array.from(catalog.services, ([name, { entries }]) => [name, entries] satisfies [string, unknown])
  assert.deepStrictEqual(read(services, catalog), scan(catalog, ({ instance }) => [instance.service]))
  assert.deepStrictEqual(read(catalog.capabilities, catalog), scan(catalog, ({ instance }) => instance.capabilities))
  assert.deepStrictEqual(read(catalog.tags, catalog), scan(catalog, ({ instance }) => instance.tags))
}

const names = fc.uniqueArray(fc.constantFrom("a", "b", "c"), { maxLength: 3 })
const step = fc.record({
  id: fc.constantFrom("1", "2", "3", "4", "5", "6"),
  instance: fc.option(fc.record({ service: fc.constantFrom("s", "t", "u"), capabilities: names, tags: names }), {
    nil: undefined
  })
})
const steps = fc.array(fc.uniqueArray(step, { selector: ({ id }) => id, maxLength: 4 }), { maxLength: 12 })

const run = (catalog: Catalog.Catalog, batch: ReadonlyArray<typeof step extends fc.Arbitrary<infer A> ? A : never>) =>
  Catalog.apply(
    catalog,
    batch.flatMap(({ id, instance }) => change(catalog, id, instance === undefined ? undefined : entry(id, instance)))
  )

describe("Catalog", () => {
  it("its indexes say what its entries say, whatever the changes", () => {
    fc.assert(fc.property(steps, (batches) => {
      let catalog = Catalog.empty
      for (const batch of batches) {
        const before = catalog
        const was = scan(before, ({ instance }) => [instance.service])
        catalog = run(catalog, batch)
        consistent(catalog)
        // The old catalog is as it was.
        assert.deepStrictEqual(scan(before, ({ instance }) => [instance.service]), was)
        consistent(before)
      }
    }))
  })

  it("a service's revision grows with each change of its entries, stays without, and never goes back", () => {
    fc.assert(fc.property(steps, (batches) => {
      let catalog = Catalog.empty
      const highest = new Map<string, number>()
      for (const batch of batches) {
        const next = run(catalog, batch)
        for (const [name, service] of next.services) {
          const before = Option.getOrUndefined(HashMap.get(catalog.services, name))
          if (
            before !== undefined && batch.every(({ id, instance }) => {
              const was = Option.getOrUndefined(HashMap.get(catalog.entries, Catalog.key("r", id)))
              return was?.instance.service !== name && instance?.service !== name
            })
          ) assert.strictEqual(service, before)
          else assert.isAbove(service.revision, highest.get(name) ?? -1)
          highest.set(name, service.revision)
        }
        catalog = next
      }
    }))
  })

  it("diff is what leads from one catalog to the other, additions first", () => {
    fc.assert(fc.property(steps, steps, (first, second) => {
      const before = first.reduce(run, Catalog.empty)
      const after = second.reduce(run, before)
      const changes = Catalog.diff(before, after)
      const again = Catalog.apply(before, changes)
      assert.deepStrictEqual(
        Array.from(HashMap.values(again.entries), ({ instance }) => instance).sort((a, b) => a.id < b.id ? -1 : 1),
        Array.from(HashMap.values(after.entries), ({ instance }) => instance).sort((a, b) => a.id < b.id ? -1 : 1)
      )
      const tags = changes.map(({ _tag }) => _tag === "Removed")
      assert.deepStrictEqual(tags, [...tags].sort())
      assert.deepStrictEqual(Catalog.diff(after, after), [])
    }))
  })

  it("a change among 10,000 leaves all other services and indexes the same objects", () => {
    const many = Array.from(
      { length: 10_000 },
      (_, index) =>
        entry(`${index}`, {
          service: `s${index % 1_000}`,
          capabilities: [`c${index % 1_000}`],
          tags: [`t${index % 1_000}`]
        })
    )
    const before = Catalog.apply(Catalog.empty, many.map(added))
    const after = Catalog.apply(
      before,
      change(before, "7", entry("7", { service: "s7", capabilities: ["c7"], weight: 5 }))
    )
    let services = 0
    for (const [name, service] of after.services) if (service !== HashMap.getUnsafe(before.services, name)) services++
    assert.strictEqual(services, 1)
    for (const index of ["capabilities", "tags"] as const) {
      let touched = 0
      for (const [name, entries] of after[index]) if (entries !== HashMap.getUnsafe(before[index], name)) touched++
      assert.strictEqual(touched, 1, index)
    }
    const best = (size: number) => {
      const catalog = Catalog.apply(Catalog.empty, many.slice(0, size).map(added))
      let best = Infinity
      for (let round = 0; round < 20; round++) {
        const begun = performance.now()
        for (let time = 0; time < 100; time++) {
          Catalog.apply(catalog, change(catalog, "7", entry("7", { service: "s7" })))
        }
        best = Math.min(best, performance.now() - begun)
      }
      return best
    }
    best(100)
    // A hundredth of the size would show as a factor of 100; the depth of the maps may show.
    assert.isBelow(best(10_000), best(100) * 5)
  })

  it("keys of different pairs differ", () => {
    const name = fc.string().filter((text) => !text.includes("\u0000"))
    fc.assert(fc.property(name, name, name, name, (a, b, c, d) => {
      assert.strictEqual(Catalog.key(a, b) === Catalog.key(c, d), a === c && b === d)
    }))
  })
})
