/**
 * The client that the conformance suite judges: the gateway in front of the suite's server, and somebody who calls through
 * it. Where the server wants a token, somebody logs in first, as with `portolan login`.
 */
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Gateway from "@portolan/gateway/Gateway"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import * as Authorization from "@portolan/mcp/upstream/Authorization"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { z } from "zod"
import { adapters } from "../../src/adapters.ts"
import * as Up from "../../src/up.ts"
import { directory } from "../process.ts"

/** A scenario, as the suite tells its client of it. */
export const Task = z.object({
  /** URL of the suite's server. */
  server: z.string(),
  scenario: z.string(),
  context: z.object({
    client_id: z.string().optional(),
    client_secret: z.string().optional(),
    toolCalls: z.array(z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) })).default([])
  })
})
export type Task = z.infer<typeof Task>

/** How the gateway is called. */
export type Era = "handshake" | "stateless"

/** The document that the suite expects a client to name, where it may name one. */
const clientDocument = "https://conformance-test.local/client-metadata.json"

/** Who the client is to the authorisation server, and how it comes by a token: none where the scenario isn't about that. */
const identity = ({ context, scenario }: Task, folder: string) => {
  const clientId = context.client_id ?? (scenario === "auth/basic-cimd" ? clientDocument : undefined)
  const client = {
    ...(clientId === undefined ? {} : { clientId }),
    ...(context.client_secret === undefined ? {} : { clientSecret: context.client_secret })
  }
  const person = { type: "authorization-code" as const, store: join(folder, "token.json"), ...client }
  if (!scenario.startsWith("auth/")) return { person, auth: undefined }
  return {
    person,
    auth: scenario === "auth/client-credentials-basic" ? { type: "client-credentials", ...client } : person
  }
}

/** Somebody opens the address in a browser, and agrees. */
const agree = (address: URL) =>
  Effect.promise(async () => {
    const answer = await fetch(address, { redirect: "manual" })
    await fetch(answer.headers.get("location") ?? "")
  })

/** The scope of the token that is stored. */
const granted = (store: string): string =>
  z.object({ scope: z.string().default("") }).parse(JSON.parse(readFileSync(store, "utf8"))).scope

/** Logs somebody in, with one scope more where the server wants one. */
const logins = (url: string, person: Authorization.LoginOptions["auth"] & { readonly store: string }) => {
  let scope: string | undefined
  return async (more?: string): Promise<void> => {
    if (more !== undefined) scope = `${scope ?? granted(person.store)} ${more}`.trim()
    await Effect.runPromise(Authorization.login({
      url,
      auth: { ...person, ...(scope === undefined ? {} : { scope }) },
      onRedirect: agree,
      timeout: "10 seconds"
    }))
  }
}

type Login = ReturnType<typeof logins>

/** Somebody does what the gateway says is to be done, and tries again; three times in all. */
const persistent = async <A>(login: Login, attempt: () => Promise<A>, left = 2): Promise<A> => {
  try {
    return await attempt()
  } catch (error) {
    const advice = /(?:lacks the scope "([^"]*)".*)?run portolan login/.exec(String(error))
    if (left === 0 || advice === null) throw error
    await login(advice[1])
    return persistent(login, attempt, left - 1)
  }
}

/** Runs the gateway in front of the server; gives its URL. */
const gateway = Effect.fnUntraced(function*(server: string, auth: object | undefined, directory: string) {
  const entry = { type: "http", url: server, ...(auth === undefined ? {} : { auth }) }
  const text = JSON.stringify({ gateway: { naming: "none" }, mcpServers: { upstream: entry } })
  const configuration = yield* Effect.fromResult(
    Configuration.parse(text, { adapters, directory, flags: { port: 0 } })
  )
  const services = yield* Layer.build(Up.layer(configuration))
  yield* Effect.timeoutOption(Context.get(services, ToolCatalog).settled, "3 seconds")
  return Context.get(services, Gateway.Gateway).url
})

/** Fails as long as the gateway says that a server has a problem. */
const check = async (url: string): Promise<void> => {
  const answer = await fetch(`${url}/api/v1/status`)
  const { problems } = z.object({ problems: z.array(z.object({ reason: z.string() })) }).parse(await answer.json())
  if (problems.length > 0) throw new Error(problems.map(({ reason }) => reason).join("; "))
}

const connect = async (url: string, era: Era, scenario: string): Promise<Client> => {
  const client = new Client({ name: "conformance", version: "1.0.0" }, {
    versionNegotiation: { mode: era === "stateless" ? "auto" : "legacy" },
    capabilities: { elicitation: { form: { applyDefaults: true } } }
  })
  // Empty where there are defaults: the SDK fills them in.
  client.setRequestHandler("elicitation/create", () => ({
    action: "accept",
    content: scenario === "sep-2322-client-request-state" ? { confirmed: true } : {}
  }))
  await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", url)))
  return client
}

/** Arguments of the tools that need some. */
const particular: Readonly<Record<string, Record<string, unknown>>> = { add_numbers: { a: 5, b: 3 } }

/** Lists everything, and uses all of it. */
const use = async (client: Client, { toolCalls }: Task["context"], login: Login): Promise<void> => {
  const { tools } = await client.listTools()
  const focal = tools.find(({ name }) => name === "json_schema_2020_12_tool")
  if (focal !== undefined) {
    await client.callTool({ name: "json_schema_echo", arguments: { schema: focal.inputSchema } })
  }
  for (const call of toolCalls) await client.callTool(call)
  for (const { name } of toolCalls.length > 0 || focal !== undefined ? [] : tools) {
    await persistent(login, () => client.callTool({ name, arguments: particular[name] ?? {} }))
  }
  const { prompts, resources } = client.getServerCapabilities() ?? {}
  if (resources !== undefined) {
    for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri })
  }
  if (prompts !== undefined) {
    for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name })
  }
}

/** Does what a scenario asks of its client, which calls the gateway in this era. */
export const perform = Effect.fnUntraced(function*(
  task: Task,
  era: Era
): Effect.fn.Return<void, unknown, Scope.Scope> {
  const folder = yield* directory()
  const { auth, person } = identity(task, folder)
  const login = logins(task.server, person)
  if (auth === person) yield* Effect.tryPromise(() => login())
  const url = yield* gateway(task.server, auth, folder)
  yield* Effect.tryPromise(async () => {
    await persistent(login, () => check(url))
    const client = await connect(url, era, task.scenario)
    await use(client, task.context, login)
    await client.close()
  })
})
