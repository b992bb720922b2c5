/**
 * The configuration of a running gateway is edited while clients call without pause.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Modern from "@modelcontextprotocol/client"
import { Client as Classic } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as ClassicTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { CallToolResultSchema } from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { request } from "node:http"
import { createServer } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { broken, type Content, edit, random, render, type View } from "./edits.ts"
import { record, registry } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { directory, until, up } from "./process.ts"

const program = (name: string) => fileURLToPath(new URL(name, import.meta.url))

const Edits = 50
const Callers = 16
/** ms within which an edit must show; far more than it takes. */
const Ceiling = 15_000

const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })

/** `portolan up` with the configuration in this directory alone, until the scope closes. */
const start = (cwd: string) =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => {
        const { PORTOLAN_URL: _, ...env } = process.env
        const child = spawn(process.execPath, [program("../bin/portolan.js"), "up", "--json"], {
          cwd,
          env,
          stdio: ["ignore", "pipe", "pipe"]
        })
        const last = () => child.kill("SIGKILL")
        process.once("exit", last)
        child.once("exit", () => process.off("exit", last))
        return child
      }),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          const last = setTimeout(() => child.kill("SIGKILL"), 15_000)
          child.once("exit", () => {
            clearTimeout(last)
            resume(Effect.void)
          })
          child.kill("SIGTERM")
        })
    ),
    (child) =>
      Effect.callback<{ readonly log: () => string; readonly kill: (signal: NodeJS.Signals) => void }>((resume) => {
        let log = ""
        child.stderr.setEncoding("utf8").on("data", (chunk: string) => log += chunk)
        child.stdout.once(
          "data",
          () => resume(Effect.succeed({ log: () => log, kill: (signal) => child.kill(signal) }))
        )
        child.once("exit", () => resume(Effect.die(new Error(`portolan up ended: ${log}`))))
      })
  )

interface Configured {
  readonly revision: number
  readonly loadedAt: unknown
  readonly error?: {
    readonly at: unknown
    readonly mistakes: ReadonlyArray<{ readonly path: string; readonly line: number; readonly message: string }>
  }
}

const json = async (port: number, path: string) => {
  const found: Record<string, unknown> = JSON.parse(await (await fetch(`http://127.0.0.1:${port}${path}`)).text())
  return found
}

const configured = async (port: number): Promise<Configured> => {
  const { configuration }: { configuration: Configured } = JSON.parse(
    await (await fetch(`http://127.0.0.1:${port}/api/v1/status`)).text()
  )
  return configuration
}

const isRefused = (error: unknown): boolean =>
  error instanceof Error && error.cause instanceof Error && "code" in error.cause && error.cause.code === "ECONNREFUSED"

interface Caller {
  readonly call: (tool: string, args: Record<string, unknown>) => Promise<Peers.Reply>
  readonly session: () => string | undefined
  readonly close: () => Promise<void>
}

/**
 * Clients that go where the gateway is: one that is refused, which happens before anything is sent, connects to the port
 * that holds now.
 */
const caller = async (kind: number, port: () => number): Promise<Caller> => {
  const roaming = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const deadline = performance.now() + Ceiling
    for (;;) {
      const url = new URL(input instanceof Request ? input.url : input)
      url.port = String(port())
      try {
        return await fetch(url, init)
      } catch (error) {
        if (!isRefused(error) || performance.now() > deadline) throw error
        await sleep(10)
      }
    }
  }
  const url = new URL(`http://127.0.0.1:${port()}/mcp`)
  const info = { name: "portolan-test", version: "1.0.0" }
  if (kind === 0) {
    const client = new Classic(info)
    const transport = new ClassicTransport(url, { fetch: roaming })
    await client.connect(transport)
    return {
      call: async (name, args) => CallToolResultSchema.parse(await client.callTool({ name, arguments: args })),
      session: () => transport.sessionId,
      close: () => client.close()
    }
  }
  const client = new Modern.Client(info, { versionNegotiation: { mode: kind === 1 ? "legacy" : "auto" } })
  const transport = new Modern.StreamableHTTPClientTransport(url, { fetch: roaming })
  await client.connect(transport)
  return {
    call: (name, args) => client.callTool({ name, arguments: args }),
    session: () => transport.sessionId,
    close: () => client.close()
  }
}

