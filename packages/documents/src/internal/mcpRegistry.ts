/**
 * MCP registries: the official one, and all that serve the same API.
 *
 * **Mental model**: a registry is read page by page, and then asked what it changed since. Its own clock says since when,
 * and every so often everything is read again, for what it took away without a word. Nothing counts before the last page
 * was read.
 *
 * @see https://github.com/modelcontextprotocol/registry
 */
import type { Rejected, Snapshot } from "@portolan/core/Registry"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Documents } from "./documents.ts"
import { DocumentError, type Get, shown } from "./http.ts"
import { list, text } from "./inputs.ts"
import { type Read, type Records, rejection, type Source } from "./listing.ts"
import { endpointOf, Package } from "./packages.ts"
import * as ServerCard from "./serverCard.ts"

/** Schema of a `server.json`, as far as it is read. */
const ServerJson = Schema.Struct({
  ...ServerCard.fields,
  // Each is read where it may be run, and judged by itself.
  packages: Schema.optionalKey(list(Schema.Unknown, 64))
})
type ServerJson = typeof ServerJson.Type

/** Key of what a registry says of a server besides its `server.json`. */
const official = "io.modelcontextprotocol.registry/official"

// The server is judged by itself: the rest tells which one it is.
const Entry = Schema.Struct({
  server: Schema.Unknown,
  _meta: Schema.optionalKey(Schema.Struct({
    [official]: Schema.optionalKey(Schema.Struct({
      status: Schema.optionalKey(text(64)),
      statusMessage: Schema.optionalKey(text(500)),
      publishedAt: Schema.optionalKey(text(64)),
      updatedAt: Schema.optionalKey(text(64)),
      isLatest: Schema.optionalKey(Schema.Boolean)
    }))
  }))
})

const List = Schema.Struct({
  // Each is judged by itself.
  servers: Schema.Array(Schema.Unknown).pipe(Schema.check(Schema.isMaxLength(10_000))),
  metadata: Schema.optionalKey(Schema.Struct({ nextCursor: Schema.optionalKey(text(4096)) }))
})

/** A version of a server, and what becomes of it: nothing, where it was deleted. */
interface Version extends Records {
  readonly name: string
  readonly version: string
  readonly isLatest: boolean | undefined
  readonly publishedAt: string
  readonly updatedAt: string
}

interface Page {
  readonly versions: ReadonlyArray<Version>
  readonly next: string | undefined
}

/** Servers asked for in a request: the most that the official registry gives. */
const pageSize = 100
const mostPages = 2_000
const mostServers = 100_000

/** Polls from one reading of everything to the next. */
const increments = 12

/** ms before the newest change that is known: what was written side by side with it may have come later. */
const overlap = 10_000

/** Where the list is, below the base address of a registry. */
export const location = ({ pathname }: URL): string =>
  /\/servers\/?$/.test(pathname) ? pathname : `${pathname.replace(/\/+$/, "")}/v0.1/servers`

/** Makes what reads a registry: everything at first, then what changed. */
export const reader = ({ home, search, terms }: Source): Read => {
  // What was read, and how: nothing of a reading that failed.
  let servers: ReadonlyMap<string, Version> = new Map()
  let snapshot: Snapshot | undefined
  let newest = ""
  let since: string | undefined
  let left = 0
  const pages = new Documents("application/json", (value) =>
    decodePage(value, (entry, index) => {
      // One that says the same as before is the same: nothing is kept twice.
      const name = nameIn(entry) ?? `servers.${index}`
      const known = servers.get(name)
      const version = versionOf(entry, name, known, { home, terms })
      return known !== undefined && ServiceInstance.equals(known, version) ? known : version
    }))

  const addressOf = (query: Readonly<Record<string, string | undefined>>): URL => {
    const url = new URL(home)
    for (const [name, value] of Object.entries({ version: "latest", limit: String(pageSize), search, ...query })) {
      if (value !== undefined) url.searchParams.set(name, value)
    }
    return url
  }

  /** All pages of a query into `found`; answers the time of the newest change. */
  const read = Effect.fnUntraced(function*(get: Get, found: Map<string, Version>, updatedSince: string | undefined) {
    const cursors = new Set<string>()
    let cursor: string | undefined
    let last = ""
    do {
      const { value: page } = yield* pages.get(get, addressOf({ cursor, updated_since: updatedSince }))
      for (const version of page.versions) {
        take(found, version)
        if (version.updatedAt > last) last = version.updatedAt
      }
      cursor = page.next
      if (cursor !== undefined && cursors.has(cursor)) {
        return yield* new DocumentError({ reason: `${shown(home)} gave the same page again` })
      }
      if (cursor !== undefined) cursors.add(cursor)
      if (cursors.size >= mostPages || found.size > mostServers) {
        const most = `${mostServers} servers or ${mostPages} pages`
        return yield* new DocumentError({ reason: `${shown(home)} lists more than ${most}; narrow it with \`search\`` })
      }
    } while (cursor !== undefined)
    return last
  })

  return Effect.fnUntraced(function*(get: Get) {
    const updatedSince = left > 0 ? since : undefined
    const found = new Map(updatedSince === undefined ? [] : servers)
    // After a reading that failed comes one of everything.
    const remaining = left
    left = 0
    const [took, last] = yield* Effect.timed(read(get, found, updatedSince))
    if (updatedSince === undefined || last > newest) {
      newest = last
      // What changed on a page that had been read is older than this by the time of the reading at most.
      since = last === "" ? undefined : before(last, Math.ceil(Duration.toMillis(took)) + overlap)
    }
    left = updatedSince === undefined ? increments : remaining - 1
    if (updatedSince === undefined) pages.turn()
    if (snapshot === undefined || !isSame(servers, found)) snapshot = snapshotOf(found)
    servers = found
    return snapshot
  })
}

