import { assert, describe, it } from "@effect/vitest"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Net from "node:net"

/** A server that answers every line with itself, upper case. */
const echo: Effect.Effect<number, never, Scope.Scope> = Effect.gen(function*() {
  const sockets = new Set<Net.Socket>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<Net.Server>((resume) => {
      const server = Net.createServer((socket) => {
        sockets.add(socket)
        socket.on("close", () => sockets.delete(socket)).on("error", () => undefined)
        socket.on("data", (chunk) => socket.write(String(chunk).toUpperCase()))
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        sockets.forEach((socket) => socket.destroy())
        server.close(() => resume(Effect.void))
      })
  )
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
})

interface Client {
  readonly send: (text: string) => void
  readonly text: () => string
  /** How the connection ended, if it did. */
  readonly ended: () => string | undefined
  readonly until: (holds: () => boolean) => Effect.Effect<void>
}

const connect = (proxy: FaultProxy.FaultProxy): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.gen(function*() {
    let text = ""
    let ended: string | undefined
    const listeners = new Set<() => void>()
    const changed = () => listeners.forEach((listener) => listener())
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Net.connect({ host: proxy.host, port: proxy.port })),
      (socket) => Effect.sync(() => socket.destroy())
    )
    socket.on("data", (chunk) => {
      text += String(chunk)
      changed()
    })
    socket.on("error", (error: NodeJS.ErrnoException) => {
      ended = error.code ?? error.message
      changed()
    })
    socket.on("close", () => {
      ended ??= "closed"
      changed()
    })
    return {
      send: (line) => void socket.write(line),
      text: () => text,
      ended: () => ended,
      until: (holds) =>
        Effect.callback<void>((resume) => {
          const listener = () => {
            if (holds()) resume(Effect.void)
          }
          listeners.add(listener)
          listener()
          return Effect.sync(() => listeners.delete(listener))
        })
    }
  })

const setUp = Effect.gen(function*() {
  const proxy = yield* FaultProxy.make({ port: yield* echo })
  const client = yield* connect(proxy)
  client.send("hello ")
  yield* client.until(() => client.text() === "HELLO ")
  return { proxy, client }
})

const works = Effect.fnUntraced(function*(proxy: FaultProxy.FaultProxy) {
  const client = yield* connect(proxy)
  client.send("again")
  yield* client.until(() => client.text() === "AGAIN")
}, Effect.scoped)

describe("FaultProxy", () => {
  it.live("forwards, counts, and ends its connections with the scope", () =>
    Effect.gen(function*() {
      const port = yield* echo
      const scope = yield* Scope.fork(yield* Effect.scope)
      const proxy = yield* FaultProxy.make({ port }).pipe(Scope.provide(scope))
      const client = yield* connect(proxy)
      client.send("hello")
      yield* client.until(() => client.text() === "HELLO")
      yield* works(proxy)
      assert.strictEqual(proxy.connections().accepted, 2)
      yield* Scope.close(scope, Exit.void)
      yield* client.until(() => client.ended() === "ECONNRESET")
      assert.strictEqual(proxy.connections().open, 0)
    }))

  it.live("cut resets open connections, and new ones work", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      yield* proxy.cut
      yield* client.until(() => client.ended() !== undefined)
      assert.strictEqual(client.ended(), "ECONNRESET")
      assert.strictEqual(proxy.connections().open, 0)
      yield* works(proxy)
    }))

  it.live("refuse ends connections and refuses new ones until restore, on the same port", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      yield* proxy.refuse
      yield* client.until(() => client.ended() === "ECONNRESET")
      const refused = yield* connect(proxy)
      yield* refused.until(() => refused.ended() === "ECONNREFUSED")
      yield* proxy.restore
      yield* works(proxy)
    }))

  it.live("stall holds everything and keeps sockets open; restore lets it through", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      yield* proxy.stall
      client.send("held")
      const late = yield* connect(proxy)
      late.send("late")
      yield* Effect.sleep(100)
      assert.deepStrictEqual([client.text(), client.ended(), late.text(), late.ended()], [
        "HELLO ",
        undefined,
        "",
        undefined
      ])
      yield* proxy.restore
      yield* client.until(() => client.text() === "HELLO HELD")
      yield* late.until(() => late.text() === "LATE")
    }))

  it.live("halfOpen swallows what open connections say, new ones work, restore resets the deaf", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      yield* proxy.halfOpen("toServer")
      client.send("lost")
      yield* works(proxy)
      assert.deepStrictEqual([client.text(), client.ended()], ["HELLO ", undefined])
      yield* proxy.restore
      yield* client.until(() => client.ended() !== undefined)
      assert.strictEqual(client.ended(), "ECONNRESET")
    }))

  it.live("delay forwards later, in order", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      yield* proxy.delay("50 millis")
      const from = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      client.send("a")
      client.send("b")
      yield* client.until(() => client.text() === "HELLO AB")
      const took = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - from
      assert.isAtLeast(took, 95)
      yield* proxy.restore
      yield* works(proxy)
    }))

  it.live("a shorter delay overtakes nothing that was held back before", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      yield* proxy.delay("100 millis")
      client.send("first ")
      // It is in the proxy's hands when the delay ends.
      yield* Effect.sleep(30)
      yield* proxy.restore
      client.send("second")
      yield* client.until(() => client.text().length === "hello first second".length)
      assert.strictEqual(client.text(), "HELLO FIRST SECOND")
    }))

  it.live("forwards more than fits into the buffers", () =>
    Effect.gen(function*() {
      const { client, proxy } = yield* setUp
      const size = 5_000_000
      yield* proxy.delay("1 millis")
      client.send("x".repeat(size))
      yield* client.until(() => client.text().length === size + "hello ".length)
      yield* proxy.restore
    }))

  it.live("a deaf connection doesn't learn that its server went", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.fork(yield* Effect.scope)
      const proxy = yield* FaultProxy.make({ port: yield* echo.pipe(Scope.provide(scope)) })
      const client = yield* connect(proxy)
      client.send("hello")
      yield* client.until(() => client.text() === "HELLO")
      yield* proxy.halfOpen("toClient")
      yield* Scope.close(scope, Exit.void)
      yield* Effect.sleep(50)
      assert.isUndefined(client.ended())
      yield* proxy.restore
      yield* client.until(() => client.ended() === "ECONNRESET")
    }))

  it.live("a server that is away ends the client's connection", () =>
    Effect.gen(function*() {
      const port = yield* Effect.scoped(echo)
      const proxy = yield* FaultProxy.make({ port })
      const client = yield* connect(proxy)
      yield* client.until(() => client.ended() !== undefined)
      assert.strictEqual(proxy.connections().open, 0)
    }))

  it.live("leaves no handle behind", () =>
    Effect.gen(function*() {
      const handles = () => process.getActiveResourcesInfo().filter((type) => type.startsWith("TCP")).length
      const before = handles()
      yield* Effect.scoped(Effect.flatMap(setUp, ({ proxy }) => proxy.stall))
      for (let waited = 0; handles() > before && waited < 2000; waited += 10) yield* Effect.sleep(10)
      assert.isAtMost(handles(), before)
    }))
})
