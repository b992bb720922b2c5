/** The list of an MCP registry as the official one serves it, from a map in memory. */
import type { Answer, Asked } from "./Host.ts"

export interface Server {
  readonly name: string
  readonly version: string
}

interface Stored {
  server: Server
  status: string
  statusMessage: string | undefined
  publishedAt: number
  updatedAt: number
  isLatest: boolean
}

const official = "io.modelcontextprotocol.registry/official"

export class StandIn {
  readonly #versions = new Map<string, Stored>()
  #now = Date.UTC(2026, 0, 1)
  /** ms between two writes; a minute: what an increment tells is what changed, and nothing by chance. */
  pace = 60_000
  /** Whether it tells when something changed, as not all do. */
  tellsTimes = true
  /** Whether it gives the latest versions only, when asked to, and whether it says which they are. */
  filtersLatest = true
  tellsLatest = true

  #tick(): number {
    this.#now += this.pace
    return this.#now
  }

  put(server: Server, status = "active", statusMessage?: string): void {
    const now = this.#tick()
    const key = `${server.name}:${server.version}`
    for (const stored of this.#versions.values()) if (stored.server.name === server.name) stored.isLatest = false
    const publishedAt = this.#versions.get(key)?.publishedAt ?? now
    this.#versions.set(key, { server, status, statusMessage, publishedAt, updatedAt: now, isLatest: true })
  }

  /** As a publisher deletes it. */
  delete(name: string): void {
    const now = this.#tick()
    for (const stored of this.#versions.values()) {
      if (stored.server.name !== name) continue
      stored.status = "deleted"
      stored.updatedAt = now
    }
  }

  /** As if it had never been. */
  drop(name: string): void {
    for (const [key, { server }] of this.#versions) if (server.name === name) this.#versions.delete(key)
  }

  clear(): void {
    this.#versions.clear()
  }

  /** The answer to a request for the list. */
  readonly answer = ({ path, query }: Asked): Answer => {
    if (path !== "/v0.1/servers") return { status: 404 }
    const since = query.get("updated_since")
    const cursor = query.get("cursor")
    const limit = Math.min(Number(query.get("limit") ?? 30), 100)
    const found = Array.from(this.#versions)
      .filter(([key, stored]) =>
        (cursor === null || key > cursor) &&
        (since === null ? stored.status !== "deleted" : stored.updatedAt > Date.parse(since)) &&
        (!this.filtersLatest || query.get("version") !== "latest" || stored.isLatest) &&
        stored.server.name.includes(query.get("search") ?? "")
      )
      .sort(([self], [that]) => self < that ? -1 : 1)
    const page = found.slice(0, limit)
    const servers = page.map(([, stored]) => ({
      server: stored.server,
      _meta: {
        [official]: {
          status: stored.status,
          ...(stored.statusMessage === undefined ? {} : { statusMessage: stored.statusMessage }),
          publishedAt: new Date(stored.publishedAt).toISOString(),
          ...(this.tellsTimes ? { updatedAt: new Date(stored.updatedAt).toISOString() } : {}),
          ...(this.tellsLatest ? { isLatest: stored.isLatest } : {})
        }
      }
    }))
    const next = found.length > limit ? page.at(-1)?.[0] : undefined
    return { body: { servers, metadata: { count: page.length, ...(next === undefined ? {} : { nextCursor: next }) } } }
  }
}

/** A server that is reached at an address. */
export const remote = (name: string, version: string, url: string, change: object = {}) => ({
  $schema: "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
  name,
  version,
  description: `What ${name} does`,
  remotes: [{ type: "streamable-http", url }],
  ...change
})
