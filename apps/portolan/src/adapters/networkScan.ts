import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { count, identifying, Names, network, networks, optional, text, time } from "./fields.ts"

const isPort = (value: string): boolean => /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535

const isPorts = (value: string): boolean => {
  const [first = "", last = first, ...more] = value.split("-")
  return more.length === 0 && isPort(first) && isPort(last) && Number(first) <= Number(last)
}

export const networkScan = Configuration.adapter({
  type: "network-scan",
  options: Schema.Struct({
    networks: optional(
      Schema.NonEmptyArray(network),
      "Networks (10.0.0.0/24), ranges (10.0.0.5-10.0.0.20) and addresses that are scanned; 127.0.0.1 by default, " +
        "where there are no `hosts`"
    ),
    hosts: optional(Names, "Names that are looked up before each scan, and scanned where allowNetworks has them"),
    ports: Schema.NonEmptyArray(
      Schema.Union([
        Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }))),
        text("a port such as 3000 or ports such as 3000-3010", isPorts, "Ports")
      ])
    ).annotate({ description: "Ports of each address: 8080, 3000-3010" }),
    paths: optional(
      Schema.NonEmptyArray(text("a path such as /mcp", (value) => value.startsWith("/"), "Path")),
      "Paths where MCP may be; /mcp by default"
    ),
    schemes: optional(Schema.NonEmptyArray(Schema.Literals(["http", "https"])), "http by default"),
    transports: optional(
      Schema.NonEmptyArray(Schema.Literals(["streamable-http", "sse"])),
      "Transports that are tried; streamable-http by default"
    ),
    ...networks("what is in `networks`, and loopback,"),
    concurrency: count(1, 4_096, "Addresses that are asked at the same time; 64 by default"),
    rate: count(1, 100_000, "Connections that are begun in a second; 500 by default"),
    connectTimeout: time("Time to connect; 500ms by default"),
    identifyTimeout: time("Time to identify what took the connection; 3s by default"),
    interval: time("Time between two scans; 60s by default"),
    rise: count(1, 100, "Scans in a row that must find a server before it is there; 1 by default"),
    fall: count(1, 100, "Scans in a row that must miss a server before it is gone; 3 by default")
  }),
  open: (options, { name }) =>
    Effect.gen(function*() {
      const NetworkScanRegistry = yield* Effect.promise(() => import("@portolan/network-scan/NetworkScanRegistry"))
      return yield* identifying(NetworkScanRegistry.make({ name, ...options }))
    })
})