/** A gateway with a child process and two replicas behind it, which many clients call until the scope closes. */
const fleet = Effect.gen(function*() {
  const hello = yield* served({ tools: [{ name: "hello" }] })
  const replicas = yield* Effect.all(
    [1, 2].map((number) => served({ tools: [{ name: "look", run: () => `${number}` }] }))
  )
  const records = replicas.map(({ url }, index) => ({ ...record(`look${index}`, url), service: "looks" }))
  const cwd = yield* directory({
    "called.json": registry(...records),
    // One of the two is announced here too, so that it moves with the order of the registries; the other one stays.
    "same.json": registry(...records.slice(0, 1)),
    "other.json": registry(record("other", hello.url))
  })
  const file = join(cwd, "portolan.yaml")
  let port = yield* Effect.promise(freePort)
  let content: Content = {
    // Defaults, written out: to write them out is no edit.
    gateway: {
      port,
      pageSize: 1000,
      separator: "__",
      allowedHosts: [],
      bodyLimit: "4mb",
      listTtl: "0s",
      showRouting: true,
      documents: true,
      sessionIdleTimeout: "30m"
    },
    registries: [{ type: "file", name: "called", path: "called.json" }],
    mcpServers: { stdio: { command: process.execPath, args: [program("server.mjs")] } },
    health: { interval: "5s", fall: 3 },
    balancing: { strategy: "round-robin", slowStart: "10s", panicThreshold: 0.5 },
    calls: { retries: 2, timeout: "60s" }
  }
  Fs.writeFileSync(file, render(() => 0.5, content))
  const running = yield* start(cwd)
  const clients = yield* Effect.forEach(
    Array.from({ length: Callers }, (_, index) => index % 3),
    (kind) =>
      Effect.acquireRelease(
        Effect.promise(() => caller(kind, () => port)),
        (client) => Effect.promise(() => client.close().catch(() => {}))
      )
  )
  const failures: Array<string> = []
  let calls = 0
  const over = new AbortController()
  const loop = async (client: Caller, index: number) => {
    while (!over.signal.aborted) {
      const text = `${index} ${++calls}`
      try {
        const reply = await (index % 2 === 0
          ? client.call("stdio__echo", { text })
          : client.call("looks__look", {}))
        const said = Peers.textOf(reply)
        if (index % 2 === 0 ? said !== text : !/^[12]$/.test(said)) failures.push(`${text}: ${JSON.stringify(reply)}`)
      } catch (error) {
        failures.push(`${text}: ${String(error)} ${error instanceof Error ? String(error.cause ?? "") : ""}`)
      }
      await sleep(20)
    }
  }
  const loops = clients.map(loop)
  yield* Effect.addFinalizer(() =>
    Effect.promise(() => {
      over.abort()
      return Promise.all(loops)
    })
  )

  const lister = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Modern.Client({ name: "lister", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } })
      const { port: at } = { port }
      await client.connect(
        new Modern.StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${at}/mcp`), {
          fetch: (input, init) => {
            const url = new URL(input)
            url.port = String(port)
            return fetch(url, init)
          }
        })
      )
      return client
    }),
    (client) => Effect.promise(() => client.close().catch(() => {}))
  )
  const view: View = {
    tools: async () => {
      const pages: Array<ReadonlyArray<string>> = []
      let cursor: string | undefined
      do {
        const page = await lister.request({ method: "tools/list", params: cursor === undefined ? {} : { cursor } })
        pages.push(page.tools.map(({ name }) => name))
        cursor = page.nextCursor
      } while (cursor !== undefined)
      return pages
    },
    json: (path) => json(port, path),
    asked: async (method, params = {}) => {
      const name = params["name"]
      const response = await fetch(`http://127.0.0.1:${port}/mcp`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "accept": "application/json, text/event-stream",
          "mcp-protocol-version": "2026-07-28",
          "mcp-method": method,
          ...(typeof name === "string" ? { "mcp-name": name } : {})
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: 1,
          method,
          params: {
            ...params,
            _meta: {
              "io.modelcontextprotocol/protocolVersion": "2026-07-28",
              "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
              "io.modelcontextprotocol/clientCapabilities": {}
            }
          }
        })
      })
      const { result = {} }: { result?: Record<string, unknown> } = JSON.parse(await response.text())
      return result
    },
    asHost: (name) =>
      new Promise((resolve, reject) =>
        request({ host: "127.0.0.1", port, path: "/healthz", headers: { host: name } }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        }).once("error", reject).end()
      )
  }
  const pid = Effect.promise(async () => Peers.textOf(await clients[0]!.call("stdio__pid", {})))
  const sessions = () => clients.map((client) => client.session())
  const asked = () => replicas[1]?.asked("initialize")
  const before = { pid: yield* pid, sessions: sessions(), asked: asked() }
  return {
    file,
    running,
    view,
    failures,
    calls: () => calls,
    port: () => port,
    moved: (to: number) => {
      port = to
    },
    content: () => content,
    written: (next: Content) => {
      content = next
    },
    material: { server: hello.url, files: ["other.json", "same.json"] as const },
    /** Nothing of what is called was started anew. */
    untouched: Effect.gen(function*() {
      assert.deepStrictEqual({ pid: yield* pid, sessions: sessions(), asked: asked() }, before)
    })
  }
})

