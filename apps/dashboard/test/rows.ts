/**
 * Rows for tests: those of a quiet fleet, with what a test says of them.
 */
import type { ChangeRow, InstanceRow, ServiceRow } from "../src/fleet/rows.ts"

const quiet = { rate: 0, failed: undefined, inFlight: 0, calls: 0, failures: 0 }

export const instance = (id: string, said: Partial<InstanceRow> = {}): InstanceRow => ({
  ...quiet,
  key: `local\u0000${id}`,
  id,
  service: id.replace(/-[^-]*$/, ""),
  source: "local",
  alsoIn: [],
  kind: "mcp-server",
  version: "1.0.0",
  region: "",
  zone: "",
  address: `http://10.0.0.1:8080/${id}`,
  transport: "streamable-http",
  tags: [],
  weight: 1,
  state: "healthy",
  routable: true,
  reason: "",
  since: 0,
  until: undefined,
  stale: false,
  score: 1,
  latency: undefined,
  error: undefined,
  mark: undefined,
  ...said
})

export const service = (name: string, said: Partial<ServiceRow> = {}): ServiceRow => ({
  ...quiet,
  name,
  kind: "mcp-server",
  versions: ["1.0.0"],
  instances: 1,
  routable: 1,
  states: { healthy: 1, degraded: 0, unhealthy: 0, ejected: 0, draining: 0, down: 0, stale: 0, unknown: 0 },
  cells: [{ region: "", total: 1, healthy: 1, exceptions: [] }],
  sources: ["local"],
  tags: [],
  state: "healthy",
  reason: "",
  consequence: "",
  since: undefined,
  p50: undefined,
  p95: undefined,
  ...said
})

export const change = (at: number, to: ChangeRow["to"], said: Partial<ChangeRow> = {}): ChangeRow => ({
  id: String(at),
  at,
  kind: "instance",
  to,
  service: "weather",
  instance: "weather-1",
  source: "local",
  reason: "",
  ...said
})
