/**
 * Clients that are no streamable HTTP: on standard streams, and over HTTP+SSE.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Modern from "@modelcontextprotocol/client"
import { StdioClientTransport as ModernStdio } from "@modelcontextprotocol/client/stdio"
import { Client as Classic } from "@modelcontextprotocol/sdk/client/index.js"
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js"
import { StdioClientTransport as ClassicStdio } from "@modelcontextprotocol/sdk/client/stdio.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import { request } from "node:https"
import { TLSSocket } from "node:tls"
import { fileURLToPath } from "node:url"
import { generate } from "selfsigned"
import { gateway } from "./fleet.ts"
import { directory, isAlive, portolan, until } from "./process.ts"
import { type Scripted, scripted } from "./scriptedServer.ts"

const bin = fileURLToPath(new URL("../bin/portolan.js", import.meta.url))

/** What the matrix asks of a client. */
interface Peer {
  readonly tools: () => Promise<ReadonlyArray<string>>
  readonly call: (
    name: string,
    options?: { readonly signal?: AbortSignal; readonly onProgress?: (value: number) => void }
  ) => Promise<unknown>
  readonly notices: () => number
}

const info = { name: "portolan-test", version: "1.0.0" }

const classic = (transport: Transport): Effect.Effect<Peer, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        let notices = 0
        const client = new Classic(info)
        client.setNotificationHandler(ToolListChangedNotificationSchema, () => void notices++)
        await client.connect(transport)
        return { client, notices: () => notices }
      }),
      ({ client }) => Effect.promise(() => client.close())
    ),
    ({ client, notices }) => ({
      notices,
      tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
      call: async (name, { onProgress, signal } = {}) =>
        (await client.callTool({ name, arguments: {} }, undefined, {
          ...(signal === undefined ? {} : { signal }),
          ...(onProgress === undefined ? {} : { onprogress: ({ progress }) => onProgress(progress) })
        })).content
    })
  )

const modern = (transport: ModernStdio, mode: "legacy" | "auto"): Effect.Effect<Peer, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        let notices = 0
        const client = new Modern.Client(info, {
          versionNegotiation: { mode },
          listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => void notices++ } }
        })
        await client.connect(transport)
        return { client, notices: () => notices }
      }),
      ({ client }) => Effect.promise(() => client.close())
    ),
    ({ client, notices }) => ({
      notices,
      tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
      call: async (name, { onProgress, signal } = {}) =>
        (await client.callTool({ name, arguments: {} }, {
          ...(signal === undefined ? {} : { signal }),
          ...(onProgress === undefined ? {} : { onprogress: ({ progress }) => onProgress(progress) })
        })).content
    })
  )

/** List, call, progress, cancel, list-changed. */
const matrix = (peer: Peer, server: Scripted) =>
  Effect.gen(function*() {
    const tools = yield* Effect.promise(() => peer.tools())
    assert.includeMembers([...tools], ["svc__echo", "svc__steps", "svc__wait"])
    assert.deepStrictEqual(yield* Effect.promise(() => peer.call("svc__echo")), [{ type: "text", text: "echo" }])

    const heard: Array<number> = []
    const release = server.hold()
    yield* Effect.promise(() =>
      peer.call("svc__steps", {
        onProgress: (value) => {
          heard.push(value)
          if (value === 3) release()
        }
      })
    )
    assert.deepStrictEqual(heard, [1, 2, 3])

    const controller = new AbortController()
    const { cancelled, waiting } = server.figures()
    const call = peer.call("svc__wait", { signal: controller.signal }).then(() => "answered", () => "cancelled")
    yield* until(Effect.sync(() => server.figures().waiting === waiting + 1), 10_000)
    controller.abort()
    assert.strictEqual(yield* Effect.promise(() => call), "cancelled")
    yield* until(Effect.sync(() => server.figures().cancelled === cancelled + 1), 10_000)

    const before = peer.notices()
    yield* Effect.promise(() => server.add("late"))
    yield* until(Effect.sync(() => peer.notices() > before), 10_000)
    yield* until(Effect.promise(async () => (await peer.tools()).includes("svc__late")), 10_000)
  })

/** A configuration file in a directory of its own, in front of a scripted server. */
const configured = (more: object = {}) =>
  Effect.gen(function*() {
    const server = yield* scripted
    const configuration = { ...more, mcpServers: { svc: { url: server.url } } }
    const cwd = yield* directory({ "portolan.json": JSON.stringify(configuration) })
    return { server, cwd, file: `${cwd}/portolan.json`, configuration }
  })

const command = (file: string) => ({
  command: process.execPath,
  args: [bin, "up", "--stdio", "--config", file],
  stderr: "ignore" as const
})

describe("standard streams", () => {
  it.live("serve @modelcontextprotocol/sdk 1.x", () =>
    Effect.gen(function*() {
      const { file, server } = yield* configured()
      yield* matrix(yield* classic(new ClassicStdio(command(file))), server)
    }), 60_000)

  for (const mode of ["legacy", "auto"] as const) {
    it.live(`serve @modelcontextprotocol/client 2.x, ${mode}`, () =>
      Effect.gen(function*() {
        const { file, server } = yield* configured()
        yield* matrix(yield* modern(new ModernStdio(command(file)), mode), server)
      }), 60_000)
  }
})

