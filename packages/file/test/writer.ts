/** A process of its own that writes: `update <file> <from> <count>`, or `announce <file> <id> <ttl ms>` until killed. */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as FileRegistry from "@portolan/file/FileRegistry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { record } from "./directory.ts"

const [mode, file = "", third = "", fourth = ""] = process.argv.slice(2)

const program = mode === "update"
  ? Effect.forEach(
    Array.from({ length: Number(fourth) }, (_, index) => Number(third) + index),
    (n) => FileRegistry.update(file, (content) => ({ ...content, services: [...content.services, record(`w-${n}`)] })),
    { discard: true }
  )
  : Effect.gen(function*() {
    const registry = yield* FileRegistry.make({ path: file })
    const registrar = Option.getOrThrow(registry.registrar)
    const ttl = Duration.millis(Number(fourth))
    const lease = yield* registrar.put(ServiceInstance.make(record(third)), { ttl, incarnation: `${process.pid}` })
    process.stdout.write("announced\n")
    return yield* Effect.forever(Effect.andThen(Effect.sleep(Duration.divideUnsafe(ttl, 3)), registrar.renew([lease])))
  })

await Effect.runPromise(program)
