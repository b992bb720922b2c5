/**
 * Configurations for tests: of a registry type that only counts how often it is opened and closed.
 */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Registry from "@portolan/core/Registry"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import * as Configuration from "../src/configuration/Configuration.ts"

/** How often registries were opened, and closed, by name. */
export interface Counts {
  readonly opened: Map<string, number>
  readonly closed: Map<string, number>
}

const count = (counts: Map<string, number>, name: string) => void counts.set(name, (counts.get(name) ?? 0) + 1)

export const counting = () => {
  const counts: Counts = { opened: new Map(), closed: new Map() }
  const adapter = Configuration.adapter({
    type: "counted",
    options: Schema.Struct({
      setting: Schema.optionalKey(Schema.Finite),
      broken: Schema.optionalKey(Schema.Boolean)
    }),
    open: ({ broken }, { name }) =>
      broken === true
        ? Effect.fail(new Registry.RegistryError({ registry: name, operation: "open", reason: "it is broken" }))
        : Effect.acquireRelease(
          Effect.tap(MemoryRegistry.make({ name }), () => Effect.sync(() => count(counts.opened, name))),
          () => Effect.sync(() => count(counts.closed, name))
        )
  })
  return { counts, adapters: [adapter] }
}

/** A configuration without mistakes. */
export const parsed = (
  content: string | object,
  options: Partial<Configuration.ParseOptions> = {}
): Configuration.Configuration => {
  const text = typeof content === "string" ? content : JSON.stringify(content, null, 2)
  return Result.getOrThrow(Configuration.parse(text, { env: {}, ...counting(), ...options }))
}

const names = ["a", "b", "c", "d", "e"] as const

const registry = fc.record({
  type: fc.constant("counted"),
  name: fc.constantFrom(...names),
  setting: fc.integer({ min: 0, max: 2 })
}, { requiredKeys: ["type", "name"] })

const server = fc.record({
  url: fc.constantFrom("http://one.test/mcp", "http://two.test/mcp"),
  tags: fc.subarray(["x", "y"]),
  disabled: fc.boolean()
}, { requiredKeys: ["url"] })

/** What may stand in a file, and is right. */
export const documents = fc.record({
  registries: fc.uniqueArray(registry, { selector: ({ name }) => name, maxLength: 5 }),
  mcpServers: fc.dictionary(fc.constantFrom("m", "n", "o"), server),
  servers: fc.dictionary(fc.constantFrom("s", "t"), server),
  gateway: fc.record({
    port: fc.integer({ min: 0, max: 3 }),
    pageSize: fc.integer({ min: 1, max: 3 }),
    publicUrl: fc.constant("https://mcp.example.com"),
    allowedHosts: fc.subarray(["one.test", "two.test"])
  }, { requiredKeys: [] }),
  health: fc.record({ interval: fc.constantFrom("10s", "30s"), fall: fc.integer({ min: 1, max: 3 }) }, {
    requiredKeys: []
  }),
  balancing: fc.record({ strategy: fc.constantFrom("p2c", "random", "peak-ewma") }, { requiredKeys: [] })
}, { requiredKeys: [] })
