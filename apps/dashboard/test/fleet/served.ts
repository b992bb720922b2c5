/**
 * A gateway of its own behind HTTP, which does what a test tells it: sends events, falls silent, refuses, goes away.
 */
import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import type { Event } from "../../src/api/types.ts"
import { Gateway } from "./gateway.ts"

export interface Served {
  readonly gateway: Gateway
  /** With a slash at its end. */
  readonly url: string
  /** What watchers asked with, and those that are connected. */
  readonly asked: Array<IncomingMessage["headers"]>
  readonly watchers: Set<ServerResponse>
  /** Paths of other requests. */
  readonly requests: Array<string>
  /** What a watcher is greeted with; default `retry:` and a snapshot. */
  greet: (response: ServerResponse, headers: IncomingMessage["headers"]) => void
  readonly send: (event: Event | undefined) => void
  /** Waits until a watcher comes that wasn't there. */
  readonly watcher: () => Promise<ServerResponse>
  readonly close: () => Promise<void>
}

/** Of a series without points. */
const columns = { calls: [], failures: [], inFlight: [], p50: [], p95: [], failovers: [], memory: [] }

export const text = ({ data, event, id }: Event): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`

export const serve = async (port = 0, gateway = new Gateway()): Promise<Served> => {
  const asked: Array<IncomingMessage["headers"]> = []
  const requests: Array<string> = []
  const watchers = new Set<ServerResponse>()
  const come: Array<(response: ServerResponse) => void> = []
  const answers = new Map<string, unknown>([
    ["/api/v1/changes", { items: [] }],
    ["/api/v1/reports/series", { step: 10, times: [], gateway: columns, services: [] }]
  ])
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://x").pathname
    if (path !== "/api/v1/events") {
      requests.push(path)
      const answer = answers.get(path)
      response.writeHead(answer === undefined ? 404 : 200, { "content-type": "application/json" })
      return void response.end(JSON.stringify(answer ?? { detail: "not found" }))
    }
    asked.push(request.headers)
    watchers.add(response)
    response.once("close", () => watchers.delete(response))
    served.greet(response, request.headers)
    come.shift()?.(response)
  })
  server.listen(port, "127.0.0.1")
  await once(server, "listening")
  const address: AddressInfo | string | null = server.address()
  const served: Served = {
    gateway,
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/`,
    asked,
    watchers,
    requests,
    greet: (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write(`retry: 1000\n\n${text(gateway.snapshot())}`)
    },
    send: (event) => {
      if (event !== undefined) { for (const watcher of watchers) watcher.write(text(event)) }
    },
    watcher: () => new Promise((resolve) => come.push(resolve)),
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    }
  }
  return served
}
