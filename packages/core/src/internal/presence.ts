import type { Snapshot } from "../Registry.ts"
import type { ServiceInstance } from "../ServiceInstance.ts"

interface Known {
  readonly instance: ServiceInstance
  /** Whether it counts as there. */
  readonly there: boolean
  /** Polls in a row that say otherwise: that found what isn't there yet, or missed what is. */
  readonly against: number
}

/**
 * What is there, by what polls found that may miss what is there: whatever was found by so many in a row, until so many in
 * a row have missed it.
 *
 * @internal
 */
export class Presence {
  readonly #rise: number
  readonly #fall: number
  #known: ReadonlyMap<string, Known> = new Map()

  constructor(rise: number, fall: number) {
    this.#rise = rise
    this.#fall = fall
  }

  /** What is there after a poll. One that is excused holds nothing against what it missed. */
  take(found: Snapshot, excused: boolean): Snapshot {
    const known = new Map<string, Known>()
    for (const instance of found.instances) {
      const before = this.#known.get(instance.id)
      const times = before === undefined ? 1 : before.against + 1
      const there = before?.there === true || times >= this.#rise
      known.set(instance.id, { instance, there, against: there ? 0 : times })
    }
    // A record that is there in a form that can't be used was neither found nor missed.
    const rejected = new Set(found.rejected.map(({ id }) => id))
    for (const [id, before] of this.#known) {
      if (known.has(id)) continue
      if (excused || rejected.has(id)) known.set(id, before)
      else if (before.there && before.against + 1 < this.#fall) {
        known.set(id, { ...before, against: before.against + 1 })
      }
    }
    this.#known = known
    const there = Array.from(known.values()).filter(({ instance, there }) => there && !rejected.has(instance.id))
    return { ...found, instances: there.map(({ instance }) => instance) }
  }
}