/** In one of the ways in which files are written. */
const write = (random: () => number, file: string, text: string) => {
  const way = random()
  if (way < 0.4) return Fs.writeFileSync(file, text)
  Fs.writeFileSync(`${file}.new`, text)
  if (way < 0.7) Fs.rmSync(file)
  Fs.renameSync(`${file}.new`, file)
}

const seeded = <A, E, R>(body: (random: () => number) => Effect.Effect<A, E, R>) => {
  const seed = Number(process.env["PORTOLAN_TEST_SEED"] ?? Date.now() % 1_000_000)
  return body(random(seed)).pipe(
    Effect.onError(() => Effect.sync(() => console.error(`the seed was ${seed}: set PORTOLAN_TEST_SEED to it`)))
  )
}

/** Waits until the state of the configuration is as it should be. */
const configuredSo = (port: () => number, holds: (state: Configured) => boolean) =>
  until(Effect.promise(() => configured(port()).then(holds, () => false)), Ceiling)

describe("a configuration that can't be applied as a whole", () => {
  it.live(
    "is applied in part: a port in use is named, and taken at SIGHUP once it is free",
    () =>
      Effect.gen(function*() {
        const gateway = yield* fleet
        const taken = yield* served({ tools: [] })
        const old = gateway.port()
        const lines = ["gateway:", `  port: ${taken.port}`, "  allowedHosts: [gateway.test]", "mcpServers: {}"]
        Fs.writeFileSync(
          gateway.file,
          `${lines.join("\n")}\nregistries: [{ type: file, name: called, path: called.json }]\n`
        )
        yield* configuredSo(gateway.port, ({ revision }) => revision === 2)
        const { error } = yield* Effect.promise(() => configured(old))
        assert.deepStrictEqual(error?.mistakes.map(({ line, path }) => [path, line]), [["gateway.port", 2]])
        assert.include(error?.mistakes[0]?.message, "in use")
        assert.include(gateway.running.log(), "portolan.yaml:2:9: gateway.port: ")
        // The listener is one part: its hosts wait for its port. The servers don't.
        assert.strictEqual(yield* Effect.promise(() => gateway.view.asHost("gateway.test")), 403)
        yield* until(
          Effect.map(Effect.promise(gateway.view.tools), (pages) => pages.flat().join() === "looks__look"),
          Ceiling
        )
        yield* Effect.promise(taken.stop)
        gateway.running.kill("SIGHUP")
        yield* configuredSo(() => taken.port, ({ revision }) => revision === 3)
        gateway.moved(taken.port)
        assert.isUndefined((yield* Effect.promise(() => configured(taken.port))).error)
        assert.strictEqual(yield* Effect.promise(() => gateway.view.asHost("gateway.test")), 200)
      }),
    60_000
  )

  it.live("doesn't move what a flag of the command says", () =>
    Effect.gen(function*() {
      const cwd = yield* directory({ "portolan.yaml": "gateway: { port: 1, pageSize: 3 }\n" })
      const { url } = yield* up([], { cwd })
      const port = Number(new URL(url).port)
      Fs.writeFileSync(join(cwd, "portolan.yaml"), "gateway: { port: 2, pageSize: 5 }\n")
      yield* configuredSo(() => port, ({ revision }) => revision === 2)
      assert.isUndefined((yield* Effect.promise(() => configured(port))).error)
    }), 30_000)
})

