/**
 * Which of the slices that are announced are kept alive.
 *
 * **Mental model**: a lease lasts for its TTL from when its last renewal was seen here, whatever the writer's clock says.
 * Only time in which somebody listened counts: while the API server is away, or this process stands still, renewals may
 * wait unheard.
 *
 * @since 0.2.0
 */
export class Leases {
  private readonly seen = new Map<string, Seen>()
  private listened = 0
  private last = 0

  /** ms that were listened to so far. */
  get now(): number {
    return this.listened
  }

  /** Somebody listens from now on, who hasn't looked at any lease yet. */
  begin(now: number): void {
    this.last = now
    for (const lease of this.seen.values()) lease.doubted = false
  }

  /** Somebody has listened until now. To be called every `pulse`: of longer silence no more than twice that counts. */
  heard(now: number): void {
    this.listened += Math.min(Math.max(now - this.last, 0), 2 * pulse)
    this.last = now
  }

  /** The slice carries this lease now, or none. */
  see(slice: string, lease: Lease | undefined): void {
    if (lease === undefined) this.seen.delete(slice)
    else if (this.seen.get(slice)?.mark !== lease.mark) {
      this.seen.set(slice, { ...lease, since: this.listened, doubted: false })
    }
  }

  /** Slices whose lease is nearly over, each once for who listens. */
  doubtful(): ReadonlyArray<string> {
    const slices: Array<string> = []
    for (const [slice, lease] of this.seen) {
      if (lease.doubted || this.listened - lease.since < lease.ttl - 2 * pulse) continue
      lease.doubted = true
      slices.push(slice)
    }
    return slices
  }

  /** Forgets all slices but these. */
  keep(slices: { readonly has: (slice: string) => boolean }): void {
    for (const slice of this.seen.keys()) if (!slices.has(slice)) this.seen.delete(slice)
  }

  has(slice: string): boolean {
    return this.seen.has(slice)
  }

  isOver(slice: string): boolean {
    const lease = this.seen.get(slice)
    return lease !== undefined && this.listened - lease.since >= lease.ttl
  }
}

/** How long something lives from its last renewal, ms, and what tells that renewal from others. */
export interface Lease {
  readonly ttl: number
  readonly mark: string
}

interface Seen extends Lease {
  readonly since: number
  doubted: boolean
}

/** ms between two looks at what ends by itself. */
export const pulse = 250
