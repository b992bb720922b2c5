import { assert, describe, it } from "@effect/vitest"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as KubernetesRecord from "@portolan/kubernetes/KubernetesRecord"
import * as Result from "effect/Result"
import * as Objects from "../src/internal/objects.ts"
import { type Endpoint, service, slice } from "./Watched.ts"

const object = <A>(read: A | string): A => {
  if (typeof read === "string") throw new Error(read)
  return read
}
type ServiceOptions = Parameters<typeof service>[1]
type SliceOptions = Parameters<typeof slice>[3]

const found = (
  endpoints: ReadonlyArray<Endpoint>,
  ofService: ServiceOptions = {},
  ofSlice: SliceOptions = {},
  portName?: string
) =>
  KubernetesRecord.readSlice(
    object(Objects.readService(service("weather", ofService))),
    object(Objects.readSlice(slice("weather-a", "weather", endpoints, ofSlice))),
    portName
  )

const read = (...of: Parameters<typeof found>): ReadonlyArray<ServiceInstance | string> =>
  KubernetesRecord.unique(found(...of)).map(({ read }) => Result.merge(read))

const first = (...of: Parameters<typeof found>): ServiceInstance => {
  const [instance] = read(...of)
  if (typeof instance !== "object") throw new Error(String(instance))
  return instance
}

const pod: Endpoint = { address: "10.0.0.1", pod: "weather-7c9f", ready: true, zone: "z1" }

