import type { Found, Progress, ScanOptions } from "@portolan/network-scan/Scan"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Os from "node:os"
import type { GatewayAddress } from "../client.ts"
import { ended, failed, type Failure, wrong } from "../Failure.ts"
import { untilSignal } from "../signals.ts"
import { counted, table } from "../table.ts"
import { note, progressLine } from "../terminal.ts"
import { durationFlag } from "./duration.ts"
import { listed, words } from "./record.ts"
import { registryFlag, ttlFlag } from "./register.ts"
import { asking, configFlag, otherGatewayFlags, print, printJson } from "./root.ts"

/** Whether a target is an address, a range or a network, and not a name. */
const isNumeric = (target: string): boolean => /^[\d./-]+$|:/.test(target)

const count = (name: string, description: string) =>
  Flag.Int(name).pipe(
    Flag.filter((value) => value > 0, () => "Expected a number from 1"),
    Flag.withDescription(description),
    Flag.optional
  )

/** What a person names is meant: every address that it has is asked. */
const anywhere = ["0.0.0.0/0", "::/0"]

/** What an option of a scan is called here. */
const called: Readonly<Record<string, string>> = {
  networks: "target",
  hosts: "target",
  paths: "--path",
  allowNetworks: "--allow",
  denyNetworks: "--deny",
  connectTimeout: "--timeout",
  identifyTimeout: "--identify-timeout"
}

/** Scans, and shows how far that is. A signal ends it early: what was found until then is the result. */
const scanned = (
  options: ScanOptions
): Effect.Effect<{ readonly result: Progress; readonly stopped: NodeJS.Signals | undefined }, Failure> =>
  Effect.scoped(Effect.gen(function*() {
    const { scan } = yield* Effect.promise(() => import("@portolan/network-scan/Scan"))
    const { layer } = yield* Effect.promise(() => import("@portolan/mcp/upstream/Identifying"))
    const line = yield* progressLine()
    let result: Progress = { asked: 0, total: 0, open: 0, found: [], guarded: [] }
    const scanning = Stream.runForEach(scan(options), (progress) =>
      Effect.sync(() => {
        result = progress
        line.say(
          `asked ${progress.asked} of ${counted(progress.total, "port")}, ${progress.open} open, ` +
            counted(progress.found.length, "server")
        )
      })).pipe(
        Effect.provide(layer),
        Effect.catchTag(
          "ScanError",
          ({ option, reason }) =>
            option === undefined ? failed(reason) : wrong(`${called[option] ?? `--${option}`}: ${reason}`)
        )
      )
    const stopped = yield* Effect.raceFirst(Effect.as(scanning, undefined), untilSignal())
    return { result, stopped }
  }))

const urlOf = ({ instance: { endpoint } }: Found): string => "url" in endpoint ? String(endpoint.url) : ""

const serverTable = (found: ReadonlyArray<Found>): string =>
  table<Found>([
    { title: "SERVICE", text: ({ instance }) => instance.service },
    { title: "VERSION", text: ({ identity }) => identity.version ?? "" },
    { title: "URL", text: urlOf },
    { title: "PROTOCOL", text: ({ identity }) => identity.protocolVersion, spare: true },
    {
      title: "ALSO AT",
      text: ({ also: [first = "", ...more] }) => more.length === 0 ? first : `${first} and ${more.length} more`,
      gives: true
    }
  ], found)

const told = ({ found, guarded }: Progress) =>
  Effect.gen(function*() {
    if (found.length > 0) yield* print(serverTable(found))
    for (const { reason, url } of guarded) yield* note(`${url} asks for credentials: ${reason}`)
  })

const nothingFound = ({ open, total }: Progress): string =>
  total === 0
    ? "no server: no name has an address that may be asked; check how it is written, --allow and --deny"
    : open === 0
    ? `no server: none of ${counted(total, "port")} took a connection`
    : `no server: what took a connection (${open} of ${counted(total, "port")}) doesn't speak MCP there; ` +
      "see --path, --scheme and --transport (gateways like this one are left out)"

