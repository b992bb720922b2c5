/**
 * `/metrics` in the text format of Prometheus, read from memory when it is asked for: nothing is counted twice, and no
 * series outlives what it was about. Labels are the names of registries and words of fixed sets, so their number is
 * bounded.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 * @since 0.1.0
 */
import { Discovery } from "@portolan/core/Discovery"
import { Health, type HealthStatus } from "@portolan/core/Health"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import { About } from "./About.ts"

interface Sample {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

const escape = (text: string): string => text.replace(/\\/g, "\\\\").replace(/"/g, "\\\"").replace(/\n/g, "\\n")

const family = (name: string, type: "gauge" | "counter", help: string, samples: ReadonlyArray<Sample>): string =>
  [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(({ labels = {}, value }) => {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escape(text)}"`)
      return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}`
    })
  ].join("\n")

const statuses: ReadonlyArray<HealthStatus> = ["healthy", "degraded", "unhealthy", "draining", "down", "unknown"]
const states = ["idle", "connecting", "connected", "failed"] as const

const count = <A extends string>(
  words: ReadonlyArray<A>,
  label: string,
  values: Iterable<A>
): ReadonlyArray<Sample> => {
  const counts = new Map<A, number>(words.map((word) => [word, 0]))
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return Array.from(counts, ([word, value]) => ({ labels: { [label]: word }, value }))
}

/**
 * Makes the function that writes the metrics as they are now.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  () => string,
  never,
  About | Discovery | Health | ToolCatalog | Upstreams | McpEndpoint
> = Effect.gen(function*() {
  const about = yield* About
  const discovery = yield* Discovery
  const health = yield* Health
  const tools = yield* ToolCatalog
  const upstreams = yield* Upstreams
  const endpoint = yield* McpEndpoint

  return () => {
    const catalog = discovery.catalog()
    const figures = endpoint.figures()
    const sources = Array.from(catalog.sources.values())
    const bySource = (value: (source: (typeof sources)[number]) => number) =>
      sources.map((source) => ({ labels: { source: source.name, type: source.type }, value: value(source) }))
    const memory = process.memoryUsage.rss()
    return [
      family("portolan_info", "gauge", "Version of the gateway.", [{ labels: { version: about.version }, value: 1 }]),
      family("portolan_ready", "gauge", "Whether the gateway is ready for traffic.", [{
        value: about.ready() ? 1 : 0
      }]),
      family(
        "portolan_source_connected",
        "gauge",
        "Whether the registry is connected.",
        bySource((source) => source.state === "connected" ? 1 : 0)
      ),
      family(
        "portolan_source_instances",
        "gauge",
        "Instances that the registry announces.",
        bySource((source) => source.instances)
      ),
      family(
        "portolan_source_rejected",
        "gauge",
        "Records of the registry that can't be used.",
        bySource((source) => source.rejected.length)
      ),
      family(
        "portolan_source_reconnects_total",
        "counter",
        "Sessions with the registry that were lost.",
        bySource((source) => source.reconnects)
      ),
      family("portolan_services", "gauge", "Services in the catalog.", [{ value: HashMap.size(catalog.services) }]),
      family(
        "portolan_instances",
        "gauge",
        "Instances in the catalog by health.",
        count(statuses, "status", Array.from(HashMap.keys(catalog.entries), health.status))
      ),
      family(
        "portolan_upstreams",
        "gauge",
        "Connections to MCP servers by state.",
        count(states, "state", upstreams.all().map((upstream) => upstream.state()._tag))
      ),
      family(
        "portolan_offers",
        "gauge",
        "What the servers offer, by kind.",
        (["tools", "resources", "resourceTemplates", "prompts"] as const).map((kind) => ({
          labels: { kind },
          value: tools.list(kind).length
        }))
      ),
      family("portolan_mcp_sessions", "gauge", "Sessions of handshake clients.", [{ value: figures.sessions }]),
      family("portolan_mcp_streams", "gauge", "Open streams to clients.", [{ value: figures.streams }]),
      family("portolan_mcp_calls_in_flight", "gauge", "Calls under way.", [{ value: figures.callsInFlight }]),
      family("portolan_mcp_calls_total", "counter", "Calls relayed.", [{ value: figures.calls }]),
      family("portolan_mcp_failed_calls_total", "counter", "Calls that failed.", [{ value: figures.failedCalls }]),
      family("process_resident_memory_bytes", "gauge", "Resident memory.", [{ value: memory }]),
      ""
    ].join("\n")
  }
})
