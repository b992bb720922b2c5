import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Http from "node:http"
import * as Client from "../src/client.ts"

describe("a question to a gateway", () => {
  it.effect("ends where nobody answers, and so does its connection", () =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(
        Effect.callback<Http.Server>((resume) => {
          const server = Http.createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) =>
          Effect.sync(() => {
            server.close()
            server.closeAllConnections()
          })
      )
      const address = server.address()
      const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : address}`
      const asked = yield* Effect.forkChild(
        Effect.callback<Http.IncomingMessage>((resume) => {
          server.once("request", (request: Http.IncomingMessage) => resume(Effect.succeed(request)))
        }),
        { startImmediately: true }
      )
      const answer = yield* Effect.forkChild(Effect.flip(Client.send({ url, token: undefined }, "/api/v1/status")))
      const request = yield* Fiber.join(asked)
      yield* TestClock.adjust("60 seconds")
      assert.deepInclude(yield* Fiber.join(answer), {
        status: 1,
        message: `${url} gave no answer within 60 seconds`
      })
      yield* Effect.callback<void>((resume) => {
        if (request.destroyed) resume(Effect.void)
        else request.once("close", () => resume(Effect.void))
      })
    })))
})
