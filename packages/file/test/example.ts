import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as FileRegistry from "@portolan/file/FileRegistry"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

const Live = Discovery.layer().pipe(
  Layer.provideMerge(FileRegistry.layer({ path: "services.json" })),
  Layer.provideMerge(Registries.layer)
)

const program = Effect.gen(function*() {
  const discovery = yield* Discovery.Discovery
  yield* Stream.runForEach(
    discovery.updates,
    ({ changes }) =>
      Effect.forEach(changes, ({ _tag, entry }) => Console.log(_tag, entry.instance.id, entry.instance.service))
  )
})

await Effect.runPromise(Effect.provide(program, Live))
