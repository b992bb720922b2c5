import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Source } from "../src/internal/discovery/source.ts"
import * as Registry from "../src/Registry.ts"
import { instance, put, removed, scripted } from "./fixtures/scripted.ts"

const grace = 60_000

const instances = Array.from({ length: 10 }, (_, number) => instance(`x${number}`))
const id = fc.nat(9).map((number) => `x${number}`)
const ids = fc.uniqueArray(id)

// What can happen; all of it is about the ids alone, as records never change here.
const act = fc.oneof(
  fc.record({ do: fc.constant("first" as const), ids }),
  fc.record({ do: fc.constant("snapshot" as const), ids, expired: ids }),
  fc.record({ do: fc.constant("put" as const), ids }),
  fc.record({ do: fc.constant("removed" as const), ids, how: fc.constantFrom("expired" as const, "unknown" as const) }),
  fc.record({ do: fc.constant("removed" as const), ids, how: fc.constant("deregistered" as const) }),
  fc.record({ do: fc.constant("list" as const), ids }),
  fc.record({ do: fc.constant("fail" as const) })
)
const step = fc.record({ act, wait: fc.constantFrom(0, 1, 400, 999, 1_000, 20_000, 59_999, 60_000) })

type Act = typeof act extends fc.Arbitrary<infer A> ? A : never

/**
 * Self-preservation, told with sets. `there` is what the catalog shows. Of it, `held` is what nobody has seen being
 * removed, with the time at which it may go, and `gathered` what ran out, with the time at which it is to be judged.
 * `lost` is what went without proof, with the time at which it did.
 */
class Model {
  readonly there = new Set<string>()
  readonly held = new Map<string, number>()
  readonly gathered = new Map<string, number>()
  private readonly lost = new Map<string, number>()
  private readonly authoritative: boolean
  private readonly gathering: number
  live = false

  constructor(authoritative: boolean, gathering: number) {
    this.authoritative = authoritative
    this.gathering = gathering
  }

  /** What the catalog shows as missing. */
  get missing(): ReadonlyArray<string> {
    return [...this.held.keys(), ...this.gathered.keys()]
  }

  /** When something happens by itself. */
  get due(): number | undefined {
    const times = [...this.held.values(), ...this.gathered.values()]
    return this.live && times.length > 0 ? Math.min(...times) : undefined
  }

  private come(ids: Iterable<string>) {
    for (const id of ids) {
      this.there.add(id)
      this.held.delete(id)
      this.gathered.delete(id)
      this.lost.delete(id)
    }
  }

  private go(ids: Iterable<string>) {
    for (const id of ids) {
      this.there.delete(id)
      this.held.delete(id)
      this.gathered.delete(id)
    }
  }

  private recent(now: number): ReadonlyArray<string> {
    return Array.from(this.lost).filter(([, time]) => time > now - grace).map(([id]) => id)
  }

  /** How many there are or were of late; none where it doesn't matter. */
  private fleet(now: number): number {
    return this.authoritative ? 0 : new Set([...this.there, ...this.recent(now)]).size
  }

  private isMost(ids: ReadonlyArray<string>, now: number): boolean {
    const missing = new Set([...this.held.keys(), ...this.recent(now), ...ids])
    return this.fleet(now) >= 5 && missing.size > this.fleet(now) / 2
  }

  private expire(ids: ReadonlyArray<string>, now: number) {
    if (ids.length === 0) return
    if (this.gathering === 0 || this.fleet(now) < 5) return this.goUnwitnessed(ids, now)
    for (const id of ids) this.gathered.set(id, now + this.gathering)
  }

  private goUnwitnessed(more: ReadonlyArray<string>, now: number) {
    const ids = [...more, ...this.gathered.keys()]
    this.gathered.clear()
    const most = this.isMost(ids, now)
    for (const id of ids) {
      if (most) this.held.set(id, now + grace)
      else {
        this.lost.set(id, now)
        this.go([id])
      }
    }
  }

