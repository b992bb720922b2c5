/**
 * How long requests take, by method, target and outcome: histograms of OpenTelemetry's conventions for MCP.
 *
 * **Details**: no label is ever what a caller wrote. Methods are those of MCP; names are those that the caller of this
 * vouches for, `MaxNames` at most, the one not used for longest making room; errors are known codes and a few words. All
 * else is `_OTHER`.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { handshakeVersions, statelessVersions } from "../Era.ts"
import { Code, type Fields, type Reply } from "../JsonRpc.ts"
import { boundaries, type Family, type Histogram, type Instruments, type Labels, other } from "./Instruments.ts"

/**
 * A class of errors, and the JSON-RPC code where there was one.
 *
 * @category models
 * @since 0.1.0
 */
export interface OperationError {
  readonly type: string
  readonly code?: string | undefined
}

/**
 * Records that an operation ends now, of one peer or of many that look the same. Plain.
 *
 * @category models
 * @since 0.1.0
 */
export type Recorder = (
  method: string,
  /** The tool or prompt, where there is one that is known. */
  target: string | undefined,
  /** By the clock of the operations. */
  began: number,
  error: OperationError | undefined
) => void

/**
 * Makes recorders.
 *
 * @category models
 * @since 0.1.0
 */
export interface Operations {
  /** The clock: ms. */
  readonly now: () => number
  /** The recorder of a peer; peers that look the same share one. Keep it. */
  readonly of: (peer: Peer) => Recorder
  /** Removes the series of a service that is gone. */
  readonly forget: (service: string) => void
}

/**
 * What the other side is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Peer {
  readonly protocolVersion: string | undefined
  readonly transport: "tcp" | "pipe" | undefined
  readonly service?: string | undefined
}

/** Names of tools and prompts that get series of their own. */
const MaxNames = 200
/** Services that get series of their own. */
const MaxServices = 200
/** ms that a name must have been unused to make room. */
const MinAge = 60_000

const methods: ReadonlySet<string> = new Set([
  "completion/complete",
  "discovery/discover",
  "initialize",
  "logging/setLevel",
  "ping",
  "prompts/get",
  "prompts/list",
  "resources/list",
  "resources/read",
  "resources/subscribe",
  "resources/templates/list",
  "resources/unsubscribe",
  "server/discover",
  "subscriptions/listen",
  "tasks/cancel",
  "tasks/get",
  "tasks/list",
  "tasks/result",
  "tasks/update",
  "tools/call",
  "tools/list"
])

/** Methods whose target is a name of few values, and the attribute that it stands in. */
const attributes: Readonly<Record<string, string>> = {
  "tools/call": "gen_ai.tool.name",
  "prompts/get": "gen_ai.prompt.name"
}

const versions: ReadonlySet<string> = new Set([...handshakeVersions, ...statelessVersions])
const codes: ReadonlySet<number> = new Set([...Object.values(Code), -32000, -32001, -32002])

/**
 * Gives the name of what a request is about, where its values are few.
 *
 * @category accessors
 * @since 0.1.0
 */
export const targetOf = (method: string, params: Fields | undefined): string | undefined => {
  if (!Object.hasOwn(attributes, method)) return undefined
  const name = params?.["name"]
  return typeof name === "string" ? name : undefined
}

/**
 * Gives a method as a label.
 *
 * @category accessors
 * @since 0.1.0
 */
export const methodOf = (method: string): string => methods.has(method) ? method : other

const toolError: OperationError = { type: "tool_error" }
const unknownCode: OperationError = { type: other, code: other }
const codeErrors = new Map(
  Array.from(codes, (code): [number, OperationError] => [code, { type: String(code), code: String(code) }])
)

/** Whoever asked gave up. */
export const cancelled: OperationError = { type: "cancelled" }
const defect: OperationError = { type: other }

/**
 * Gives the error that a reply tells of.
 *
 * @category accessors
 * @since 0.1.0
 */
export const errorOfReply = (reply: Reply): OperationError | undefined =>
  "error" in reply
    ? codeErrors.get(reply.error.code) ?? unknownCode
    : reply.result["isError"] === true
    ? toolError
    : undefined

/**
 * Gives the error that an operation ended with; `undefined` for a good end. `failed` says what a failure is.
 *
 * @category accessors
 * @since 0.1.0
 */
export const errorOf = <E>(exit: Exit.Exit<Reply, E>, failed: (error: E) => string): OperationError | undefined => {
  if (Exit.isSuccess(exit)) return errorOfReply(exit.value)
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isSome(error)) return { type: failed(error.value) }
  return Cause.hasInterruptsOnly(exit.cause) ? cancelled : defect
}

/**
 * Attributes of a method and its target, for metrics and spans.
 *
 * @category accessors
 * @since 0.1.0
 */
export const attributesOf = (method: string, target: string | undefined): Record<string, string> => {
  const labels: Record<string, string> = { "mcp.method.name": method }
  const attribute = attributes[method]
  if (attribute !== undefined && target !== undefined) labels[attribute] = target
  if (method === "tools/call") labels["gen_ai.operation.name"] = "execute_tool"
  return labels
}

