/**
 * A value that changes, and readers who each get the newest one when they are ready for it.
 *
 * **Mental model**: there is no queue. A reader holds the number of the value it saw and waits for a higher one, so a
 * slow reader costs nothing, holds up nobody and can't miss the last value.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

export class Latest<A> {
  private current: A
  private number = 0
  private closed = false
  private next = Deferred.makeUnsafe<void>()

  constructor(initial: A) {
    this.current = initial
  }

  get value(): A {
    return this.current
  }

  set(value: A): void {
    this.current = value
    this.number++
    this.wake()
  }

  /** Changes the value without waking anybody. */
  replace(value: A): void {
    this.current = value
  }

  /** Ends every reader's stream once it has read the last value. */
  close(): void {
    this.closed = true
    this.wake()
  }

  /** The value now, then the newest after each change. */
  get changes(): Stream.Stream<A> {
    const read = (seen: number): Effect.Effect<readonly [A, number] | undefined> =>
      Effect.suspend(() => {
        if (this.number > seen) return Effect.succeed([this.current, this.number])
        if (this.closed) return Effect.succeed(undefined)
        return Effect.flatMap(Deferred.await(this.next), () => read(seen))
      })
    return Stream.unfold(-1, read)
  }

  private wake(): void {
    const woken = this.next
    this.next = Deferred.makeUnsafe()
    Deferred.doneUnsafe(woken, Effect.void)
  }
}
