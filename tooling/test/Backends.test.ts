/** The tools that run and break real servers, on the smallest of them. */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import * as Tls from "node:tls"
import { assert, describe, it } from "vitest"
import * as Certificates from "../src/backends/Certificates.ts"
import * as Network from "../src/backends/Network.ts"
import * as Redis from "../src/backends/Redis.ts"
import * as Server from "../src/backends/Server.ts"

const noRedis = await Effect.runPromise(Redis.unavailable)
const noNetwork = noRedis ?? await Effect.runPromise(Network.unavailable)
if (noNetwork !== undefined) console.log(`networks of servers skipped: ${noNetwork}`)

const titled = (title: string, unavailable: string | undefined) =>
  unavailable === undefined ? title : `${title} [skipped: ${unavailable}]`

const run = <A, E>(effect: Effect.Effect<A, E, never>) => () => Effect.runPromise(effect)
const fails = <A, E extends Error, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onFailure: (error) => error.message, onSuccess: (answer) => `succeeded: ${answer}` })

describe.skipIf(noRedis !== undefined)(titled("a server", noRedis), () => {
  it(
    "keeps its data when it is killed, and loses them when it is asked to",
    run(Effect.scoped(Effect.gen(function*() {
      const node = yield* Redis.single({ places: [{ host: "127.0.0.2" }] })
      assert.strictEqual(node.host, "127.0.0.2")
      yield* node.cli("SET", "ship", "here")
      yield* node.kill
      assert.match(yield* fails(node.cli("GET", "ship")), /Connection refused/)
      yield* node.start
      assert.strictEqual(yield* node.cli("GET", "ship"), "here")
      yield* node.restartEmpty
      assert.strictEqual(yield* node.cli("GET", "ship"), "")
    })))
  )

  it(
    "says nothing while it is paused",
    run(Effect.scoped(Effect.gen(function*() {
      const node = yield* Redis.single()
      yield* node.pause
      assert.match(yield* fails(node.cli("PING")), /PING/)
      yield* node.resume
      assert.strictEqual(yield* node.cli("PING"), "PONG")
    })))
  )

  it(
    "speaks TLS only, with a password",
    run(Effect.scoped(Effect.gen(function*() {
      const tls = yield* Certificates.authority("ships")
      const node = yield* Redis.single({ tls, password: "secret" })
      assert.match(node.url, /^rediss:/)
      assert.strictEqual(yield* node.cli("PING"), "PONG")
      const { cert, key } = yield* tls.issue("client")
      const other = yield* Certificates.authority("others")
      const shake = (options: Tls.ConnectionOptions) =>
        Effect.callback<string>((resume) => {
          const socket = Tls.connect({ host: node.host, port: node.port, ...options })
          socket.once("secureConnect", () => resume(Effect.succeed("secure")))
          socket.once("error", (error) => resume(Effect.succeed(error.message)))
          return Effect.sync(() => socket.destroy())
        })
      assert.strictEqual(yield* shake({ ca: tls.cert, cert, key }), "secure")
      assert.match(yield* shake({ ca: other.cert }), /certificate/)
    })))
  )

  it(
    "tells what it printed where it doesn't start",
    run(Effect.scoped(Effect.gen(function*() {
      const error = yield* fails(Server.make({
        name: "ship",
        binary: process.execPath,
        ports: 1,
        args: () => ["-e", "throw new Error('no harbour')"],
        ready: { path: "/", when: () => true }
      }))
      assert.match(error, /^ship: ended at once: [^]*no harbour/)
    })))
  )
})

/** Whether a host can open a connection to a server: from inside its network, by a program of its own. */
const reaches = (host: Network.Host, to: Redis.Node) =>
  Effect.callback<boolean>((resume) => {
    const [command = "", ...args] = host.launcher
    const program = `require("net").connect(${to.port}, "${to.host}").on("connect", () => process.exit(0))
      .on("error", () => process.exit(1)).setTimeout(500, () => process.exit(1))`
    execFile(command, [...args, process.execPath, "-e", program], (error) => resume(Effect.succeed(error === null)))
  })

describe.skipIf(noNetwork !== undefined)(titled("a network", noNetwork), () => {
  it(
    "cuts a host off from everybody or from its peers, and leaves nothing behind",
    run(Effect.gen(function*() {
      const host = yield* Effect.scoped(Effect.gen(function*() {
        const [first, second] = yield* Network.make(2)
        assert(first !== undefined && second !== undefined)
        const node = yield* Redis.single({ places: [first] })
        assert.strictEqual(yield* node.cli("PING"), "PONG")
        assert.isTrue(yield* reaches(second, node))

        yield* first.cutFromPeers
        assert.isFalse(yield* reaches(second, node))
        assert.strictEqual(yield* node.cli("PING"), "PONG")
        yield* first.heal
        assert.isTrue(yield* reaches(second, node))

        yield* first.cut
        assert.isFalse(yield* reaches(second, node))
        assert.match(yield* fails(node.cli("PING")), /PING/)
        yield* first.heal
        assert.strictEqual(yield* node.cli("PING"), "PONG")
        assert.isTrue(yield* reaches(second, node))
        return first
      }))
      const left = yield* Effect.callback<string>((resume) => {
        execFile(
          "ip",
          ["-o", "addr"],
          { env: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" } },
          (_, stdout) => resume(Effect.succeed(stdout))
        )
      })
      assert.notInclude(left, host.host.replace(/\d+$/, "1/"))
    }))
  )
})