/** Takes a version, unless it is an older one than is there. */
const take = (found: Map<string, Version>, version: Version): void => {
  const held = found.get(version.name)
  const counts = held === undefined || held.version === version.version ||
    (version.isLatest ?? version.publishedAt >= held.publishedAt)
  if (counts) found.set(version.name, version)
}

const isSame = (self: ReadonlyMap<string, Version>, that: ReadonlyMap<string, Version>): boolean => {
  if (self.size !== that.size) return false
  for (const [name, version] of self) if (that.get(name) !== version) return false
  return true
}

const snapshotOf = (servers: ReadonlyMap<string, Version>): Snapshot => {
  const instances: Array<ServiceInstance.ServiceInstance> = []
  const rejected: Array<Rejected> = []
  for (const version of servers.values()) {
    instances.push(...version.instances)
    rejected.push(...version.rejected)
  }
  return Registry.snapshot(instances, rejected)
}

/** RFC 3339, as `updated_since` wants it: so many ms before a time. */
const before = (time: string, ms: number): string => new Date(Date.parse(time) - ms).toISOString()

const decodeList = Schema.decodeUnknownResult(List)
const decodeEntry = Schema.decodeUnknownResult(Entry)
const decodeServer = Schema.decodeUnknownResult(ServerJson, { errors: "all" })
const decodePackage = Schema.decodeUnknownResult(Package, { errors: "all" })

const decodePage = (
  value: unknown,
  versionOf: (entry: unknown, index: number) => Version
): Result.Result<Page, string> =>
  Result.mapBoth(decodeList(value), {
    onFailure: () => "it is no list of servers; is this an MCP registry?",
    onSuccess: ({ metadata, servers }) => ({
      versions: servers.map(versionOf),
      next: metadata?.nextCursor || undefined
    })
  })

const versionOf = (value: unknown, name: string, known: Records | undefined, source: Source): Version => {
  const entry = decodeEntry(value)
  const meta = Result.getOrUndefined(entry)?._meta?.[official]
  const server = Result.flatMap(entry, ({ server }) => decodeServer(server))
  const updatedAt = Date.parse(meta?.updatedAt ?? "")
  const records = meta?.status === "deleted"
    ? { instances: [], rejected: [] }
    : Result.isFailure(server)
    ? rejection(name, ServiceInstance.explain(server.failure.issue), known)
    : recordsOf(server.success, meta, source)
  return {
    name,
    version: textIn(serverIn(value), "version") ?? "",
    isLatest: meta?.isLatest,
    publishedAt: meta?.publishedAt ?? "",
    updatedAt: updatedAt > 0 ? new Date(updatedAt).toISOString() : "",
    ...records
  }
}

const serverIn = (entry: unknown): unknown => Predicate.hasProperty(entry, "server") ? entry.server : undefined

/** The name of a server, however wrong the rest of its entry is. */
const nameIn = (entry: unknown): string | undefined => textIn(serverIn(entry), "name")

const textIn = (value: unknown, field: string): string | undefined =>
  Predicate.hasProperty(value, field) && Predicate.isString(value[field]) ? value[field].slice(0, 255) : undefined

/** A server is reached at its addresses; where none can be used, its first package that can be run is. */
const recordsOf = (
  server: ServerJson,
  meta: { readonly status?: string; readonly statusMessage?: string } | undefined,
  { home, terms }: Source
): Records => {
  const id = server.name
  const isDeprecated = meta?.status === "deprecated"
  const listing = {
    id,
    from: home,
    tags: isDeprecated ? ["deprecated"] : undefined,
    metadata: isDeprecated ? { deprecated: meta.statusMessage ?? true } : undefined
  }
  const packages = server.packages ?? []
  const remote = ServerCard.read(server, listing, terms)
  if (packages.length === 0 || remote.instances.length > 0) return remote
  const hasRemotes = server.remotes !== undefined && server.remotes.length > 0
  const reasons = hasRemotes ? remote.rejected.slice(0, 1).map(({ reason }) => `remotes: ${reason}`) : []
  if (!terms.mayRun) reasons.push(untrusted)
  else {
    for (const item of packages) {
      const instance = Result.mapError(decodePackage(item), ({ issue }) => ServiceInstance.explain(issue)).pipe(
        Result.flatMap((item) => endpointOf(item, terms.given)),
        Result.flatMap((endpoint) => ServerCard.instanceOf(server, listing, endpoint))
      )
      if (Result.isSuccess(instance)) return { instances: [instance.success], rejected: [] }
      reasons.push(`packages: ${instance.failure}`)
    }
  }
  return {
    instances: [],
    rejected: [{ id, reason: reasons.join("; ") }, ...hasRemotes ? remote.rejected.slice(1) : []]
  }
}

const untrusted = "packages: running one starts a process, which this registry isn't trusted to do; " +
  "announce the server in a local file, or set `trust: full` on this registry"
