/**
 * The commands.
 */
import type { StatusView } from "@portolan/gateway/Views"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { defaultFile, defaultUrl } from "./defaults.ts"
import { failed, misconfigured, wrong } from "./Failure.ts"
import { age, counted, paint, type Style, table } from "./table.ts"
import { version } from "./version.ts"

const root = Command.make("portolan").pipe(
  Command.withSharedFlags({
    url: Flag.String("url").pipe(
      Flag.withDescription("Address of the gateway that is asked"),
      Flag.withFallbackConfig(Config.String("PORTOLAN_URL")),
      Flag.withDefault(defaultUrl)
    ),
    json: Flag.Boolean("json").pipe(Flag.withDescription("Print JSON"), Flag.withDefault(false))
  }),
  Command.withDescription("One MCP endpoint in front of every announced server")
)

const print = (text: string) => Effect.sync(() => console.log(text))
const printJson = (value: unknown) => print(JSON.stringify(value, null, 2))

const config = Flag.String("config").pipe(
  Flag.withAlias("c"),
  Flag.withDescription("Configuration file; ./portolan.yaml or ./portolan.json by default"),
  Flag.optional
)

const up = Command.make(
  "up",
  {
    config,
    host: Flag.String("host").pipe(Flag.withDescription("Address to listen on"), Flag.optional),
    port: Flag.Int("port").pipe(
      Flag.withAlias("p"),
      Flag.withDescription("Port to listen on; 0 takes a free one"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function*({ config, host, port }) {
    const { json } = yield* root
    if (Option.isSome(port) && (port.value < 0 || port.value > 65_535)) {
      return yield* wrong(`--port: expected a number from 0 to 65535, got ${port.value}`)
    }
    const module = yield* Effect.promise(() => import("./up.ts"))
    yield* module.up({
      config: Option.getOrUndefined(config),
      host: Option.getOrUndefined(host),
      port: Option.getOrUndefined(port),
      json
    })
  })
).pipe(Command.withDescription("Serve in the foreground until Ctrl-C"))

/** The modules that the commands share which ask a running gateway. */
const asking = Effect.gen(function*() {
  const { json, url } = yield* root
  const client = yield* Effect.promise(() => import("./client.ts"))
  const views = yield* Effect.promise(() => import("@portolan/gateway/Views"))
  return { json, url, client, views }
})

const stateStyle: Record<string, Style> = {
  connected: "green",
  connecting: "yellow",
  stale: "red",
  healthy: "green",
  degraded: "yellow",
  unhealthy: "red",
  draining: "yellow",
  down: "red"
}

const noteOf = (source: StatusView["sources"][number]): string => {
  const notes: Array<string> = []
  if (source.state !== "connected") {
    notes.push(source.error === undefined ? "connecting" : `reconnecting (${source.error})`)
  } else if (source.error !== undefined) notes.push(source.error)
  if (source.held > 0) notes.push(`${source.held} removals held back`)
  const [first] = source.rejected
  if (first !== undefined) notes.push(`${source.rejected.length} rejected: "${first.id}" ${first.reason}`)
  return notes.join("; ")
}

const status = Command.make(
  "status",
  {},
  Effect.fnUntraced(function*() {
    const { client, json, url, views } = yield* asking
    const found = yield* client.get(url, "/api/v1/status", views.StatusView)
    if (json) return yield* printJson(found)
    const now = Date.now()
    yield* print(table<StatusView["sources"][number]>([
      { title: "SOURCE", text: (source) => source.name },
      { title: "TYPE", text: (source) => source.type },
      { title: "STATE", text: (source) => source.state, style: (source) => stateStyle[source.state] },
      { title: "INSTANCES", text: (source) => String(source.instances), align: "right" },
      { title: "AGE", text: (source) => source.lastHeard === undefined ? "" : age(now - Date.parse(source.lastHeard)) },
      { title: "NOTE", text: noteOf }
    ], found.sources))
    yield* print(
      `\n${
        (["service", "instance", "tool", "resource", "prompt"] as const)
          .map((what) => counted(found[`${what}s`], what))
          .join(", ")
      }`
    )
    if (found.problems.length > 0) {
      yield* print(`\n${
        table<StatusView["problems"][number]>([
          { title: "PROBLEM", text: ({ instance }) => instance, style: () => "yellow" },
          { title: "SERVICE", text: ({ service }) => service },
          { title: "REASON", text: ({ reason }) => reason }
        ], found.problems)
      }`)
    }
    for (const { name, reason } of found.hidden) yield* print(paint("dim", `${name} is not offered: ${reason}`))
  })
).pipe(Command.withDescription("Show the registries, and what is wrong"))

const services = Command.make(
  "services",
  {},
  Effect.fnUntraced(function*() {
    const { client, json, url, views } = yield* asking
    const found = yield* client.list(url, "/api/v1/services", views.ServiceView)
    if (json) return yield* printJson(found)
    yield* print(table<typeof views.ServiceView.Type>([
      { title: "SERVICE", text: (service) => service.name },
      { title: "VERSION", text: (service) => service.versions.join(", ") },
      { title: "INSTANCES", text: (service) => String(service.instances), align: "right" },
      {
        title: "AVAILABLE",
        text: (service) => String(service.available),
        align: "right",
        style: (service) => service.available === 0 ? "red" : service.available < service.instances ? "yellow" : "green"
      },
      { title: "TOOLS", text: (service) => String(service.tools), align: "right" },
      { title: "SOURCE", text: (service) => service.sources.join(", ") },
      { title: "CAPABILITIES", text: (service) => service.capabilities.join(", ") }
    ], found))
  })
).pipe(Command.withDescription("List the services"))

const instances = Command.make(
  "instances",
  {
    query: Argument.String("query").pipe(
      Argument.withDescription("Conditions such as service=weather"),
      Argument.variadic()
    )
  },
  Effect.fnUntraced(function*({ query }) {
    const { client, json, url, views } = yield* asking
    const Query = yield* Effect.promise(() => import("@portolan/core/Query"))
    const parsed = Query.parse(query.join(" "))
    if (Result.isFailure(parsed)) return yield* wrong(parsed.failure.message)
    const parameters = Query.toUrlParameters(parsed.success).toString()
    const found = yield* client.list(
      url,
      `/api/v1/instances${parameters === "" ? "" : `?${parameters}`}`,
      views.InstanceView
    )
    if (json) return yield* printJson(found)
    const now = Date.now()
    yield* print(table<typeof views.InstanceView.Type>([
      { title: "INSTANCE", text: (instance) => instance.id },
      { title: "SERVICE", text: (instance) => instance.service },
      { title: "VERSION", text: (instance) => String(instance["version"] ?? "") },
      { title: "HEALTH", text: ({ health }) => health.status, style: ({ health }) => stateStyle[health.status] },
      { title: "SCORE", text: ({ health }) => health.score.toFixed(2), align: "right" },
      { title: "FOR", text: ({ health }) => age(now - Date.parse(health.changedAt)) },
      {
        title: "SOURCE",
        text: (instance) => [instance.source, ...instance.alsoIn].join(", ") + (instance.stale ? " (stale)" : "")
      },
      {
        title: "NOTE",
        text: ({ health, upstream }) => upstream?.error ?? (health.status === "healthy" ? "" : health.reason)
      }
    ], found))
  })
).pipe(Command.withDescription("List the instances, all or those that meet the conditions"))

const tools = Command.make(
  "tools",
  { service: Flag.String("service").pipe(Flag.withDescription("Only tools of this service"), Flag.optional) },
  Effect.fnUntraced(function*({ service }) {
    const { client, json, url, views } = yield* asking
    const filter = Option.match(service, { onNone: () => "", onSome: (name) => `?service=${encodeURIComponent(name)}` })
    const found = yield* client.list(url, `/api/v1/tools${filter}`, views.ToolView)
    if (json) return yield* printJson(found)
    yield* print(table<typeof views.ToolView.Type>([
      { title: "TOOL", text: (tool) => tool.name },
      { title: "INSTANCES", text: (tool) => String(tool.instances.length), align: "right" },
      { title: "HINT", text: (tool) => tool.readOnly ? "read-only" : tool.repeatable ? "repeatable" : "" },
      { title: "DESCRIPTION", text: (tool) => typeof tool["description"] === "string" ? tool["description"] : "" }
    ], found))
  })
).pipe(Command.withDescription("List the tools under the names that clients use"))

const parseArguments = (text: string): Result.Result<object, string> => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Result.succeed(value)
      : Result.fail("expected a JSON object")
  } catch (cause) {
    return Result.fail(cause instanceof Error ? cause.message : String(cause))
  }
}

