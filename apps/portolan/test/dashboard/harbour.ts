/**
 * A small fleet in which everything is: fourteen services, 191 instances, all eight states, and calls.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { registry } from "../fleet.ts"
import { broken, type Scene, scene, settled, traffic } from "./scenes.ts"
import { type Conduct, servers } from "./servers.ts"
import { type Announced, instancesOf, offersOf, type Service } from "./services.ts"

const places = ["eu-west-1", "us-east-1", "us-west-2"] as const

const service = (
  name: string,
  version: string,
  rate: number,
  latency: number,
  counts: readonly [number, number, number],
  tools: string
): Service => ({
  name,
  version,
  rate,
  latency,
  regions: Object.fromEntries(places.map((place, at) => [place, counts[at] ?? 0])),
  tools: tools.split(" ")
})

/** Fourteen services with 191 instances. */
const harbour: ReadonlyArray<Service> = [
  service("payroll", "1.0.4", 0, 20, [2, 0, 0], "get_payslip list_runs"),
  service("postgres", "0.9.1", 8, 27, [4, 4, 2], "query list_tables describe_table explain_query"),
  service("weather", "1.4.2", 18, 40, [4, 3, 5], "get_forecast get_alerts compare_cities"),
  service("filesystem", "2.0.0", 14, 12, [6, 2, 0], "read_file write_file list_directory move_file search_files"),
  service("github", "3.1.0", 12, 84, [6, 6, 6], "list_issues get_issue create_issue search_code get_pull_request"),
  service("search", "1.9.3", 11, 73, [10, 8, 8], "web_search news_search image_search"),
  service("memory", "1.0.0", 7, 8, [4, 0, 0], "create_entities read_graph search_nodes"),
  service("browser", "1.2.5", 4, 160, [12, 12, 10], "navigate click screenshot fill_form evaluate"),
  service("embeddings", "4.0.0", 4, 46, [8, 8, 12], "embed_text embed_image similarity"),
  service("calendar", "1.1.0", 3, 38, [3, 2, 0], "list_events create_event find_time"),
  service("slack", "2.2.1", 2, 57, [3, 3, 3], "post_message list_channels search_messages"),
  service("billing", "5.3.0", 1, 39, [2, 2, 2], "get_invoice list_invoices refund"),
  service("translate", "1.0.9", 1, 110, [6, 4, 4], "translate detect_language"),
  service("maps", "2.5.0", 1, 68, [5, 5, 5], "geocode directions nearby")
]

/** What of a service in a region is otherwise: so many instances of the cell, one after the other. */
const exceptions: ReadonlyArray<{
  readonly at: readonly [service: string, region: string, count: number]
  readonly conduct?: Conduct
  readonly record?: object
}> = [
  { at: ["payroll", "eu-west-1", 2], record: { status: "down" } },
  { at: ["postgres", "us-east-1", 2], conduct: "closed" },
  { at: ["postgres", "us-east-1", 1], conduct: "busy" },
  { at: ["weather", "us-west-2", 1], conduct: "failing" },
  { at: ["search", "eu-west-1", 2], record: { status: "draining" } },
  { at: ["browser", "eu-west-1", 1], conduct: "busy" },
  {
    at: ["embeddings", "us-west-2", 1],
    record: { kind: "agent", endpoint: { transport: "a2a", card: "http://127.0.0.1:9/card" } }
  }
]

const sourceOf = ({ region, service }: Announced): string =>
  region === "us-west-2" && (service === "billing" || service === "translate")
    ? "eu-redis"
    : service === "filesystem" || service === "payroll"
    ? "local"
    : region === "eu-west-1"
    ? "dc1"
    : "mcp"

/** Fourteen services with 191 instances, which are in every state there is, and calls. */
export const busyHarbour: Effect.Effect<Scene, never, Scope.Scope> = Effect.gen(function*() {
  const made = yield* servers(offersOf(harbour))
  const all = instancesOf(harbour, made)
  const odd = new Set<Announced>()
  for (const { at: [service, region, count], conduct, record = {} } of exceptions) {
    const cell = all.filter((each) => each.service === service && each.region === region && !odd.has(each))
    for (const each of cell.slice(0, count)) {
      odd.add(each)
      Object.assign(each, record)
      if (conduct !== undefined) made.conduct(each.id, conduct)
    }
  }
  const sources = Object.fromEntries(
    ["dc1", "mcp", "eu-redis", "local"].map((source) => {
      const announced: Array<object> = all.filter((each) => sourceOf(each) === source)
      if (source === "local") {
        announced.push({ id: "notes-1", service: "notes", endpoint: { transport: "carrier-pigeon" } })
      }
      return [source, registry(...announced)]
    })
  )
  const running = yield* scene(sources, {
    // What fails is tried on and on, and nobody is spared by chance.
    balancing: { strategy: "round-robin", slowStart: "0s" },
    health: { ejection: { baseTime: "5m", readmitOnCheck: false } }
  })
  const rates = harbour.flatMap(({ name, rate, tools }) => rate === 0 ? [] : [{ tool: `${name}__${tools[0]}`, rate }])
  const odds = { down: 2, unhealthy: 2, degraded: 2, draining: 2, unknown: 1 }
  yield* settled(running.url, { ...odds, healthy: 182 })
  running.announce("eu-redis", broken)
  yield* traffic(running.url, rates)
  yield* settled(running.url, { ...odds, healthy: 175, ejected: 1, stale: 6 })
  return { ...running, servers: made }
})
