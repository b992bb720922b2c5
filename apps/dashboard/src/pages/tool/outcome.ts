/**
 * What a tool answered, read for people: nothing of it is trusted to have the shape that it should.
 */
import type { Ended } from "./call.ts"
import { readable } from "./json.ts"
import { isObject, type Schema } from "./schema.ts"

export type Block =
  | { readonly kind: "text"; readonly text: string }
  /** As it came, and set for people. */
  | { readonly kind: "json"; readonly text: string; readonly set: string }
  | { readonly kind: "image"; readonly source: string; readonly type: string; readonly bytes: number }
  /** Something to keep: sounds, and what else a page can't show. */
  | {
    readonly kind: "file"
    readonly name: string
    readonly type: string
    readonly base64: string
    readonly bytes: number
  }
  | { readonly kind: "resource"; readonly uri: string; readonly type: string; readonly text: string }
  | { readonly kind: "link"; readonly uri: string; readonly title: string; readonly description: string }

const text = (from: Schema, name: string): string => {
  const value: unknown = from[name]
  return typeof value === "string" ? value : ""
}

const bytesOf = (base64: string): number => Math.floor(base64.length * 3 / 4)

const fileOf = (name: string, type: string, base64: string): Block =>
  /^image\/[\w.+-]+$/.test(type)
    ? { kind: "image", source: `data:${type};base64,${base64}`, type, bytes: bytesOf(base64) }
    : { kind: "file", name, type, base64, bytes: bytesOf(base64) }

const blockOf = (item: unknown): Block => {
  const whole = JSON.stringify(item, undefined, 2) ?? ""
  const json: Block = { kind: "json", text: whole, set: whole }
  if (!isObject(item)) return json
  switch (item["type"]) {
    case "text": {
      const said = text(item, "text")
      const set = readable(said)
      return set === undefined ? { kind: "text", text: said } : { kind: "json", text: said, set }
    }
    case "image":
    case "audio":
      return fileOf(text(item, "type"), text(item, "mimeType"), text(item, "data"))
    case "resource_link":
      return {
        kind: "link",
        uri: text(item, "uri"),
        title: text(item, "title") || text(item, "name"),
        description: text(item, "description")
      }
    case "resource": {
      const resource: unknown = item["resource"]
      if (!isObject(resource)) return json
      const [uri, type] = [text(resource, "uri"), text(resource, "mimeType")]
      return typeof resource["blob"] === "string"
        ? fileOf(uri.slice(uri.lastIndexOf("/") + 1) || "resource", type, resource["blob"])
        : { kind: "resource", uri, type, text: text(resource, "text") }
    }
    default:
      return json
  }
}

export const blocksOf = (result: Schema): ReadonlyArray<Block> => {
  const content: unknown = result["content"]
  return Array.isArray(content) ? content.map(blockOf) : []
}

interface FailedAttempt {
  readonly instance: string
  readonly phase: string
  readonly reason: string
}

/** How the gateway came by an answer, as far as it says. */
export interface Routed {
  readonly instance: string | undefined
  readonly source: string | undefined
  readonly service: string | undefined
  readonly why: string | undefined
  readonly strategy: string | undefined
  /** ms, as the gateway measured it. */
  readonly latency: number | undefined
  readonly queued: number | undefined
  readonly attempts: number | undefined
  readonly failovers: number | undefined
  readonly hedged: boolean
  readonly failed: ReadonlyArray<FailedAttempt>
}

const numberIn = (from: Schema, name: string): number | undefined => {
  const value: unknown = from[name]
  return typeof value === "number" ? value : undefined
}

const routedFrom = (told: unknown): Routed | undefined => {
  if (!isObject(told)) return undefined
  const failed: unknown = told["failed"]
  const routed = {
    instance: text(told, "instance") || undefined,
    source: text(told, "source") || undefined,
    service: text(told, "service") || undefined,
    why: text(told, "why") || undefined,
    strategy: text(told, "strategy") || undefined,
    latency: numberIn(told, "latency"),
    queued: numberIn(told, "queued"),
    attempts: numberIn(told, "attempts"),
    failovers: numberIn(told, "failovers"),
    hedged: told["hedged"] === true,
    failed: Array.isArray(failed)
      ? failed.filter(isObject).map((one) => ({
        instance: text(one, "instance"),
        phase: text(one, "phase"),
        reason: text(one, "reason")
      }))
      : []
  }
  return routed.instance === undefined && routed.failed.length === 0 ? undefined : routed
}

/** Errors of the gateway tell of it, too. */
export const routedOf = ({ ending }: Ended): Routed | undefined => {
  if (ending.kind === "error") return routedFrom(ending.data)
  const meta: unknown = ending.kind === "result" ? ending.result["_meta"] : undefined
  return isObject(meta) ? routedFrom(meta["dev.portolan/routing"]) : undefined
}

/** One thing that a server wants to know before it answers. */
interface Question {
  readonly key: string
  readonly method: string
  readonly message: string
  /** Where to go for it. */
  readonly url: string | undefined
  readonly schema: Schema
}

export interface Questions {
  readonly questions: ReadonlyArray<Question>
  readonly state: string | undefined
}

export const questionsOf = ({ ending }: Ended): Questions | undefined => {
  if (ending.kind !== "result" || ending.result["resultType"] !== "input_required") return undefined
  const { inputRequests, requestState } = ending.result
  return {
    questions: Object.entries(isObject(inputRequests) ? inputRequests : {}).map(([key, request]) => {
      const { method, params } = isObject(request) ? request : {}
      const told = isObject(params) ? params : {}
      const schema: unknown = told["requestedSchema"]
      return {
        key,
        method: typeof method === "string" ? method : "",
        message: text(told, "message"),
        url: text(told, "url") || undefined,
        schema: isObject(schema) ? schema : {}
      }
    }),
    state: typeof requestState === "string" ? requestState : undefined
  }
}

type Tone = "well" | "failed" | "asks" | "ended"

/** What became of it, in a word or two. */
export const verdictOf = (ended: Ended): { readonly tone: Tone; readonly text: string } => {
  const { ending } = ended
  switch (ending.kind) {
    case "cancelled":
      return { tone: "ended", text: "Cancelled" }
    case "refused":
      return { tone: "failed", text: ending.problem.status === 0 ? "No answer" : "Refused" }
    case "error":
      return { tone: "failed", text: "Failed" }
    case "result":
      return questionsOf(ended) !== undefined
        ? { tone: "asks", text: "Wants to know something" }
        : ending.result["isError"] === true
        ? { tone: "failed", text: "The tool says that it failed" }
        : { tone: "well", text: "Answered" }
  }
}

/** `812 B`, `14 kB`, `5.0 MB` */
export const size = (bytes: number): string =>
  bytes < 1000 ? `${bytes} B` : bytes < 999_500 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