describe("a configuration that is edited while clients call", () => {
  it.live(`${Edits} good edits: each takes effect, and no call fails`, () =>
    seeded((random) =>
      Effect.gen(function*() {
        const gateway = yield* fleet
        for (let number = 1; number <= Edits; number++) {
          const made = edit(random, gateway.content(), gateway.material)
          // Now and then the listener moves at the same time.
          const port = number % 17 === 0 ? yield* Effect.promise(freePort) : gateway.port()
          const content = { ...made.content, gateway: { ...made.content.gateway, port } }
          const { revision } = yield* Effect.promise(() => configured(gateway.port()))
          const what = `edit ${number}: ${made.words}`
          write(random, gateway.file, render(random, content))
          yield* until(
            Effect.promise(() => configured(port).then((now) => now.revision > revision, () => false)),
            Ceiling
          ).pipe(Effect.orDie)
          gateway.moved(port)
          const now = yield* Effect.promise(() => configured(port))
          assert.deepStrictEqual([now.revision, now.error], [revision + 1, undefined], what)
          const { shows } = made
          if (shows !== undefined) {
            yield* until(Effect.promise(() => shows(gateway.view)), Ceiling).pipe(
              Effect.catchCause(() => Effect.die(new Error(`${what} doesn't show\n${gateway.running.log()}`)))
            )
          }
          const told = gateway.running.log().trimEnd().split("\n").findLast((line) => line.includes("reloaded")) ?? ""
          const moves = port !== gateway.content().gateway.port
          if (moves) assert.include(told, `gateway.port ${port}`)
          if (!moves || made.words !== "nothing changed") assert.include(told, made.words)
          assert.deepStrictEqual(gateway.failures, [], what)
          gateway.written(content)
        }
        const before = gateway.calls()
        yield* until(Effect.sync(() => gateway.calls() > before + 5 * Callers), Ceiling)
        assert.deepStrictEqual(gateway.failures, [])
        yield* gateway.untouched
      })
    ), 120_000)

  it.live(
    `${Edits} broken edits: none changes anything, and each is named with its line`,
    () =>
      seeded((random) =>
        Effect.gen(function*() {
          const gateway = yield* fleet
          const tools = yield* Effect.promise(gateway.view.tools)
          let { loadedAt, revision } = yield* Effect.promise(() => configured(gateway.port()))
          let at: unknown
          for (let number = 1; number <= Edits; number++) {
            const { line, text } = broken(random, gateway.content())
            const logged = gateway.running.log().length
            write(random, gateway.file, text)
            const state = Effect.promise(() => configured(gateway.port()))
            yield* until(Effect.map(state, ({ error }) => error !== undefined && error.at !== at), Ceiling)
            const now = yield* state
            const what = `broken edit ${number}, line ${line} of\n${text}\n${JSON.stringify(now)}`
            assert.strictEqual(now.error?.mistakes[0]?.line, line, what)
            assert.deepStrictEqual([now.revision, now.loadedAt], [revision, loadedAt], what)
            assert.include(gateway.running.log().slice(logged), `portolan.yaml:${line}:`, what)
            assert.deepStrictEqual(yield* Effect.promise(gateway.view.tools), tools, what)
            at = now.error?.at
            if (random() < 0.3) {
              write(random, gateway.file, render(random, gateway.content()))
              yield* until(Effect.map(state, ({ error }) => error === undefined), Ceiling)
              ;({ loadedAt, revision } = yield* state)
            }
            assert.deepStrictEqual(gateway.failures, [], what)
          }
          yield* gateway.untouched
        })
      ),
    120_000
  )
})
