/**
 * The client that the conformance suite judges: `node client.ts [handshake|stateless] <url of its server>` runs the gateway
 * in front of that server, and calls through it, in the era of the revision if none is given. Where the server wants a token, somebody logs in first, as with `portolan login`.
 */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import * as Authorization from "@portolan/mcp/upstream/Authorization"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { z } from "zod"

const server = process.argv.at(-1) ?? ""
const scenario = process.env["MCP_CONFORMANCE_SCENARIO"] ?? ""
const revised = process.env["MCP_CONFORMANCE_PROTOCOL_VERSION"] === "2026-07-28" ? "stateless" : "handshake"
const era = process.argv.length > 3 ? process.argv[2] : revised

/** What some scenarios tell their client. */
const context = z.object({
  client_id: z.string().optional(),
  client_secret: z.string().optional(),
  toolCalls: z.array(z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) })).default([])
}).parse(JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}"))

const folder = mkdtempSync(join(tmpdir(), "portolan-client-"))

/** The document that the suite expects a client to name, where it may name one. */
const clientDocument = "https://conformance-test.local/client-metadata.json"

const clientId = context.client_id ?? (scenario === "auth/basic-cimd" ? clientDocument : undefined)
const clientSecret = context.client_secret === undefined ? {} : { clientSecret: context.client_secret }

const person = {
  type: "authorization-code" as const,
  store: join(folder, "token.json"),
  ...(clientId === undefined ? {} : { clientId }),
  ...clientSecret
}

const auth = scenario === "auth/client-credentials-basic"
  ? { type: "client-credentials", clientId, ...clientSecret }
  : person

/** Somebody opens the address in a browser, and agrees. */
const agree = (address: URL) =>
  Effect.promise(async () => {
    const answer = await fetch(address, { redirect: "manual" })
    await fetch(answer.headers.get("location") ?? "")
  })

let scope: string | undefined

/** Somebody logs in, with one scope more where the server wants one. */
const login = (more?: string) => {
  if (more !== undefined) scope = `${scope ?? granted()} ${more}`.trim()
  return Effect.runPromise(Authorization.login({
    url: server,
    auth: { ...person, ...(scope === undefined ? {} : { scope }) },
    onRedirect: agree,
    timeout: "10 seconds"
  }))
}

/** The scope of the token that is stored. */
const granted = (): string =>
  z.object({ scope: z.string().default("") }).parse(JSON.parse(readFileSync(person.store, "utf8"))).scope

/** Somebody does what the gateway says is to be done, and tries again; three times in all. */
const persistent = async <A>(attempt: () => Promise<A>, left = 2): Promise<A> => {
  try {
    return await attempt()
  } catch (error) {
    const advice = /(?:lacks the scope "([^"]*)".*)?run portolan login/.exec(String(error))
    if (left === 0 || advice === null) throw error
    await login(advice[1])
    return persistent(attempt, left - 1)
  }
}

/** Runs the gateway; gives its URL. */
const gateway = (): Promise<{ readonly url: URL; readonly stop: () => Promise<void> }> => {
  const entry = { type: "http", url: server, ...(scenario.startsWith("auth/") ? { auth } : {}) }
  writeFileSync(
    join(folder, "portolan.json"),
    JSON.stringify({ gateway: { naming: "none" }, mcpServers: { upstream: entry } })
  )
  const bin = fileURLToPath(new URL("../../bin/portolan.js", import.meta.url))
  // It keeps what is compiled for it itself, apart: V8 takes only what was compiled under the same settings.
  const { NODE_COMPILE_CACHE: _, ...env } = process.env
  const child = spawn(process.execPath, [bin, "up", "--json", "--port", "0"], {
    cwd: folder,
    env,
    stdio: ["ignore", "pipe", "inherit"]
  })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  process.once("exit", () => child.kill("SIGKILL"))
  const stop = () => {
    child.kill("SIGTERM")
    return ended
  }
  return new Promise((resolve, reject) => {
    child.once("exit", () => reject(new Error("The gateway ended")))
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      if (!text.includes("\n")) return
      console.log(text)
      resolve({ url: new URL(z.object({ mcp: z.string() }).parse(JSON.parse(text)).mcp), stop })
    })
  })
}

const connect = async (url: URL): Promise<Client> => {
  const client = new Client({ name: "conformance", version: "1.0.0" }, {
    versionNegotiation: { mode: era === "stateless" ? "auto" : "legacy" },
    capabilities: { elicitation: { form: { applyDefaults: true } } }
  })
  // Empty where there are defaults: the SDK fills them in.
  client.setRequestHandler("elicitation/create", () => ({
    action: "accept",
    content: scenario === "sep-2322-client-request-state" ? { confirmed: true } : {}
  }))
  await client.connect(new StreamableHTTPClientTransport(url))
  return client
}

/** Arguments of the tools that need some. */
const particular: Readonly<Record<string, Record<string, unknown>>> = { add_numbers: { a: 5, b: 3 } }

/** Lists everything, and uses all of it. */
const use = async (client: Client): Promise<void> => {
  const { tools } = await client.listTools()
  const focal = tools.find(({ name }) => name === "json_schema_2020_12_tool")
  if (focal !== undefined) {
    await client.callTool({ name: "json_schema_echo", arguments: { schema: focal.inputSchema } })
  }
  for (const call of context.toolCalls) await client.callTool(call)
  for (const { name } of context.toolCalls.length > 0 || focal !== undefined ? [] : tools) {
    await persistent(() => client.callTool({ name, arguments: particular[name] ?? {} }))
  }
  const { prompts, resources } = client.getServerCapabilities() ?? {}
  if (resources !== undefined) {
    for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri })
  }
  if (prompts !== undefined) {
    for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name })
  }
}

/** Fails as long as the gateway says that a server has a problem. */
const check = async (url: URL) => {
  const answer = await fetch(new URL("/api/v1/status", url))
  const { problems } = z.object({ problems: z.array(z.object({ reason: z.string() })) }).parse(await answer.json())
  if (problems.length > 0) throw new Error(problems.map(({ reason }) => reason).join("; "))
}

const run = async () => {
  if (scenario.startsWith("auth/") && auth === person) await login()
  const { stop, url } = await gateway()
  try {
    await persistent(() => check(url))
    const client = await connect(url)
    await use(client)
    await client.close()
  } finally {
    await stop()
  }
}

await run().finally(() => rmSync(folder, { recursive: true, force: true }))
process.exit(0)
