/**
 * How a program that runs until a signal ends.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { failed } from "../src/Failure.ts"
import { runUntil } from "../src/signals.ts"

describe("a program that is stopped", () => {
  it.live("is waited for until it has closed", () =>
    Effect.gen(function*() {
      const [closing, close, stop] = yield* Effect.all([Deferred.make(), Deferred.make(), Deferred.make<void>()])
      const program = Effect.ensuring(
        Effect.never,
        Effect.andThen(Deferred.succeed(closing, undefined), Deferred.await(close))
      )
      const running = yield* Effect.forkChild(runUntil(program, Deferred.await(stop), () => Duration.seconds(20)))
      yield* Deferred.succeed(stop, undefined)
      yield* Deferred.await(closing)
      assert.isUndefined(running.pollUnsafe())
      yield* Deferred.succeed(close, undefined)
      yield* Fiber.join(running)
    }))

  it.live("is left behind when it doesn't close", () =>
    Effect.gen(function*() {
      const program = Effect.ensuring(Effect.never, Effect.never)
      const error = yield* Effect.flip(runUntil(program, Effect.void, () => Duration.millis(50)))
      assert.strictEqual(error.message, "not everything was closed within 50ms")
    }))

  it.live("fails as the program does", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(runUntil(failed("no port"), Effect.never, () => Duration.seconds(20)))
      assert.strictEqual(error.message, "no port")
    }))
})
