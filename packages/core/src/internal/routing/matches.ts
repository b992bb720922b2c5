import type { InstanceKey } from "../../Catalog.ts"
import { type Match, placeOf, type View } from "./view.ts"

/**
 * A match that takes the place of another one of the same key, comes, or goes.
 *
 * @internal
 */
export interface Change {
  readonly before: Match | undefined
  readonly after: Match | undefined
}

/**
 * The instances that match a target: by key, by endpoint and by service.
 *
 * @internal
 */
export class Matches {
  /** By key. */
  sorted: Array<Match> = []
  /** Their services. */
  services: Array<string> = []
  /** How many are for some tenants only, and how many take calls. */
  restricted = 0
  routable = 0
  readonly #byKey = new Map<InstanceKey, Match>()
  // The first of those with one endpoint; the others follow as twins.
  readonly #byEndpoint = new Map<string, Match>()
  #twins = 0
  readonly #members = new Map<string, number>()

  find(key: InstanceKey): Match | undefined {
    return this.#byKey.get(key)
  }

  change(change: Change): void {
    this.#exchange(change)
    const { after, before } = change
    const key = (after ?? before)?.key
    if (key === undefined) return
    const place = placeOf(this.sorted, key)
    if (after === undefined) this.sorted.splice(place, 1)
    else this.sorted.splice(place, before === undefined ? 0 : 1, after)
  }

  /** The same for many, at the cost of a look at all. */
  changeMany(changes: ReadonlyArray<Change>): void {
    const added: Array<Match> = []
    for (const change of changes) {
      this.#exchange(change)
      if (change.before === undefined && change.after !== undefined) added.push(change.after)
    }
    const all: Array<Match> = []
    for (const { key } of this.sorted) {
      const match = this.#byKey.get(key)
      if (match !== undefined) all.push(match)
    }
    added.sort(byKey)
    if (all.length === 0) this.sorted = added
    else if (added.length === 0) this.sorted = all
    // Two sorted runs are sorted at the cost of a look at each.
    else this.sorted = all.concat(added).sort(byKey)
  }

  /**
   * Two announcements of one endpoint are one place to go to: of those that a view shows, the one in better health speaks
   * for it, else the first.
   */
  speaker(view: View, endpoint: string): Match | undefined {
    let best: Match | undefined
    for (let match = this.#byEndpoint.get(endpoint); match !== undefined; match = match.twin) {
      if (!view.sees(match)) continue
      if (best === undefined) best = match
      else {
        const order = (match.tier ?? 3) - (best.tier ?? 3)
        if (order < 0 || (order === 0 && match.key < best.key)) best = match
      }
    }
    return best
  }

  speaks(view: View, match: Match): boolean {
    return view.sees(match) && (this.#twins === 0 || this.speaker(view, match.endpoint) === match)
  }

  #exchange({ after, before }: Change): void {
    if (before !== undefined) this.#count(before, -1)
    if (after !== undefined) this.#count(after, 1)
    // In its place: maps in which much is deleted and set again take twice the memory.
    if (before !== undefined && after !== undefined && before.endpoint === after.endpoint) this.#replace(before, after)
    else {
      if (before !== undefined) this.#drop(before)
      if (after !== undefined) this.#put(after)
    }
    const [from, to] = [before?.entry.instance.service, after?.entry.instance.service]
    if (from === to) return
    if (to !== undefined) this.#join(to)
    if (from !== undefined) this.#part(from)
  }

  #put(match: Match): void {
    this.#byKey.set(match.key, match)
    const first = this.#byEndpoint.get(match.endpoint)
    if (first === undefined) this.#byEndpoint.set(match.endpoint, match)
    else {
      match.twin = first.twin
      first.twin = match
      this.#twins++
    }
  }

  #replace(before: Match, after: Match): void {
    this.#byKey.set(after.key, after)
    after.twin = before.twin
    before.twin = undefined
    const previous = this.#previous(before)
    if (previous === undefined) this.#byEndpoint.set(after.endpoint, after)
    else previous.twin = after
  }

  // The twin that it follows; none where it is the first.
  #previous(match: Match): Match | undefined {
    let previous: Match | undefined
    for (let twin = this.#byEndpoint.get(match.endpoint); twin !== match && twin !== undefined; twin = twin.twin) {
      previous = twin
    }
    return previous
  }

  #count({ tenants, tier }: Match, by: 1 | -1): void {
    if (tenants !== undefined) this.restricted += by
    if (tier !== undefined && tier < 2) this.routable += by
  }

  #join(service: string): void {
    const members = this.#members.get(service) ?? 0
    this.#members.set(service, members + 1)
    if (members === 0) this.services = [...this.services, service]
  }

  #drop(match: Match): void {
    this.#byKey.delete(match.key)
    const previous = this.#previous(match)
    if (previous !== undefined) previous.twin = match.twin
    else if (match.twin !== undefined) this.#byEndpoint.set(match.endpoint, match.twin)
    else this.#byEndpoint.delete(match.endpoint)
    if (previous !== undefined || match.twin !== undefined) this.#twins--
    match.twin = undefined
  }

  #part(service: string): void {
    const members = (this.#members.get(service) ?? 1) - 1
    if (members > 0) return void this.#members.set(service, members)
    this.#members.delete(service)
    this.services = this.services.filter((name) => name !== service)
  }
}

/**
 * Order by key.
 *
 * @internal
 */
export const byKey = (left: { readonly key: InstanceKey }, right: { readonly key: InstanceKey }): number =>
  left.key < right.key ? -1 : left.key > right.key ? 1 : 0