const contentText = (block: unknown): string => {
  if (typeof block !== "object" || block === null || !("type" in block)) return JSON.stringify(block)
  if ("text" in block && typeof block.text === "string") return block.text
  return "mimeType" in block ? `[${String(block.type)} ${String(block.mimeType)}]` : JSON.stringify(block)
}

const call = Command.make(
  "call",
  {
    tool: Argument.String("tool").pipe(Argument.withDescription("Name as `portolan tools` shows it")),
    args: Flag.String("args").pipe(
      Flag.withAlias("a"),
      Flag.withDescription("Arguments as a JSON object"),
      Flag.withDefault("{}")
    )
  },
  Effect.fnUntraced(function*({ args, tool }) {
    const { client, json, url } = yield* asking
    const parsed = parseArguments(args)
    if (Result.isFailure(parsed)) return yield* wrong(`--args: ${parsed.failure}`)
    const result = yield* client.call(url, tool, parsed.success)
    const content = Array.isArray(result["content"]) ? result["content"].map(contentText).join("\n") : ""
    if (json) yield* printJson(result)
    else if (result["isError"] !== true) {
      yield* print(content === "" ? JSON.stringify(result["structuredContent"] ?? {}) : content)
    }
    // The tool's own error: its text is the message.
    if (result["isError"] === true) return yield* failed(json ? "" : content === "" ? `${tool} failed` : content)
  })
).pipe(Command.withDescription("Call a tool and print what it answers"))

