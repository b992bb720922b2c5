/**
 * A proxy before a real Redis: counts what it is asked, slows down writes, answers in its stead with garbage.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"

/**
 * A running proxy.
 *
 * @category models
 * @since 0.2.0
 */
export interface RedisFaults {
  readonly port: number
  /** Round trips: what came in one piece, such as a pipeline, counts once. */
  readonly requests: Effect.Effect<number>
  /** Answers everything so from now on; what is open is cut. */
  readonly answer: (text: string) => Effect.Effect<void>
  /** Holds back by so many ms what publishes, as each write of a registry does. */
  readonly slowWrites: (millis: number) => Effect.Effect<void>
  /** Lets everything through again. */
  readonly pass: Effect.Effect<void>
}

/**
 * Starts a proxy until the scope closes.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  target: { readonly host: string; readonly port: number }
): Effect.fn.Return<RedisFaults, never, Scope.Scope> {
  let requests = 0
  let instead: string | undefined
  let slow = 0
  const open = new Set<Net.Socket>()
  const cut = () => open.forEach((socket) => socket.destroy())

  const accept = (client: Net.Socket) => {
    const server = Net.connect({ host: target.host, port: target.port, noDelay: true })
    open.add(client).add(server)
    for (const [from, to] of [[client, server], [server, client]] as const) {
      // How it ended is told by "close".
      from.on("error", () => undefined).on("close", () => {
        open.delete(from)
        to.destroy()
      })
    }
    client.setNoDelay(true)
    client.on("data", (asked) => {
      requests++
      if (instead !== undefined) client.write(instead)
      else if (slow > 0 && asked.includes("PUBLISH")) setTimeout(() => server.write(asked), slow)
      else server.write(asked)
    })
    server.pipe(client)
  }

  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer(accept).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        cut()
      })
  )
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    requests: Effect.sync(() => requests),
    answer: (text) =>
      Effect.sync(() => {
        instead = text
        cut()
      }),
    slowWrites: (millis) =>
      Effect.sync(() => {
        slow = millis
      }),
    pass: Effect.sync(() => {
      instead = undefined
      cut()
    })
  }
})