/**
 * Attributes of a peer, for metrics and spans.
 *
 * @category accessors
 * @since 0.1.0
 */
export const attributesOfPeer = ({ protocolVersion, service, transport }: Peer): Record<string, string> => {
  const labels: Record<string, string> = {}
  if (protocolVersion !== undefined) {
    labels["mcp.protocol.version"] = versions.has(protocolVersion) ? protocolVersion : other
  }
  if (transport !== undefined) labels["network.transport"] = transport
  if (service !== undefined) labels["portolan.service"] = service
  return labels
}

/** A tool or prompt that has series of its own. */
interface Name {
  /** ms of the clock. */
  usedAt: number
  /** Where its series are. */
  readonly places: Set<Map<string, Series>>
}

/** One method and target of one peer: a histogram for each outcome. */
class Series {
  readonly name: Name | undefined
  readonly #make: (error: OperationError | undefined) => Histogram
  #good: Histogram | undefined
  readonly #bad = new Map<string, Histogram>()

  constructor(name: Name | undefined, make: (error: OperationError | undefined) => Histogram) {
    this.name = name
    this.#make = make
  }

  of(error: OperationError | undefined): Histogram {
    if (error === undefined) return this.#good ??= this.#make(undefined)
    let histogram = this.#bad.get(error.type)
    if (histogram === undefined) this.#bad.set(error.type, histogram = this.#make(error))
    return histogram
  }

  remove(): void {
    this.#good?.remove()
    for (const histogram of this.#bad.values()) histogram.remove()
  }
}

/**
 * Makes the operations of a family.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (instruments: Instruments, family: Family, now: () => number): Operations => {
  /** By service, then by what else the peer is. */
  const peers = new Map<string, Map<string, { readonly record: Recorder; readonly remove: () => void }>>()
  const names = new Map<string, Name>()
  let fullAt = -Infinity

  /** The entry of a name, or nothing where all are in use. */
  const admit = (name: string): Name | undefined => {
    const known = names.get(name)
    if (known !== undefined) return known
    if (names.size >= MaxNames) {
      const at = now()
      if (at - fullAt < 1_000) return undefined
      let oldest: readonly [string, Name] | undefined
      for (const entry of names) if (oldest === undefined || entry[1].usedAt < oldest[1].usedAt) oldest = entry
      if (oldest === undefined || at - oldest[1].usedAt < MinAge) {
        fullAt = at
        return undefined
      }
      names.delete(oldest[0])
      for (const place of oldest[1].places) {
        place.get(oldest[0])?.remove()
        place.delete(oldest[0])
      }
    }
    const made: Name = { usedAt: now(), places: new Set() }
    names.set(name, made)
    return made
  }

  const peer = (labels: Labels) => {
    const methodSeries = new Map<string, Map<string, Series>>()

    const seriesOf = (method: string, target: string, found: Map<string, Series>): Series => {
      const named = Object.hasOwn(attributes, method)
      const name = named && target !== "" ? admit(target) : undefined
      const label = name === undefined ? named ? other : undefined : target
      const key = name === undefined ? "" : target
      const there = found.get(key)
      if (there !== undefined) return there
      const own = { ...attributesOf(method, label), ...labels }
      const series = new Series(name, (error) =>
        instruments.histogram(
          family,
          error === undefined ? own : {
            ...own,
            "error.type": error.type,
            ...(error.code === undefined ? undefined : { "rpc.response.status_code": error.code })
          },
          boundaries
        ))
      name?.places.add(found)
      found.set(key, series)
      return series
    }

    const record: Recorder = (method, target = "", began, error) => {
      const known = methodOf(method)
      let found = methodSeries.get(known)
      if (found === undefined) methodSeries.set(known, found = new Map())
      const series = found.get(target) ?? seriesOf(known, target, found)
      const at = now()
      if (series.name !== undefined) series.name.usedAt = at
      series.of(error).record((at - began) / 1_000)
    }

    const remove = () => {
      for (const found of methodSeries.values()) {
        for (const series of found.values()) {
          series.name?.places.delete(found)
          series.remove()
        }
        found.clear()
      }
    }
    return { record, remove }
  }

  return {
    now,
    of: (given) => {
      const service = given.service === undefined || peers.has(given.service) || peers.size < MaxServices
        ? given.service
        : other
      const labels = attributesOfPeer({ ...given, service })
      let found = peers.get(service ?? "")
      if (found === undefined) peers.set(service ?? "", found = new Map())
      const key = `${labels["mcp.protocol.version"]} ${labels["network.transport"]}`
      let made = found.get(key)
      if (made === undefined) found.set(key, made = peer(labels))
      return made.record
    },
    forget: (service) => {
      for (const { remove } of peers.get(service)?.values() ?? []) remove()
      peers.delete(service)
    }
  }
}