const validate = Command.make(
  "validate",
  { config },
  Effect.fnUntraced(function*({ config }) {
    const { json } = yield* root
    const { adapters } = yield* Effect.promise(() => import("./adapters.ts"))
    const Configuration = yield* Effect.promise(() => import("@portolan/gateway/Configuration"))
    const file = Option.getOrUndefined(config) ?? defaultFile()
    if (file === undefined) return yield* wrong("no portolan.yaml here: name the file with --config")
    const result = yield* Effect.result(Configuration.load(file, { adapters }))
    if (Result.isFailure(result)) {
      if (!json) return yield* misconfigured(result.failure)
      yield* printJson({ file, valid: false, mistakes: result.failure.mistakes })
      return yield* wrong("")
    }
    const { registries, servers } = result.success
    yield* json
      ? printJson({ file, valid: true, mistakes: [] })
      : print(`${file}: no mistakes; registries: ${registries.length}, servers: ${servers.length}`)
  })
).pipe(Command.withDescription("Check a configuration file"))

const schema = Command.make(
  "schema",
  {},
  Effect.fnUntraced(function*() {
    const { adapters } = yield* Effect.promise(() => import("./adapters.ts"))
    const Configuration = yield* Effect.promise(() => import("@portolan/gateway/Configuration"))
    yield* printJson(Configuration.jsonSchema(adapters))
  })
).pipe(Command.withDescription("Print the JSON Schema of the configuration file"))

const configuration = Command.make("config").pipe(
  Command.withSubcommands([schema]),
  Command.withDescription("About the configuration file")
)

/** Runs the command that the process was started with. */
export const run = root.pipe(
  Command.withSubcommands([up, status, services, instances, tools, call, validate, configuration]),
  Command.run({ version })
)
