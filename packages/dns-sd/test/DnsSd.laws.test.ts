import { Identification } from "@portolan/core/Identification"
import * as DnsSdRegistry from "@portolan/dns-sd/DnsSdRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as Peer from "./Peer.ts"

// Servers of the laws are records alone.
const anybody = Identification.of({
  identify: ({ url }) =>
    Effect.succeed({
      identity: { name: url, version: undefined, protocolVersion: "2026-07-28" },
      isAlso: () => Effect.succeed(false)
    })
})

// There is no backend: nobody keeps a record for another, and what one hears is whatever order the network makes of it.
RegistryLaws.suite(
  "dns-sd",
  ({ port }) => Effect.provideService(DnsSdRegistry.make({ port, interfaces: ["lo"] }), Identification, anybody),
  {
    controls: Peer.make,
    lacks: ["lease", "order", "wipe"],
    // Each session listens for a second before it begins.
    sizes: { storm: 300, runs: 2, commands: 8 },
    offers: ["add", "update", "remove", "batch", "corrupt", "outside", "requests", "open"]
  }
)