  do(act: Act, now: number) {
    const isThere = (id: string) => this.there.has(id) && !this.missing.includes(id)
    const absent = (ids: ReadonlyArray<string>) =>
      Array.from(this.there).filter((id) => !ids.includes(id) && isThere(id))
    switch (act.do) {
      case "first":
        this.come(act.ids)
        this.live = true
        return this.goUnwitnessed(absent(act.ids), now)
      case "snapshot": {
        this.come(act.ids)
        const gone = absent(act.ids)
        this.go(gone.filter((id) => !act.expired.includes(id)))
        return this.expire(gone.filter((id) => act.expired.includes(id)), now)
      }
      case "put":
        return this.come(act.ids)
      case "removed":
        if (act.how === "deregistered") return this.go(act.ids)
        return this.expire(act.ids.filter(isThere), now)
      case "list": {
        this.come(act.ids)
        if (!this.live) return this.goUnwitnessed(absent(act.ids), now)
        return this.go(Array.from(this.there).filter((id) => !act.ids.includes(id)))
      }
      case "fail":
        this.live = false
    }
  }

  pass(now: number) {
    if (!this.live) return
    this.go(Array.from(this.held).filter(([, until]) => until <= now).map(([id]) => id))
    if (Array.from(this.gathered.values()).some((until) => until <= now)) this.goUnwitnessed([], now)
  }
}

const chosen = (ids: ReadonlyArray<string>) => instances.filter(({ id }) => ids.includes(id))

const done = <A>(taking: Generator<void, A>): A => {
  for (;;) {
    const next = taking.next()
    if (next.done === true) return next.value
  }
}

const tell = (source: Source, act: Act, now: number) => {
  const take = (event: Registry.RegistryEvent) => assert.isUndefined(done(source.take(event, now)))
  switch (act.do) {
    case "first":
      source.failed("lost", now)
      return take(Registry.snapshot(chosen(act.ids)))
    case "snapshot":
      return take({ ...Registry.snapshot(chosen(act.ids)), expired: act.expired })
    case "put":
      return take(Registry.delta(chosen(act.ids).map(put)))
    case "removed":
      return take(Registry.delta(act.ids.map((id) => removed(id, act.how))))
    case "list":
      source.listing()
      return done(source.takeList(Registry.snapshot(chosen(act.ids)), now))
    case "fail":
      return source.failed("lost", now)
  }
}

describe("H5: model of self-preservation", () => {
  for (
    const [authoritative, gathering] of [[true, 0], [true, 1_000], [false, 0], [false, 1_000]] as const
  ) {
    const whose = `${authoritative ? "an authoritative" : "a"} registry`
    it(`whatever happens to ${whose}, gathering for ${gathering} ms: what is there and what is held is as told`, () =>
      fc.assert(
        fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
          const source = new Source(scripted({ authoritative }).registry, { grace, damping: 0, gathering }, 0)
          const model = new Model(authoritative, gathering)
          let now = 0
          for (
            const { act, wait } of [
              { act: { do: "first" as const, ids: instances.map(({ id }) => id) }, wait: 0 },
              ...steps
            ]
          ) {
            // Only a live session says anything but its first snapshot.
            if (!model.live && ["snapshot", "put", "removed"].includes(act.do)) continue
            tell(source, act, now)
            source.release(now)
            model.do(act, now)
            model.pass(now)
            now += wait
            source.release(now)
            model.pass(now)
            assert.deepStrictEqual(Array.from(source.records.keys()).sort(), Array.from(model.there).sort())
            const missing = Array.from(source.records.values()).filter(({ missingSince }) => missingSince !== undefined)
            assert.deepStrictEqual(missing.map(({ instance }) => instance.id).sort(), Array.from(model.missing).sort())
            assert.strictEqual(source.summary.held, model.held.size)
            assert.strictEqual(source.due, model.due)
          }
        }),
        { numRuns: 3_000 }
      ))
  }
})
