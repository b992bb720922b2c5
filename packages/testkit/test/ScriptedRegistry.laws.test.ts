import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as ScriptedBackend from "./ScriptedBackend.ts"

for (const speech of ["deltas", "groups"] as const) {
  RegistryLaws.suite(`scripted in ${speech}`, (backend) => Effect.succeed(backend.registry), {
    controls: ScriptedBackend.make(speech),
    lacks: ["lease", "outside", "restartBackend", "slowWrites"]
  })
}
