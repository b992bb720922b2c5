import { assert, describe, it } from "@effect/vitest"
import { Identification } from "@portolan/core/Identification"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Net from "node:net"
import { vi } from "vitest"
import * as Scan from "../src/Scan.ts"
import { free, layer, listen, says, understanding } from "./fixtures/hosts.ts"

const found = ({ found }: Scan.Progress) => found.map(({ instance }) => `${instance.service} ${instance.id}`)

const weather = says({ name: "Weather", version: "1.2.0" })

describe("a scan", () => {
  it.live("finds what answers, and takes nothing else for a server", () =>
    Effect.gen(function*() {
      const port = yield* free
      yield* listen("127.0.1.1", port, weather)
      yield* listen("127.0.1.3", port, says({ name: "time" }))
      yield* listen("127.0.1.4", port, (_, response) => response.end("<html>"))
      yield* listen("127.0.1.5", port, (_, response) => response.socket?.destroy())
      yield* listen("127.0.1.6", port, (_, response) => response.writeHead(401).end())
      const result = yield* Scan.result({ networks: ["127.0.1.0/29"], ports: [port] })
      assert.deepInclude(result, { asked: 8, total: 8, open: 5 })
      assert.deepStrictEqual(found(result), [`weather 127.0.1.1:${port}/mcp`, `time 127.0.1.3:${port}/mcp`])
      assert.deepInclude(result.found[0], {
        identity: { name: "Weather", version: "1.2.0", title: undefined, protocolVersion: "word" },
        also: []
      })
      assert.deepInclude(result.found[0]?.instance, {
        version: "1.2.0",
        endpoint: { transport: "streamable-http", url: `http://127.0.1.1:${port}/mcp` }
      })
      const url = `http://127.0.1.6:${port}/mcp`
      assert.deepStrictEqual(result.guarded, [
        { id: `127.0.1.6:${port}/mcp`, url, reason: "it asks for credentials" }
      ])
    }).pipe(Effect.provide(layer)))

  it.live("tries every path, and every way to speak until one is understood", () =>
    Effect.gen(function*() {
      const { port } = yield* listen("127.0.1.1", 0, (request, response) => {
        if (request.url === "/none") response.writeHead(404)
        response.end(JSON.stringify({ name: `at ${request.url}` }))
      })
      const asked: Array<string> = []
      const identification = understanding(({ serverName, transport, url }) =>
        asked.push([transport, url.replace(/127.*:\d+/, "…"), serverName].join(" ").trim())
      )
      const result = yield* Scan.result({
        networks: ["127.0.1.1"],
        ports: [port],
        paths: ["/a", "/none"],
        schemes: ["http", "https"],
        transports: ["sse", "streamable-http"]
      }).pipe(Effect.provideService(Identification, identification))
      assert.deepStrictEqual(found(result), [`at-a 127.0.1.1:${port}/a`])
      assert.deepStrictEqual(result.found[0]?.instance.endpoint, {
        transport: "sse",
        url: `http://127.0.1.1:${port}/a`
      })
      assert.deepStrictEqual(asked, [
        "sse http://…/a",
        "sse http://…/none",
        "streamable-http http://…/none",
        "sse https://…/none",
        "streamable-http https://…/none"
      ])
    }))

  it.live("of a name with TLS asks its address, for a certificate of that name", () =>
    Effect.gen(function*() {
      const { port } = yield* listen("127.0.0.1", 0, weather)
      const asked = new Set<string>()
      const identification = understanding(({ serverName, url }) => asked.add(`${url} ${serverName}`))
      yield* Scan.result({ hosts: ["localhost"], ports: [port], schemes: ["https", "http"], denyNetworks: ["::1"] })
        .pipe(Effect.provideService(Identification, identification))
      assert.deepStrictEqual(Array.from(asked), [
        `https://127.0.0.1:${port}/mcp localhost`,
        `http://127.0.0.1:${port}/mcp undefined`
      ])
    }))

  it.live("tells how far it is: at once, now and then, and at the end", () =>
    Effect.gen(function*() {
      const port = yield* free
      yield* listen("127.0.1.1", port, weather)
      const progress = yield* Scan.scan({ networks: ["127.0.1.0/26"], ports: [port], rate: 100 }).pipe(
        Stream.runCollect
      )
      assert.deepInclude(progress[0], { asked: 0, total: 64, open: 0, found: [], guarded: [] })
      const asked = progress.map(({ asked }) => asked)
      assert.deepStrictEqual(asked, asked.toSorted((a, b) => a - b))
      assert.isAbove(new Set(asked).size, 3)
      assert.deepInclude(progress.at(-1), { asked: 64, open: 1 })
      assert.strictEqual(progress.at(-1)?.found.length, 1)
    }).pipe(Effect.provide(layer)))

  it.live("says what is wrong with its options", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Scan.result({ ports: ["http"] }))
      assert.strictEqual(error.message, "ports: expected 8080 or 3000-3010, not \"http\"")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(Scan.scan({ ports: [] }))))._tag, "ScanError")
    }).pipe(Effect.provide(layer)))

  it.live("N1: asks only so many at the same time, and begins only so many in a second", () =>
    Effect.gen(function*() {
      const port = yield* free
      const network = Array.from({ length: 16 }, (_, n) => `127.0.1.${n}`)
      yield* Effect.forEach(network, (host) => listen(host, port, weather))
      let now = 0
      let most = 0
      let compared = 0
      const busy = <A, E, R>(asking: Effect.Effect<A, E, R>) =>
        Effect.acquireUseRelease(
          Effect.sync(() => most = Math.max(most, ++now)),
          () => Effect.andThen(Effect.sleep(20), asking),
          () => Effect.sync(() => now--)
        )
      const identification = Identification.of({
        identify: (address, bounds) =>
          Effect.map(busy(understanding().identify(address, bounds)), (identified) => ({
            ...identified,
            isAlso: (other) => busy(Effect.map(identified.isAlso(other), (same) => (compared++, same)))
          }))
      })
      const scan = (more: Partial<Scan.ScanOptions>) =>
        Scan.result({ networks: ["127.0.1.0/28"], ports: [port], ...more }).pipe(
          Effect.provideService(Identification, identification),
          Effect.timed
        )
      const [, some] = yield* scan({ concurrency: 5 })
      assert.strictEqual(some.found.length, 16)
      assert.strictEqual(compared, 16 * 15 / 2)
      assert.strictEqual(most, 5)
      // Four to connect, four to identify and six to compare; 50 ms of them are made up for.
      const [took] = yield* scan({ networks: ["127.0.1.0/30"], rate: 20 })
      assert.isAtLeast(Duration.toMillis(took), (4 + 4 + 6 - 2) * 50)
    }))

  it.live("N1: keeps its pace when the clock on the wall is set back", () =>
    Effect.gen(function*() {
      const port = yield* free
      const clock = yield* Clock.Clock
      let hours = 24
      const turning: Clock.Clock = {
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + --hours * 3_600_000,
        currentTimeMillis: Effect.sync(() => turning.currentTimeMillisUnsafe()),
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        currentTimeNanos: clock.currentTimeNanos,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos,
        sleep: (duration) => clock.sleep(duration)
      }
      const result = yield* Scan.result({ networks: ["127.0.1.0/30"], ports: [port] }).pipe(
        Effect.provideService(Clock.Clock, turning),
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(result.asked, 4)
    }).pipe(Effect.provide(layer)))

  it.live("N4: gives up what goes on for ever", () =>
    Effect.gen(function*() {
      const port = yield* free
      yield* listen("127.0.1.1", port, (_, response) => {
        const write = (): void =>
          void (response.destroyed || response.write(" ".repeat(100), () => setImmediate(write)))
        write()
      })
      yield* listen("127.0.1.2", port, () => undefined)
      yield* listen("127.0.1.3", port, weather)
      const options = { networks: ["127.0.1.1-127.0.1.3"], ports: [port], identifyTimeout: "300 millis" } as const
      assert.deepStrictEqual(found(yield* Scan.result(options)), [`weather 127.0.1.3:${port}/mcp`])
    }).pipe(Effect.provide(layer)))

  it.live("N6: our own event loop stands still while it connects, and nobody is missed", () =>
    Effect.gen(function*() {
      const port = yield* free
      yield* Effect.forEach(Array.from({ length: 8 }, (_, n) => `127.0.1.${n}`), (host) => listen(host, port, weather))
      const stall = () => {
        for (const end = performance.now() + 200; performance.now() < end;);
      }
      // Before what arrives can be read, and until after the time to connect is over.
      const connect = Net.Socket.prototype.connect
      let stalls = 0
      const spy = vi.spyOn(Net.Socket.prototype, "connect").mockImplementation(function(this: Net.Socket, ...to) {
        if (stalls++ === 0) process.nextTick(stall)
        return connect.apply(this, to)
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => spy.mockRestore()))
      const result = yield* Scan.result({ networks: ["127.0.1.0/29"], ports: [port], connectTimeout: "100 millis" })
      assert.strictEqual(result.open, 8)
    }).pipe(Effect.provide(layer)))

  it.live("what this machine lacks ends it: nobody is missed for that", () =>
    Effect.gen(function*() {
      const spy = vi.spyOn(Net.Socket.prototype, "connect").mockImplementation(function(this: Net.Socket) {
        return this.destroy(Object.assign(new Error("connect EMFILE"), { code: "EMFILE" }))
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => spy.mockRestore()))
      const { message } = yield* Effect.flip(Scan.result({ networks: ["127.0.1.0/29"], ports: [1] }))
      assert.strictEqual(
        message,
        "this machine can't open so many connections at the same time (EMFILE): lower the concurrency"
      )
    }).pipe(Effect.provide(layer)))

  it.live("N7: nobody who is denied gets a packet", () =>
    Effect.gen(function*() {
      const port = yield* free
      const hosts = yield* Effect.forEach([1, 2, 3, 4], (n) => listen(`127.0.1.${n}`, port, weather))
      const result = yield* Scan.result({
        networks: ["127.0.1.0/29"],
        hosts: ["127.0.1.4"],
        ports: [port],
        allowNetworks: ["127.0.1.0/30"],
        denyNetworks: ["::ffff:127.0.1.2"]
      })
      assert.deepStrictEqual(found(result), [`weather 127.0.1.1:${port}/mcp`, `weather 127.0.1.3:${port}/mcp`])
      assert.deepStrictEqual(hosts.map(({ taken }) => taken() > 0), [true, false, true, false])
    }).pipe(Effect.provide(layer)))

  it.live("N8: begins at a place of its own", () =>
    Effect.gen(function*() {
      const port = yield* free
      yield* Effect.forEach(Array.from({ length: 8 }, (_, n) => `127.0.1.${n}`), (host) => listen(host, port, weather))
      const firsts = new Set<string>()
      for (let scan = 0; scan < 30; scan++) {
        const asked: Array<string> = []
        const identification = understanding(({ url }) => asked.push(url))
        const options = { networks: ["127.0.1.0/29"], ports: [port], concurrency: 1, rate: 100_000 }
        yield* Effect.provideService(Scan.result(options), Identification, identification)
        assert.strictEqual(new Set(asked).size, 8)
        firsts.add(asked[0] ?? "")
      }
      // One in 8^29 that they are all the same.
      assert.isAbove(firsts.size, 1)
    }))

  it.live("N10: is interrupted, and its connections close within 200 ms", () =>
    Effect.gen(function*() {
      const port = yield* free
      const all = Latch.makeUnsafe(false)
      let waiting = 0
      const hosts = yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => `127.0.1.${n}`),
        (host) => listen(host, port, () => ++waiting === 32 && all.openUnsafe())
      )
      const open = () => hosts.reduce((sum, host) => sum + host.open(), 0)
      const options = { networks: ["127.0.1.0/27"], ports: [port], identifyTimeout: "1 minute" } as const
      // The best of three: others use the processors too.
      let closed = Infinity
      for (let attempt = 0; attempt < 3 && closed >= 200; attempt++) {
        waiting = 0
        all.closeUnsafe()
        const fiber = yield* Effect.forkChild(Stream.runDrain(Scan.scan(options)))
        yield* all.await
        assert.isAtLeast(open(), 32)
        const begun = performance.now()
        yield* Fiber.interrupt(fiber)
        while (open() > 0 && performance.now() - begun < 5_000) yield* Effect.sleep(1)
        closed = performance.now() - begun
      }
      assert.isBelow(closed, 200)
    }).pipe(Effect.provide(layer)))
})
