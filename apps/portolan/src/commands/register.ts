import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type { Child } from "../child.ts"
import { ended, failed, type Failure } from "../Failure.ts"
import { untilSignal } from "../signals.ts"
import { during, note } from "../terminal.ts"
import { durationFlag, type WrittenDuration } from "./duration.ts"
import { instanceOf, recordFlags } from "./record.ts"
import { asking, configFlag, otherGatewayFlags } from "./root.ts"

export const registryFlag = Flag.String("registry").pipe(
  Flag.withDescription(
    "A registry of the configuration, by name or type; or a type with its address (consul:http://10.0.0.5:8500, " +
      "etcd, file:./services.json, kubernetes:mcp, dns-sd); or a registry of the gateway, which is where one announces " +
      "by default"
  ),
  Flag.optional
)

export const ttlFlag = durationFlag(
  "ttl",
  "How long a record outlives this process where it can't remove it; 30s by default"
).pipe(Flag.map(Option.match({ onNone: () => Duration.seconds(30), onSome: ({ duration }) => duration })))

/** Waits until the command listens, bounded, or ends. */
const ready = (
  child: Child,
  { endpoint }: ServiceInstance,
  wait: Option.Option<WrittenDuration>
): Effect.Effect<"listens" | "ended", Failure> =>
  Effect.gen(function*() {
    if (!("url" in endpoint) || typeof endpoint.url !== "string") return "listens"
    const { url } = endpoint
    const { listening } = yield* Effect.promise(() => import("../child.ts"))
    const { duration, text } = Option.getOrElse(wait, () => ({ duration: Duration.seconds(30), text: "30s" }))
    const listens = Effect.timeoutOrElse(Effect.as(listening(url), "listens" as const), {
      duration,
      orElse: () => Effect.fail(failed(`nothing listens at ${url} after ${text}: see --url and --wait`))
    })
    return yield* during(`waiting for ${url}`, Effect.raceFirst(listens, Effect.as(child.exited, "ended" as const)))
  })

export const register = Command.make(
  "register",
  {
    service: Argument.String("service").pipe(Argument.withDescription("Name of the service")),
    command: Argument.String("command").pipe(
      Argument.withDescription("After --: a command that is run, and announced while it runs"),
      Argument.variadic()
    ),
    record: recordFlags,
    ttl: ttlFlag,
    wait: durationFlag("wait", "Longest wait until the command listens; 30s by default"),
    drain: durationFlag(
      "drain",
      "How long calls in flight may take after a signal, before the command is asked to end; 5s by default"
    ),
    noWait: Flag.Boolean("no-wait").pipe(
      Flag.withDescription("Announce at once, whether the command listens or not"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    ),
    registry: registryFlag,
    config: configFlag,
    target: otherGatewayFlags
  },
  Effect.fnUntraced(function*({ command, config, drain, noWait, record, registry, service, target, ttl, wait }) {
    const { gateway, json } = yield* asking(target)
    const instance = yield* instanceOf(service, record)
    const [program, ...args] = command

    // The command's standard output is its own.
    const say = program === undefined ? console.log : console.error
    let isAnnounced = false
    const announcing = Effect.gen(function*() {
      const { announcer, tell } = yield* Effect.promise(() => import("../announcing.ts"))
      const where = { registry: Option.getOrUndefined(registry), config: Option.getOrUndefined(config) }
      const announce = yield* announcer(gateway, where)
      const announced = yield* announce(instance, ttl)
      isAnnounced = true
      return yield* tell(announced, { ttl, json, say })
    }).pipe(Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])))

    if (program === undefined) return yield* Effect.scoped(Effect.asVoid(Effect.raceFirst(announcing, untilSignal())))

    const { start } = yield* Effect.promise(() => import("../child.ts"))
    const status = yield* Effect.scoped(Effect.gen(function*() {
      const child = yield* start(program, args)
      let asked = false
      const signalled = Effect.map(untilSignal(["SIGINT", "SIGTERM"]), (signal) => {
        asked = true
        child.endWith(signal)
      })
      const running = Effect.gen(function*() {
        if (noWait || (yield* ready(child, instance, wait)) === "listens") {
          return yield* Effect.raceFirst(announcing, child.exited)
        }
        console.error("the command ended before anything listened at its address: nothing was announced")
      })
      // The record goes before the command is asked to end, and what is in flight ends in between.
      yield* Effect.scoped(Effect.raceFirst(running, signalled))
      if (asked && isAnnounced) {
        const { duration, text } = Option.getOrElse(drain, () => ({ duration: Duration.seconds(5), text: "5s" }))
        yield* note(`${instance.id} drains: ${program} is asked to end in ${text}, or by a second signal at once`)
        yield* Effect.raceFirst(Effect.sleep(duration), child.exited)
      }
      return child.exited
    })).pipe(Effect.flatten)
    if (status !== 0) return yield* ended(status)
  })
).pipe(
  Command.withDescription("Announce a server, for as long as this runs or the command after -- does"),
  Command.withExamples([
    {
      command: "portolan register weather --url http://10.0.0.7:8080/mcp --registry consul -- node server.js",
      description: "Runs the server, announces it as soon as it listens, and drains and removes it before it ends"
    },
    {
      command: "portolan register weather --url http://10.0.0.7:8080/mcp",
      description: "Through the running gateway, until Ctrl-C"
    }
  ])
)