describe("records in Kubernetes", () => {
  it("labels, annotations and the endpoint say everything", () => {
    const instance = first([pod], {
      labels: {
        "app.kubernetes.io/name": "forecast",
        "app.kubernetes.io/version": "1.4.0",
        "app.kubernetes.io/component": "agent",
        app: "mcp-server"
      },
      annotations: {
        "portolan.dev/scheme": "https",
        "portolan.dev/path": "v1/mcp",
        "portolan.dev/transport": "sse",
        "portolan.dev/capabilities": `["weather.current", "weather.forecast"]`,
        "portolan.dev/tools": "get_forecast, get_current",
        "portolan.dev/tags": "prod",
        "portolan.dev/tenants": "acme",
        "portolan.dev/region": "us-west-2",
        "portolan.dev/weight": "3",
        "portolan.dev/priority": "1",
        "portolan.dev/metadata.gpu": "true",
        "kubectl.kubernetes.io/last-applied-configuration": "{}"
      }
    })
    assert.deepStrictEqual(instance, {
      id: "mcp/weather-7c9f:3000",
      service: "forecast",
      kind: "agent",
      version: "1.4.0",
      endpoint: { transport: "sse", url: "https://10.0.0.1:3000/v1/mcp" },
      capabilities: ["weather.current", "weather.forecast"],
      tags: ["prod"],
      tools: ["get_forecast", "get_current"],
      status: "up",
      region: "us-west-2",
      zone: "z1",
      weight: 3,
      priority: 1,
      tenants: ["acme"],
      metadata: { gpu: "true" }
    })
  })

  it("a Service without any of them is one too", () => {
    const { endpoint, id, kind, service, version } = first([{ address: "10.0.0.1" }], {
      labels: { "app.kubernetes.io/component": "backend" }
    })
    assert.deepStrictEqual({ endpoint, id, kind, service, version }, {
      endpoint: { transport: "streamable-http", url: "http://10.0.0.1:3000/mcp" },
      id: "mcp/10.0.0.1:3000",
      kind: "mcp-server",
      service: "weather",
      version: "0.0.0"
    })
  })

  it("annotations win over labels, and those of a slice over those of its Service", () => {
    const { kind, service, version, weight } = first(
      [pod],
      {
        labels: { "app.kubernetes.io/name": "a", "app.kubernetes.io/version": "1" },
        annotations: {
          "portolan.dev/service": "weather forecast",
          "portolan.dev/kind": "agent",
          "portolan.dev/weight": "2"
        }
      },
      { annotations: { "portolan.dev/version": "1.0.0+build", "portolan.dev/weight": "5" } }
    )
    assert.deepStrictEqual([service, kind, version, weight], ["weather forecast", "agent", "1.0.0+build", 5])
  })

  it("an agent has a card", () => {
    const a2a = (path?: string) =>
      first([pod], {
        annotations: { "portolan.dev/transport": "a2a", ...(path === undefined ? {} : { "portolan.dev/path": path }) }
      }).endpoint
    assert.deepStrictEqual(a2a(), { transport: "a2a", card: "http://10.0.0.1:3000/.well-known/agent-card.json" })
    assert.deepStrictEqual(a2a("/card"), { transport: "a2a", card: "http://10.0.0.1:3000/card" })
  })

  const conditions = [
    ["K15 ready by default", {}, "up"],
    ["ready", { ready: true }, "up"],
    ["not ready", { ready: false }, "down"],
    ["K14 terminating, still serving", { ready: false, serving: true, terminating: true }, "draining"],
    ["terminating, and published all the same", { ready: true, serving: false, terminating: true }, "draining"]
  ] as const
  for (const [title, said, status] of conditions) {
    it(`${title} is ${status}`, () => {
      assert.strictEqual(first([{ address: "10.0.0.1", ...said }]).status, status)
    })
  }

  const ports = (...names: ReadonlyArray<string>) => ({
    ports: names.map((name, n) => ({ name, port: 3000 + n }))
  })
  it("the port is that which is named, else mcp, else the only one", () => {
    const portOf = (ofSlice: SliceOptions, portName?: string) =>
      read([pod], {}, ofSlice, portName).map((read) => typeof read === "object" ? read.id : read)
    assert.deepStrictEqual(portOf(ports("http")), ["mcp/weather-7c9f:3000"])
    assert.deepStrictEqual(portOf(ports("http", "mcp")), ["mcp/weather-7c9f:3001"])
    assert.deepStrictEqual(portOf(ports("http", "mcp"), "http"), ["mcp/weather-7c9f:3000"])
    // Whoever names a port means the Services that have it.
    assert.deepStrictEqual(portOf(ports("http"), "mcp"), [])
    assert.deepStrictEqual(portOf(ports("http", "metrics")), [
      "port: none of http, metrics is named mcp: set portName to the one that is meant"
    ])
    assert.deepStrictEqual(portOf({ ports: [] }), [])
    assert.deepStrictEqual(
      read([pod], {}, { ports: [{ name: "mcp", port: 3000, appProtocol: "https" }] }).map((read) =>
        typeof read === "object" && "url" in read.endpoint ? read.endpoint.url : read
      ),
      ["https://10.0.0.1:3000/mcp"]
    )
  })

  it("K16 addresses of two families are one instance, at that of the Service's first family", () => {
    const families = (ipFamilies: ReadonlyArray<string>) => {
      const of = { ipFamilies }
      const four = found([pod], of)
      const six = found([{ ...pod, address: "fd00::1" }], of, { addressType: "IPv6" })
      return KubernetesRecord.unique([...four, ...six]).map(({ read }) => Result.merge(read))
    }
    const urls = (all: ReadonlyArray<ServiceInstance | string>) =>
      all.map((read) => typeof read === "object" && "url" in read.endpoint ? read.endpoint.url : read)
    assert.deepStrictEqual(urls(families(["IPv4", "IPv6"])), ["http://10.0.0.1:3000/mcp"])
    assert.deepStrictEqual(urls(families(["IPv6", "IPv4"])), ["http://[fd00::1]:3000/mcp"])
  })

  it("of one that is in two slices, and of two at one address, the better counts", () => {
    const ending = { ready: false, serving: true, terminating: true }
    assert.strictEqual(first([{ ...pod, ...ending }, pod]).status, "up")
    const reused = read([{ ...pod, ...ending }, { ...pod, pod: "weather-next" }])
    assert.deepStrictEqual(reused.map((read) => typeof read === "object" ? read.id : read), ["mcp/weather-next:3000"])
  })

  it("a wrong annotation rejects the endpoints with its name", () => {
    const reason = (annotations: Record<string, string>) => read([pod], { annotations })[0]
    assert.strictEqual(reason({ "portolan.dev/tools": "[x" }), "portolan.dev/tools: not JSON")
    assert.include(String(reason({ "portolan.dev/weight": "heavy" })), "weight: ")
    assert.include(String(reason({ "portolan.dev/kind": "server" })), "kind: ")
    assert.include(String(reason({ "portolan.dev/transport": "stdio" })), "endpoint")
    assert.strictEqual(
      reason({ "portolan.dev/scheme": "http://elsewhere.example/?" }),
      "portolan.dev/scheme: expected http, https, ws or wss"
    )
  })

  it("a slice with a record is that record, and its condition counts where it is worse", () => {
    const record = {
      id: "weather-1",
      service: "weather",
      endpoint: { transport: "stdio", command: "npx" },
      status: "up"
    }
    const annotations = { "portolan.dev/record": JSON.stringify(record) }
    assert.deepInclude(first([], {}, { annotations, ports: [] }), { id: "weather-1", status: "up" })
    assert.strictEqual(first([{ ...pod, ready: false }], {}, { annotations }).status, "down")
    assert.deepStrictEqual(read([], {}, { annotations: { "portolan.dev/record": "[]" } }), [
      "portolan.dev/record: not a record"
    ])
  })

  it("by choice a Service is one instance, at the address that its clients have", () => {
    const readService = (spec: object, status = {}) => {
      const of = { ...service("weather", { ports: [{ name: "mcp", port: 80 }] }), status }
      const whole = object(Objects.readService({ ...of, spec: { ports: [{ name: "mcp", port: 80 }], ...spec } }))
      return KubernetesRecord.readService(whole).map(({ read }) => {
        const instance = Result.merge(read)
        return typeof instance === "object" && "url" in instance.endpoint
          ? [instance.id, instance.endpoint.url, instance.status]
          : instance
      })
    }
    assert.deepStrictEqual(readService({}), [["mcp/weather:80", "http://weather.mcp.svc:80/mcp", "up"]])
    assert.deepStrictEqual(readService({ type: "ExternalName", externalName: "weather.example" }), [
      ["mcp/weather:80", "http://weather.example:80/mcp", "up"]
    ])
    assert.deepStrictEqual(
      readService({ type: "LoadBalancer" }, { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } }),
      [
        ["mcp/weather:80", "http://192.0.2.1:80/mcp", "up"]
      ]
    )
    assert.deepStrictEqual(readService({ ports: [{ name: "dns", port: 53, protocol: "UDP" }] }), [])
  })
})
