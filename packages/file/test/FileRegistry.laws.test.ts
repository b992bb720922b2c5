import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as FileRegistry from "@portolan/file/FileRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as Directory from "./directory.ts"

/** The registry file as an operator keeps it: written whole each time, in one step. */
const backend = (extension: "json" | "yaml") =>
  Effect.gen(function*() {
    const directory = yield* Directory.make
    const file = path.join(directory, `services.${extension}`)
    const away = `${file}.away`
    const records = new Map<string, unknown>()
    let reachable = true
    let broken = false
    // One writer at a time, as several writes of a law may run side by side.
    let last = Promise.resolve()

    const write = () =>
      Effect.promise(() =>
        last = last.then(() =>
          Directory.save(
            reachable ? file : away,
            broken ? "{\"services\": [{" : Directory.json(Array.from(records.values()))
          )
        )
      )
    const change = (run: () => unknown) => Effect.suspend(() => (run(), write()))
    const put = (instance: ServiceInstance) => change(() => records.set(instance.id, instance))
    yield* write()

    return {
      file,
      add: put,
      update: put,
      // Whoever announced it: the operator in the file, or a process in a lease of its own.
      remove: (instance) =>
        Effect.andThen(
          change(() => records.delete(instance.id)),
          Effect.promise(() => fs.rm(path.join(`${file}.d`, `${instance.id}.json`), { force: true }))
        ),
      batch: (instances) =>
        change(() => {
          for (const instance of instances) records.set(instance.id, instance)
        }),
      corrupt: (instance) => change(() => records.set(instance.id, { ...instance, endpoint: { transport: "pigeon" } })),
      garble: change(() => broken = true),
      ungarble: change(() => broken = false),
      wipeBackend: Effect.andThen(
        change(() => records.clear()),
        Effect.promise(() => fs.rm(`${file}.d`, { recursive: true, force: true }))
      ),
      stopBackend: Effect.promise(async () => {
        await last
        reachable = false
        await fs.rename(file, away)
      }),
      startBackend: Effect.promise(async () => {
        await last
        reachable = true
        await fs.rename(away, file)
      })
    } satisfies RegistryLaws.Controls & { readonly file: string }
  })

const offers = ["batch", "corrupt", "garble", "ungarble", "wipeBackend", "stopBackend", "startBackend"] as const

for (const extension of ["json", "yaml"] as const) {
  RegistryLaws.suite(`file (${extension})`, ({ file }) => FileRegistry.make({ path: file }), {
    controls: backend(extension),
    offers,
    lacks: ["order"],
    // A storm of whole files is a storm of megabytes.
    sizes: { storm: 300 }
  })
}
