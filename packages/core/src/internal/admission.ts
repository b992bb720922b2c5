/**
 * How many calls of a service may run and wait. Plain.
 *
 * @internal
 */
export interface LimitSettings {
  readonly perService: number
  readonly queue: number
  /** ms */
  readonly wait: number
}

/**
 * A call that waits for room.
 *
 * @internal
 */
export interface Waiter {
  /** Whose it is: different callers take turns, so that one with many calls doesn't hold up one with few. */
  readonly caller: string
  /** The services whose instances it can go to. */
  readonly services: ReadonlyArray<string>
  /** Tries to go on; whether it did. */
  readonly go: () => boolean
  /** It waited too long. `retryAfter`: when it is worth coming again, ms. */
  readonly shed: (reason: string, retryAfter: number) => void
}

/**
 * The queues of calls that found no room. Costs a look at one number where nobody waits.
 *
 * @internal
 */
export class Admission {
  /** Whether calls to these services have to queue: one is at its limit, or others wait already. */
  mustWait(_services: ReadonlyArray<string>): boolean {
    return false
  }

  /** Waits; answers how to leave the queue, or why there is no room in it and when it is worth coming again (ms). */
  enqueue(_waiter: Waiter): (() => void) | { readonly reason: string; readonly retryAfter: number } {
    return { reason: "at its limit", retryAfter: 1_000 }
  }

  /** An attempt at an instance of the service ended, or there is more room for another reason. */
  released(_service: string): void {}
}
