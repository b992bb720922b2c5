/** Scans of networks of hosts of their own, with what is in real ones: silence, shut ports, and whatever else answers. */
import { assert, describe, it } from "@effect/vitest"
import * as Identifying from "@portolan/mcp/upstream/Identifying"
import * as Certificates from "@portolan/tooling/backends/Certificates"
import * as Network from "@portolan/tooling/backends/Network"
import * as Server from "@portolan/tooling/backends/Server"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { execFile } from "node:child_process"
import * as net from "node:net"
import * as tls from "node:tls"
import { promisify } from "node:util"
import * as Scan from "../src/Scan.ts"
import { type Role, roles, servers } from "./fixtures/roles.ts"

const unavailable = await Effect.runPromise(Network.unavailable)
if (unavailable !== undefined) console.log(`scans of networks skipped: ${unavailable}`)
const describeNetworks = (title: string, tests: () => void) =>
  unavailable === undefined ? describe(title, tests) : describe.skip(`${title} [skipped: ${unavailable}]`)

const first = 3000
const portOf = (role: Role) => first + roles.indexOf(role)

const takes = ({ host, port }: { readonly host: string; readonly port: number }) =>
  Effect.callback<void, Error>((resume) => {
    const socket = net.connect({ host, port }, () => resume(Effect.void))
    socket.on("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => socket.destroy())
  })

/** Another address for a host. */
const alsoAt = ({ launcher: [ip = "", ...into] }: Network.Host, address: string) =>
  Effect.promise(() => promisify(execFile)(ip, [...into, ip, "addr", "add", `${address}/24`, "dev", "eth0"]))

const stranger = (host: Network.Host, { cert, key }: Certificates.Issued) =>
  Server.make({
    name: "stranger",
    binary: process.execPath,
    host: host.host,
    launcher: host.launcher,
    ports: roles.map(portOf),
    files: () => ({ "key.pem": key, "cert.pem": cert }),
    args: (_, data) => [new URL("fixtures/stranger.ts", import.meta.url).pathname, host.host, String(first), data],
    ready: takes
  })

/** Connections that are being made or open, of all that this process has. */
const connections = () =>
  process.getActiveResourcesInfo().filter((name) => /TCPSocketWrap|TCPConnectWrap/.test(name)).length

/** ms until there are no more than these; five seconds at most. */
const untilClosed = Effect.fnUntraced(function*(baseline: number) {
  const begun = performance.now()
  while (connections() > baseline && performance.now() - begun < 5_000) yield* Effect.sleep(1)
  return performance.now() - begun
})

describeNetworks("a network", () => {
  it.live(
    "N2, N3, N4, N9: of silent, shut and absent hosts, and of everything that isn't a server",
    () =>
      Effect.gen(function*() {
        const hosts = yield* Network.make(3)
        const [speaking, silent, shut] = hosts
        if (speaking === undefined || silent === undefined || shut === undefined) return assert.fail("no hosts")
        const authority = yield* Certificates.authority("scan")
        yield* stranger(speaking, yield* authority.issue("stranger", [speaking.host]))
        const twin = speaking.host.replace(/\d+$/, "21")
        yield* alsoAt(speaking, twin)
        yield* silent.cut

        // Absent ones among them, and all with ports that are shut.
        const network = speaking.host.replace(/\d+$/, "8/29")
        const result = yield* Scan.result({
          networks: [network, twin],
          ports: [...servers.map(portOf), first - 1],
          concurrency: 128,
          connectTimeout: "1 second"
        })
        assert.deepInclude(result, { asked: 9 * (servers.length + 1), open: servers.length + 1 })
        assert.deepStrictEqual(
          result.found.map(({ also, instance: { id, service, version } }) => [id, service, version, also]),
          [
            [`${speaking.host}:${portOf("stateless")}/mcp`, "stateless-server", "2.1.0", []],
            [`${speaking.host}:${portOf("sessions")}/mcp`, "sessions", "1.0.0", [
              `http://${twin}:${portOf("sessions")}/mcp`
            ]]
          ]
        )
        assert.deepStrictEqual(result.guarded.map(({ id }) => id), [`${speaking.host}:${portOf("protected")}/mcp`])

        const before = process.memoryUsage().rss
        const [took, hostile] = yield* Effect.timed(Scan.result({
          networks: [speaking.host],
          ports: [`${first + servers.length}-${first + roles.length - 1}`],
          schemes: ["http", "https"],
          connectTimeout: "1 second",
          identifyTimeout: "1 second"
        }))
        assert.deepInclude(hostile, { open: roles.length - servers.length, found: [], guarded: [] })
        // Each way to speak a second at most; the rest is for a busy machine.
        assert.isBelow(Duration.toMillis(took), 2 * 1_000 + 10_000)
        // Bodies that go on for ever, and one of 64 MB.
        assert.isBelow(process.memoryUsage().rss - before, 150_000_000)

        // With an authority that is trusted the TLS host is one more.
        const trusted = tls.getCACertificates("default")
        yield* Effect.acquireRelease(
          Effect.sync(() => tls.setDefaultCACertificates([...trusted, authority.cert])),
          () => Effect.sync(() => tls.setDefaultCACertificates(trusted))
        )
        const secure = yield* Scan.result({
          networks: [speaking.host],
          ports: [portOf("tls")],
          schemes: ["https"],
          connectTimeout: "1 second"
        })
        assert.deepStrictEqual(secure.found.map(({ instance }) => instance.endpoint), [
          { transport: "streamable-http", url: `https://${speaking.host}:${portOf("tls")}/mcp` }
        ])
      }).pipe(Effect.provide(Identifying.layer)),
    60_000
  )

  it.live(
    "N1, N2: of 1,022 silent hosts is asked within its budget, in bounded memory; N10: and left within 200 ms",
    () =>
      Effect.gen(function*() {
        const network = yield* Network.silent(22)
        const options: Scan.ScanOptions = {
          networks: [network],
          ports: ["3000-3003"],
          concurrency: 512,
          rate: 100_000,
          connectTimeout: "500 millis"
        }
        const baseline = connections()
        const before = process.memoryUsage().heapUsed
        let most = 0
        let heap = 0
        const [took, last] = yield* Effect.timed(Stream.runFold(Scan.scan(options), () => 0, (_, { asked }) => {
          most = Math.max(most, connections() - baseline)
          heap = Math.max(heap, process.memoryUsage().heapUsed)
          return asked
        }))
        // Our own address refuses at once.
        const budget = 1_023 * 4 / 512 * 500
        console.log(
          `1,024 addresses × 4 ports: ${Math.round(Duration.toMillis(took))} ms, budget ${Math.round(budget)} ms; ` +
            `${most} connections at most`
        )
        assert.strictEqual(last, 4_096)
        assert.isAtLeast(Duration.toMillis(took), budget * 0.9)
        // One after the other it would be half an hour; a busy machine takes its time too.
        assert.isBelow(Duration.toMillis(took), budget * 3)
        // Each is a socket and a request to connect.
        assert.isAtMost(most, 2 * 512)
        assert.isBelow(heap - before, 50_000_000)
        yield* untilClosed(baseline)
        assert.isAtMost(connections(), baseline)

        // The best of three: others use the processors too.
        let closed = Infinity
        for (let attempt = 0; attempt < 3 && closed >= 200; attempt++) {
          const fiber = yield* Effect.forkChild(Stream.runDrain(Scan.scan({ ...options, connectTimeout: "1 minute" })))
          while (connections() - baseline < 512) yield* Effect.sleep(1)
          const begun = performance.now()
          yield* Fiber.interrupt(fiber)
          yield* untilClosed(baseline)
          closed = performance.now() - begun
        }
        console.log(`interrupted with 512 connections under way: ${Math.round(closed)} ms`)
        assert.isBelow(closed, 200)
      }).pipe(Effect.provide(Identifying.layer)),
    60_000
  )
})