describe("HTTP+SSE", () => {
  it.live("serves @modelcontextprotocol/sdk 1.x where it is switched on", () =>
    Effect.gen(function*() {
      const { configuration, server } = yield* configured({ gateway: { sse: true } })
      const { url } = yield* gateway(configuration)
      yield* matrix(yield* classic(new SSEClientTransport(new URL("/sse", url))), server)
    }), 60_000)

  it.live("isn't there by default", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway({})
      const answer = yield* Effect.promise(() => fetch(`${url}/sse`))
      assert.strictEqual(answer.status, 404)
    }), 60_000)
})

const initialize = {
  jsonrpc: "2.0",
  id: "i",
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: info }
}
const call = (id: unknown, name: string) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name } })
const lines = (...messages: ReadonlyArray<object>) => messages.map((each) => `${JSON.stringify(each)}\n`).join("")

interface Line {
  readonly id?: unknown
  readonly method?: string
  readonly result?: { readonly content?: unknown }
}
const linesOf = (text: string): ReadonlyArray<Line> =>
  text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))

/** `portolan up --stdio` under our hands. */
const raw = (args: ReadonlyArray<string>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(process.execPath, [bin, "up", "--stdio", ...args], { stdio: ["pipe", "pipe", "pipe"] })
        const last = () => child.kill("SIGKILL")
        process.once("exit", last)
        child.once("exit", () => process.off("exit", last))
        child.stdin.on("error", () => {})
        return child
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      let out = ""
      let err = ""
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => out += chunk)
      child.stderr.setEncoding("utf8").on("data", (chunk: string) => err += chunk)
      const exited = new Promise<number | null>((resolve) => child.once("close", resolve))
      const reply = (id: unknown) =>
        until(
          Effect.sync(() => linesOf(out.slice(0, out.lastIndexOf("\n") + 1)).some((line) => line.id === id)),
          15_000
        )
      return { child, out: () => out, err: () => err, reply, exited: Effect.promise(() => exited) }
    }
  )

describe("portolan up --stdio", () => {
  it.live(
    "answers what it was asked and ends with its input; only the protocol is on its output",
    () =>
      Effect.gen(function*() {
        const { file } = yield* configured()
        const ended = yield* portolan(["up", "--stdio", "--config", file], {
          input: lines(initialize, call(1, "svc__echo"), call(2, "svc__echo")) + "garbage\n"
        })
        assert.strictEqual(ended.code, 0, ended.stderr)
        // Beside the replies there may be notices of servers that were slow to connect.
        const replies = linesOf(ended.stdout).filter((line) => line.method === undefined)
        assert.deepStrictEqual(replies.map((line) => String(line.id)).toSorted(), ["1", "2", "i", "null"])
        assert.match(ended.stderr, /on standard input and output/)
      }),
    60_000
  )

  it.live("lets calls finish at SIGTERM", () =>
    Effect.gen(function*() {
      const { file, server } = yield* configured()
      const { child, err, exited, out, reply } = yield* raw(["--config", file])
      child.stdin.write(lines(initialize))
      yield* reply("i")
      const release = server.hold()
      child.stdin.write(lines(call(1, "svc__steps")))
      yield* until(Effect.sync(() => server.figures().held === 1), 15_000)
      child.kill("SIGTERM")
      // The signal and what is written travel on different ways.
      let id = 1
      const refused = Effect.suspend(() => {
        child.stdin.write(lines(call(++id, "svc__echo")))
        return Effect.map(reply(id), () => out().includes("shutting down"))
      })
      yield* until(refused, 15_000)
      release()
      assert.strictEqual(yield* exited, 0, err())
      assert.isDefined(linesOf(out()).find((line) => line.id === 1)?.result?.content)
    }), 60_000)

  it.live("ends with its client, also in the middle of a call", () =>
    Effect.gen(function*() {
      const { file, server } = yield* configured()
      const { child, exited, reply } = yield* raw(["--config", file])
      child.stdin.write(lines(initialize))
      yield* reply("i")
      child.stdin.write(lines(call(1, "svc__wait")))
      yield* until(Effect.sync(() => server.figures().waiting === 1), 15_000)
      // As where the client was killed: nobody reads, and nothing comes.
      child.stdout.destroy()
      child.stdin.end(lines(call(2, "svc__echo")))
      assert.strictEqual(yield* exited, 0)
      assert.isFalse(isAlive(child.pid ?? 0))
      yield* until(Effect.sync(() => server.figures().cancelled === 1), 10_000)
    }), 60_000)

  it.live("listens too where a port is named", () =>
    Effect.gen(function*() {
      const { file } = yield* configured()
      const { child, err, exited, reply } = yield* raw(["--config", file, "--port", "0", "--json"])
      child.stdin.write(lines(initialize))
      yield* reply("i")
      yield* until(Effect.sync(() => err().includes("\n")), 15_000)
      const { mcp }: { readonly mcp: string } = JSON.parse(err().split("\n")[0] ?? "")
      const answer = yield* Effect.promise(() => fetch(new URL("/healthz", mcp)))
      assert.strictEqual(answer.status, 200)
      child.stdin.end()
      assert.strictEqual(yield* exited, 0)
    }), 60_000)

  // Its memory is read from /proc.
  it.live.skipIf(process.platform !== "linux")(
    "holds bounded memory for a client that writes and never reads",
    () =>
      Effect.gen(function*() {
        const { file } = yield* configured({ gateway: { shutdownTimeout: "500ms" } })
        const { child, reply } = yield* raw(["--config", file])
        child.stdin.write(lines(initialize))
        yield* reply("i")
        child.stdout.pause()
        const batch = Array.from({ length: 1_000 }, (_, id) => ({ jsonrpc: "2.0", id, method: "tools/list" }))
        const text = lines(...batch)
        // Until it takes no more: a pipe that isn't read stays full.
        yield* Effect.callback<void>((resume) => {
          let quiet: NodeJS.Timeout
          const wait = () => {
            clearTimeout(quiet)
            quiet = setTimeout(() => resume(Effect.void), 2_000)
          }
          const push = () => {
            wait()
            while (child.stdin.write(text)) wait()
            child.stdin.once("drain", push)
          }
          push()
        })
        const pages = Number(Fs.readFileSync(`/proc/${child.pid}/statm`, "utf8").split(" ")[1])
        assert.isBelow(pages * 4096, 400 * 1024 * 1024)
        // It isn't stuck in a write: it ends when it is told to, though its replies are never read.
        child.kill("SIGTERM")
        const code = new Promise<number | null>((resolve) => child.once("exit", resolve))
        assert.strictEqual(yield* Effect.promise(() => code), 0)
      }),
    60_000
  )
})

