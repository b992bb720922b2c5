/**
 * The commands that tell a running gateway to do something.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { during, plain } from "../terminal.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"
import { sourceTable } from "./status.ts"

const parameters = (values: Readonly<Record<string, Option.Option<string>>>): string => {
  const given = new URLSearchParams()
  for (const [key, value] of Object.entries(values)) if (Option.isSome(value)) given.set(key, value.value)
  return given.size === 0 ? "" : `?${given}`
}

export const idArgument = Argument.String("id").pipe(
  Argument.withDescription("Id of the instance, as `portolan instances` shows it")
)

const sourceFlag = Flag.String("source").pipe(
  Flag.withDescription("Registry of the instance, where several have one of this id"),
  Flag.optional
)

export const refresh = Command.make(
  "refresh",
  {
    target: gatewayFlags,
    source: Argument.String("source").pipe(
      Argument.withDescription("Only this registry, as `portolan status` shows it"),
      Argument.optional
    )
  },
  Effect.fnUntraced(function*({ source, target }) {
    const { client, gateway, json } = yield* asking(target)
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/Representations"))
    const name = Option.getOrElse(source, () => "")
    const path = `/api/v1/refresh${parameters({ source })}`
    const answer = yield* during(
      `reading ${name || "all registries"} again`,
      client.write(gateway, "POST", path)
    )
    if (json) return yield* printJson(client.field(answer, "items"))
    const { items } = yield* client.decode(
      gateway,
      path,
      Schema.Struct({ items: Schema.Array(views.SourceView) }),
      answer
    )
    yield* print(sourceTable(items, Date.now()))
  })
).pipe(Command.withDescription("Read the registries again now, all or one"))

export const mark = Command.make(
  "mark",
  {
    target: gatewayFlags,
    id: idArgument,
    as: Argument.Literals("as", ["up", "draining", "down"]).pipe(
      Argument.withDescription("draining: no new calls; down: no calls; up: as it is, the mark goes")
    ),
    reason: Flag.String("reason").pipe(Flag.withDescription("Shown as the reason of its health"), Flag.optional),
    source: sourceFlag
  },
  Effect.fnUntraced(function*({ as, id, reason, source, target }) {
    const { client, gateway, json } = yield* asking(target)
    const path = `/api/v1/instances/${encodeURIComponent(id)}`
    const answer = yield* client.write(gateway, "PUT", `${path}/mark${parameters({ source })}`, {
      as,
      ...Option.match(reason, { onNone: () => ({}), onSome: (text) => ({ reason: text }) })
    })
    if (json) return yield* printJson(answer ?? { id, as })
    yield* print(plain(as === "up" ? `${id}: mark removed` : `${id}: marked ${as}`))
  })
).pipe(
  Command.withDescription("Take an instance out of service by hand, or put it back"),
  Command.withExamples([
    { command: "portolan mark weather-7c9f draining --reason \"new kernel\"" },
    { command: "portolan mark weather-7c9f up" }
  ])
)
