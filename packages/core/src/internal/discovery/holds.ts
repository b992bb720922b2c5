/**
 * Removals that are held back.
 *
 * **Mental model**: two reasons hold a removal. Damping holds each of them for a moment, for instances that flap.
 * Self-preservation holds those that nobody witnessed, where they are most of the fleet: then it is rather the registry
 * that lost them. A registry that was frozen tells of one lease after the other that it ran out, so these are gathered
 * for a moment, to be judged together. What went without a witness counts for as long as it would have been held, so
 * that a fleet that goes slowly is held too.
 */

/** All in ms. */
export interface Limits {
  /** For which unwitnessed mass removals are held. */
  readonly grace: number
  /** For which every removal is held. */
  readonly damping: number
  /** For which leases that ran out are gathered before they are judged. */
  readonly gathering: number
}

interface Hold {
  readonly by: "damping" | "gathering" | "preservation"
  readonly until: number
}

/** Self-preservation speaks up only where at least this many are known: with fewer, one or two deaths are a majority. */
const smallestFleet = 5

export class Holds {
  private readonly limits: Limits
  private readonly held = new Map<string, Hold>()
  private readonly counts = { damping: 0, gathering: 0, preservation: 0 }
  /** Unwitnessed removals that were acted on, with their time. */
  private readonly lost = new Map<string, number>()

  constructor(limits: Limits) {
    this.limits = limits
  }

  has(id: string): boolean {
    return this.held.has(id)
  }

  /** Whether self-preservation holds it, or gathers it and may do so. */
  isUnwitnessed(id: string): boolean {
    const hold = this.held.get(id)
    return hold !== undefined && hold.by !== "damping"
  }

  /** How many self-preservation holds. */
  get preserved(): number {
    return this.counts.preservation
  }

  /** Whether there are so many that self-preservation has something to say. */
  isFleet(records: number, now: number): boolean {
    return this.fleet(records, now) >= smallestFleet
  }

  /** Whether so many more of the records would be most of the fleet. */
  isMost(gone: number, records: number, now: number): boolean {
    const fleet = this.fleet(records, now)
    return fleet >= smallestFleet && (this.preserved + this.lost.size + gone) * 2 > fleet
  }

  /** Whether leases that run out are gathered: there may be too few for more of them to matter. */
  gathers(records: number, now: number): boolean {
    return this.limits.gathering > 0 && this.isFleet(records, now)
  }

  gather(id: string, now: number): void {
    this.hold(id, "gathering", now + this.limits.gathering)
  }

  /** Ends the gathering. */
  takeGathered(): ReadonlyArray<string> {
    if (this.counts.gathering === 0) return []
    const ids = Array.from(this.held).flatMap(([id, { by }]) => by === "gathering" ? [id] : [])
    for (const id of ids) this.end(id)
    return ids
  }

  preserve(id: string, now: number): void {
    this.hold(id, "preservation", now + this.limits.grace)
  }

  /** Whether there is damping; if so, it holds the removal. */
  damp(id: string, now: number): boolean {
    if (this.limits.damping <= 0) return false
    this.hold(id, "damping", now + this.limits.damping)
    return true
  }

  /** Counts a removal that was acted on though nobody witnessed it. */
  lose(id: string, now: number): void {
    this.lost.set(id, now)
  }

  /** The id is there again. */
  found(id: string): void {
    this.lost.delete(id)
    this.end(id)
  }

  /** Nothing holds the id any more. */
  end(id: string): void {
    const hold = this.held.get(id)
    if (hold === undefined) return
    this.counts[hold.by]--
    this.held.delete(id)
  }

  /** Ids that were held long enough. What nobody witnessed waits for a live session. */
  over(live: boolean, now: number): { readonly gone: ReadonlyArray<string>; readonly toJudge: boolean } {
    const gone: Array<string> = []
    let toJudge = false
    for (const [id, { by, until }] of this.held) {
      if (until > now || !(live || by === "damping")) continue
      if (by === "gathering") toJudge = true
      else gone.push(id)
    }
    return { gone, toJudge }
  }

  /** When the next is over; none: nothing will be by itself. */
  due(live: boolean): number | undefined {
    let due: number | undefined
    for (const { by, until } of this.held.values()) {
      if ((live || by === "damping") && (due === undefined || until < due)) due = until
    }
    return due
  }

  private hold(id: string, by: Hold["by"], until: number): void {
    this.end(id)
    this.held.set(id, { by, until })
    this.counts[by]++
  }

  /** How many there are that aren't on their way out, with those lost of late. */
  private fleet(records: number, now: number): number {
    for (const [id, time] of this.lost) {
      if (time + this.limits.grace <= now) this.lost.delete(id)
    }
    return records + this.lost.size - this.counts.damping
  }
}
