/**
 * Figures of the catalog, of its health, and of what goes through the gateway.
 */
import { Discovery } from "@portolan/core/Discovery"
import { Health, type HealthStatus } from "@portolan/core/Health"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import * as Instruments from "@portolan/mcp/telemetry/Instruments"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Stream from "effect/Stream"
import { About } from "../About.ts"
import type { Reading } from "../telemetry/Metrics.ts"

/** Services, and instances, that get series of their own. */
const MaxNames = 500

const statuses: ReadonlyArray<HealthStatus> = ["healthy", "degraded", "unhealthy", "draining", "down", "unknown"]
const states = ["idle", "connecting", "connected", "failed"] as const

const count = <A extends string>(words: ReadonlyArray<A>, label: string, values: Iterable<A>) => {
  const counts = new Map<A, number>(words.map((word) => [word, 0]))
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return Array.from(counts, ([word, value]) => [{ [label]: word }, value] as const)
}

const one = (value: number) => [[{}, value] as const]

/** The figures of the gateway. */
export const readings = Effect.gen(function*() {
  const about = yield* About
  const clock = yield* Clock.Clock
  const discovery = yield* Discovery
  const health = yield* Health
  const tools = yield* ToolCatalog
  const upstreams = yield* Upstreams
  const endpoint = yield* McpEndpoint

  const bySource = (value: (source: ReturnType<typeof sources>[number]) => number) =>
    sources().map((source) => [{ source: source.name, type: source.type }, value(source)] as const)
  const sources = () => Array.from(discovery.catalog().sources.values())

  function* services() {
    let named = 0
    let rest: { instances: number; routable: number } | undefined
    for (const { entries, service } of HashMap.values(discovery.catalog().services)) {
      let routable = 0
      for (const key of HashMap.keys(entries)) {
        const status = health.status(key)
        if (status === "healthy" || status === "degraded" || status === "unknown") routable++
      }
      const instances = HashMap.size(entries)
      if (named < MaxNames) {
        named++
        yield { service, instances, routable }
      } else {
        rest ??= { instances: 0, routable: 0 }
        rest.instances += instances
        rest.routable += routable
      }
    }
    if (rest !== undefined) yield { service: Instruments.other, ...rest }
  }

  function* instances() {
    let named = 0
    for (const { instance, key } of HashMap.values(discovery.catalog().entries)) {
      if (named++ >= MaxNames) return
      const labels = { "portolan.service": instance.service, "portolan.instance": instance.id }
      yield { labels, health: health.get(key) }
    }
  }

  function* byService(value: "instances" | "routable") {
    for (const each of services()) yield [{ "portolan.service": each.service }, each[value]] as const
  }

  const transitions = new Map<string, { readonly labels: Instruments.Labels; count: number }>()
  yield* Stream.runForEach(health.changes, ({ health, previous }) =>
    Effect.sync(() => {
      // Only its circuit changed.
      if (previous === health.status) return
      const key = `${previous} ${health.status}`
      let found = transitions.get(key)
      if (found === undefined) {
        found = { labels: { from: previous, to: health.status }, count: 0 }
        transitions.set(key, found)
      }
      found.count++
    })).pipe(Effect.forkScoped({ startImmediately: true }))

  const own: ReadonlyArray<Reading> = [
    {
      name: "portolan_info",
      type: "gauge",
      help: "Versions of the gateway and of Node.",
      read: () => [[{ version: about.version, node: process.version }, 1]]
    },
    {
      name: "portolan_ready",
      type: "gauge",
      help: "Whether the gateway is ready for traffic.",
      read: () => one(about.ready() ? 1 : 0)
    },
    {
      name: "portolan_source_connected",
      type: "gauge",
      help: "Whether the registry is connected.",
      read: () => bySource((source) => source.state === "connected" ? 1 : 0)
    },
    {
      name: "portolan_source_instances",
      type: "gauge",
      help: "Instances that the registry announces.",
      read: () => bySource((source) => source.instances)
    },
    {
      name: "portolan_source_rejected",
      type: "gauge",
      help: "Records of the registry that can't be used.",
      read: () => bySource((source) => source.rejected.length)
    },
    {
      name: "portolan_source_held",
      type: "gauge",
      help: "Removals of the registry that self-preservation holds back.",
      read: () => bySource((source) => source.held)
    },
    {
      name: "portolan_source_reconnects_total",
      type: "counter",
      help: "Sessions with the registry that were lost.",
      read: () => bySource((source) => source.reconnects)
    },
    {
      name: "portolan_source_age_seconds",
      type: "gauge",
      unit: "s",
      help: "Time since the registry was heard of last.",
      read: () =>
        sources().flatMap(({ lastHeard, name, type }) =>
          lastHeard === undefined
            ? []
            : [[{ source: name, type }, Math.max(clock.currentTimeMillisUnsafe() - lastHeard, 0) / 1_000] as const]
        )
    },
    {
      name: "portolan_services",
      type: "gauge",
      help: "Services in the catalog.",
      read: () => one(HashMap.size(discovery.catalog().services))
    },
    {
      name: "portolan_service_instances",
      type: "gauge",
      help: "Instances of the service.",
      read: () => byService("instances")
    },
    {
      name: "portolan_service_routable_instances",
      type: "gauge",
      help: "Instances of the service that calls are routed to.",
      read: () => byService("routable")
    },
    {
      name: "portolan_instances",
      type: "gauge",
      help: "Instances in the catalog by health.",
      read: () => count(statuses, "status", Array.from(HashMap.keys(discovery.catalog().entries), health.status))
    },
    {
      name: "portolan_instance_health_score",
      type: "gauge",
      help: "Health of the instance, 0 to 1.",
      read: () => Array.from(instances(), ({ health, labels }) => [labels, health.score] as const)
    },
    {
      name: "portolan_instance_latency_seconds",
      type: "gauge",
      unit: "s",
      help: "Median latency of the instance's checks and calls in the last minute.",
      read: () =>
        Array.from(instances()).flatMap(({ health: { latency }, labels }) =>
          latency === undefined ? [] : [[labels, latency / 1_000] as const]
        )
    },
    {
      name: "portolan_health_transitions_total",
      type: "counter",
      help: "Changes of the health of instances.",
      read: () => Array.from(transitions.values(), ({ count, labels }) => [labels, count] as const)
    },
    {
      name: "portolan_upstreams",
      type: "gauge",
      help: "Connections to MCP servers by state.",
      read: () => count(states, "state", upstreams.all().map((upstream) => upstream.state()._tag))
    },
    {
      name: "portolan_offers",
      type: "gauge",
      help: "What the servers offer, by kind.",
      read: () =>
        (["tools", "resources", "resourceTemplates", "prompts"] as const).map((kind) =>
          [{ kind }, tools.list(kind).length] as const
        )
    },
    {
      name: "portolan_mcp_sessions",
      type: "gauge",
      help: "Sessions of handshake clients.",
      read: () => one(endpoint.figures().sessions)
    },
    {
      name: "portolan_mcp_streams",
      type: "gauge",
      help: "Open streams to clients.",
      read: () => one(endpoint.figures().streams)
    },
    {
      name: "portolan_mcp_calls_in_flight",
      type: "gauge",
      help: "Calls under way.",
      read: () => one(endpoint.figures().callsInFlight)
    },
    {
      name: "portolan_mcp_calls_total",
      type: "counter",
      help: "Calls relayed.",
      read: () => one(endpoint.figures().calls)
    },
    {
      name: "portolan_mcp_failed_calls_total",
      type: "counter",
      help: "Calls that failed.",
      read: () => one(endpoint.figures().failedCalls)
    }
  ]
  return own
})