/** Announces what was found until a signal comes. */
const announced = (
  found: ReadonlyArray<Found>,
  gateway: GatewayAddress,
  where: { readonly registry: string | undefined; readonly config: string | undefined },
  options: { readonly ttl: Duration.Duration; readonly json: boolean }
): Effect.Effect<void, Failure> =>
  Effect.scoped(Effect.gen(function*() {
    const { announcer, tell } = yield* Effect.promise(() => import("../announcing.ts"))
    const announcing = Effect.gen(function*() {
      const announce = yield* announcer(gateway, where)
      const all = yield* Effect.forEach(found, ({ instance }) => announce(instance, options.ttl))
      yield* Effect.forEach(all, (one) => tell(one, { ...options, say: console.log }), {
        concurrency: "unbounded",
        discard: true
      })
    })
    yield* Effect.raceFirst(announcing, untilSignal())
  })).pipe(Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])))

export const scan = Command.make(
  "scan",
  {
    targets: Argument.String("target").pipe(
      Argument.withDescription("Networks, ranges, addresses or names: 10.0.0.0/24, 10.0.0.5-10.0.0.20, build.internal"),
      Argument.variadic()
    ),
    ports: Flag.String("ports").pipe(
      Flag.withDescription("Ports of each address, such as 8080,3000-3010"),
      Flag.map(listed)
    ),
    path: words("path", "Paths where MCP may be, such as /mcp,/; /mcp by default"),
    scheme: Flag.Literals("scheme", ["http", "https"]).pipe(
      Flag.withDescription("Whether servers are asked over TLS; http by default"),
      Flag.withDefault("http")
    ),
    transport: Flag.Literals("transport", ["streamable-http", "sse"]).pipe(
      Flag.withDescription("Transport that is spoken; streamable-http by default"),
      Flag.withDefault("streamable-http")
    ),
    allow: words("allow", "Networks outside of which nothing is asked; what is scanned by default"),
    deny: words("deny", "Networks in which nothing is asked"),
    timeout: durationFlag("timeout", "Longest that connecting may take; 500ms by default"),
    identifyTimeout: durationFlag(
      "identify-timeout",
      "Longest that a server may take to say what it is; 3s by default"
    ),
    concurrency: count("concurrency", "Addresses asked at the same time; 64 by default"),
    rate: count("rate", "Connections begun in a second; 500 by default"),
    register: Flag.Boolean("register").pipe(
      Flag.withDescription("Announce what was found, until Ctrl-C"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    ),
    ttl: ttlFlag,
    registry: registryFlag,
    config: configFlag,
    target: otherGatewayFlags
  },
  Effect.fnUntraced(function*({ config, register, registry, target, targets, ttl, ...flags }) {
    const { gateway, json } = yield* asking(target)
    const hosts = targets.filter((target) => !isNumeric(target))
    const { result, stopped } = yield* scanned({
      networks: targets.length === 0 ? undefined : targets.filter(isNumeric),
      hosts,
      ports: flags.ports,
      paths: Option.getOrUndefined(flags.path),
      schemes: [flags.scheme],
      transports: [flags.transport],
      allowNetworks: Option.getOrElse(flags.allow, () => hosts.length === 0 ? undefined : anywhere),
      denyNetworks: Option.getOrUndefined(flags.deny),
      concurrency: Option.getOrUndefined(flags.concurrency),
      rate: Option.getOrUndefined(flags.rate),
      connectTimeout: Option.getOrUndefined(flags.timeout)?.duration,
      identifyTimeout: Option.getOrUndefined(flags.identifyTimeout)?.duration
    })
    yield* json ? printJson(result) : told(result)
    if (stopped !== undefined) {
      yield* note(`stopped after ${result.asked} of ${counted(result.total, "port")}`)
      return yield* ended(128 + Os.constants.signals[stopped])
    }
    if (!json && result.found.length + result.guarded.length === 0) yield* note(nothingFound(result))
    if (!register || result.found.length === 0) return
    const where = { registry: Option.getOrUndefined(registry), config: Option.getOrUndefined(config) }
    yield* announced(result.found, gateway, where, { ttl, json })
  })
).pipe(
  Command.withDescription("Find the MCP servers in a network that nobody announced"),
  Command.withExamples([
    { command: "portolan scan 127.0.0.0/28 --ports 3000-3010" },
    {
      command: "portolan scan 10.0.0.0/24 --ports 8080 --path /mcp,/ --register",
      description: "Announces what it finds through the running gateway, until Ctrl-C"
    }
  ])
)
