import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as MemoryBackend from "./MemoryBackend.ts"

RegistryLaws.suite("memory", (backend) => Effect.succeed(backend.registry), {
  controls: MemoryBackend.make(),
  offers: MemoryBackend.offers
})

RegistryLaws.suite("memory behind a network", (backend) => Effect.succeed(backend.registry), {
  controls: MemoryBackend.make((registry) => ({ ...registry, authoritative: false })),
  offers: MemoryBackend.offers
})