/** Asks over TLS, trusting this authority; gives the status, the body and the name in the certificate. */
const post = (url: string, ca: string, body: string) =>
  Effect.callback<{ readonly status: number | undefined; readonly text: string; readonly name: string }, Error>(
    (resume) => {
      const outgoing = request(url, {
        ca,
        agent: false,
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json, text/event-stream" }
      }, (response) => {
        const { socket } = response
        const { subject } = socket instanceof TLSSocket ? socket.getPeerCertificate() : {}
        let text = ""
        response.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        response.on(
          "end",
          () => resume(Effect.succeed({ status: response.statusCode, text, name: String(subject?.CN) }))
        )
      })
      outgoing.on("error", (error) => resume(Effect.fail(error)))
      outgoing.end(body)
    }
  )

const certificate = (name: string, ca?: { readonly key: string; readonly cert: string }) =>
  Effect.promise(() =>
    generate([{ name: "commonName", value: name }], {
      keyType: "ec",
      algorithm: "sha256",
      ...(ca === undefined ? {} : { ca }),
      extensions: ca === undefined
        ? [{ name: "basicConstraints", cA: true }, { name: "keyUsage", keyCertSign: true }]
        : [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }]
    })
  )

describe("TLS", () => {
  it.live(
    "is served with the files beside the configuration, and with new ones as they come",
    () =>
      Effect.gen(function*() {
        const authority = yield* certificate("CA")
        const ca = { key: authority.private, cert: authority.cert }
        const [one, two] = [yield* certificate("one", ca), yield* certificate("two", ca)]
        const { cwd, url } = yield* gateway(
          { gateway: { tls: { cert: "./cert.pem", key: "./key.pem" } } },
          { "cert.pem": one.cert, "key.pem": one.private }
        )
        assert.match(url, /^https:/)
        const first = yield* post(`${url}/mcp`, ca.cert, JSON.stringify(initialize))
        assert.deepStrictEqual([first.status, first.name], [200, "one"])
        assert.include(first.text, "protocolVersion")
        Fs.writeFileSync(`${cwd}/cert.pem`, two.cert)
        Fs.writeFileSync(`${cwd}/key.pem`, two.private)
        yield* until(
          Effect.map(post(`${url}/mcp`, ca.cert, JSON.stringify(initialize)), ({ name }) => name === "two"),
          15_000
        )
      }),
    60_000
  )

  it.live("ends with one line where the files are no good", () =>
    Effect.gen(function*() {
      const authority = yield* certificate("CA")
      const other = yield* certificate("other")
      const cwd = yield* directory({
        "cert.pem": authority.cert,
        "key.pem": other.private,
        "portolan.yaml": "gateway:\n  port: 0\n  tls: { cert: ./cert.pem, key: ./key.pem }\n"
      })
      const mismatch = yield* portolan(["up"], { cwd })
      assert.deepStrictEqual([mismatch.code, mismatch.stderr.trim().split("\n").length], [1, 1], mismatch.stderr)
      assert.match(mismatch.stderr, /gateway\.tls\.key: .*key\.pem is not the key of .*cert\.pem/)
      Fs.rmSync(`${cwd}/cert.pem`)
      const missing = yield* portolan(["up"], { cwd })
      assert.strictEqual(missing.code, 2)
      assert.match(missing.stderr, /portolan\.yaml:3:16: gateway\.tls\.cert: can't read .*cert\.pem/)
    }), 60_000)
})
