/**
 * The state that a client of the stateless era carries from one round of a call to the next: which server the call is at, and
 * what that server wants to hear again.
 *
 * **Details**: sealed, for one caller, one method, one target and its arguments, and for a time. What was altered, belongs to
 * somebody else or to another request, or came too late is refused.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr#server-requirements-basic-workflow
 * @since 0.2.0
 */
import { createHash } from "node:crypto"
import { canonicalJson } from "../../internal/canonicalJson.ts"
import type * as Seal from "../Seal.ts"

/**
 * What a state is for.
 *
 * @category models
 * @since 0.2.0
 */
export interface Subject {
  readonly principal: string | undefined
  readonly method: string
  /** As clients name it. */
  readonly name: string
  readonly service: string
  /** Of the request, if it has any. */
  readonly arguments: unknown
}

/**
 * What a state says: which instance the server's own state came from; which one is to be called again, as if for the first
 * time; or which call waits here.
 *
 * @category models
 * @since 0.2.0
 */
export type State =
  | { readonly _tag: "Server"; readonly source: string; readonly instance: string; readonly own: string | undefined }
  | { readonly _tag: "Again"; readonly source: string; readonly instance: string }
  | { readonly _tag: "Parked"; readonly gateway: string; readonly call: number; readonly round: number }

/**
 * Seals and opens states. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface RequestState {
  readonly seal: (subject: Subject, state: State) => string
  /** Gives why it is refused, as one line, where it is. */
  readonly open: (text: unknown, subject: Subject) => State | string
}

const Format = 1
/** Longest text that is looked at. */
const MaxLength = 1_048_576

/**
 * The longest state of a server that can be carried, in bytes of JSON: sealed, it is longer.
 *
 * @category constants
 * @since 0.2.0
 */
export const MaxOwn = 524_288

/** Digest of the arguments, in whatever order they come; none are empty ones. */
const digestOf = (subject: Subject): string =>
  createHash("sha256").update(canonicalJson(subject.arguments ?? {})).digest("base64url")

const contextOf = ({ principal }: Subject): string => principal === undefined ? "" : `principal ${principal}`

const encode = (state: State): ReadonlyArray<unknown> => {
  switch (state._tag) {
    case "Server":
      return ["s", state.source, state.instance, state.own ?? null]
    case "Again":
      return ["a", state.source, state.instance]
    case "Parked":
      return ["p", state.gateway, state.call, state.round]
  }
}

const decode = (kind: unknown, given: ReadonlyArray<unknown>): State | undefined => {
  const [first, second, third] = given
  if (typeof first !== "string") return undefined
  if (kind === "a" && typeof second === "string") return { _tag: "Again", source: first, instance: second }
  if (kind === "s" && typeof second === "string" && (third === null || typeof third === "string")) {
    return { _tag: "Server", source: first, instance: second, own: third ?? undefined }
  }
  return kind === "p" && typeof second === "number" && typeof third === "number"
    ? { _tag: "Parked", gateway: first, call: second, round: third }
    : undefined
}

/**
 * Makes it. `lifetime` is asked for each state, ms; `now` is in epoch ms.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (seals: Seal.Seals, lifetime: () => number, now: () => number): RequestState => {
  const { open, seal } = seals.of("portolan request state", MaxLength)
  return {
    seal: (subject, state) => {
      const { method, name, service } = subject
      const head = [Format, method, name, service, digestOf(subject), now() + lifetime()]
      return seal([...head, ...encode(state)], contextOf(subject))
    },
    open: (text, subject) => {
      const value = typeof text === "string" ? open(text, contextOf(subject)) : undefined
      if (!Array.isArray(value) || value[0] !== Format) {
        return "requestState is not one that was given to this caller, or it was altered"
      }
      const [, method, name, service, digest, expires, kind, ...content]: ReadonlyArray<unknown> = value
      if (method !== subject.method || name !== subject.name || service !== subject.service) {
        return `requestState was given for ${String(method)} of ${String(name)}, not for this request`
      }
      if (digest !== digestOf(subject)) {
        return `requestState was given for other arguments of ${subject.name}: send those again that the request had`
      }
      if (typeof expires !== "number" || expires <= now()) {
        return "requestState has expired: begin the request anew, without it"
      }
      return decode(kind, content) ?? "requestState is not one of this version of the gateway"
    }
  }
}
