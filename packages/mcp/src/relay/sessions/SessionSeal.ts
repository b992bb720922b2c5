/**
 * Session ids that describe themselves: what a session is, sealed, so that any replica with the key can go on with it.
 *
 * @since 0.1.0
 */
import { type Fields, isFields } from "../../JsonRpc.ts"
import type * as Seal from "../Seal.ts"

/**
 * What an id seals.
 *
 * @category models
 * @since 0.1.0
 */
export interface SealedSession {
  readonly protocolVersion: string
  readonly info: Fields
  readonly capabilities: Fields
  readonly principal: string | undefined
  /** Epoch ms after which the id is refused. */
  readonly expires: number
  /** Random; the same for the life of the session, on every replica. */
  readonly affinity: string
}

/**
 * Seals and opens.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionSeal {
  readonly seal: (session: SealedSession) => string
  /** `undefined` for anything that this key did not seal. */
  readonly open: (id: string) => SealedSession | undefined
}

const Format = 1
/** An id longer than this is not looked at. Headers of all kinds have 16 KiB in Node. */
const MaxIdLength = 8_192

/**
 * Makes it of the seals of the gateway's key.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (seals: Seal.Seals): SessionSeal => {
  const { open, seal } = seals.of("portolan session id", MaxIdLength)
  return {
    seal: ({ affinity, capabilities, expires, info, principal, protocolVersion }) =>
      seal([Format, protocolVersion, info, capabilities, principal ?? null, expires, affinity]),
    open: (id) => decode(open(id))
  }
}

const decode = (value: unknown): SealedSession | undefined => {
  if (!Array.isArray(value) || value[0] !== Format) return undefined
  const [, protocolVersion, info, capabilities, principal, expires, affinity]: ReadonlyArray<unknown> = value
  return typeof protocolVersion === "string" && isFields(info) && isFields(capabilities) &&
      (principal === null || typeof principal === "string") && typeof expires === "number" &&
      typeof affinity === "string"
    ? { protocolVersion, info, capabilities, principal: principal ?? undefined, expires, affinity }
    : undefined
}

const longestName = 128
const text = (value: unknown): string => typeof value === "string" ? value.slice(0, longestName) : ""

/** More than that is cut, bytes. */
const longestCapabilities = 2_048

/** Capabilities that servers go by, and what of each makes a difference. */
const known: Readonly<Record<string, ReadonlyArray<string>>> = {
  roots: ["listChanged"],
  sampling: ["context", "tools"],
  elicitation: ["form", "url"],
  tasks: ["list", "cancel"]
}

/** What is said of a detail: yes or no, or that it is there. */
const said = (name: string, value: unknown): ReadonlyArray<readonly [string, unknown]> =>
  typeof value === "boolean" ? [[name, value]] : isFields(value) ? [[name, {}]] : []

/**
 * Cuts what a client said of itself down to what an id can hold: its name and version, and its capabilities, of which
 * all goes that servers don't go by.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fitting = (
  info: unknown,
  capabilities: unknown
): { readonly info: Fields; readonly capabilities: Fields } => {
  const named = isFields(info) ? { name: text(info["name"]), version: text(info["version"]) } : {}
  const declared = isFields(capabilities) ? capabilities : {}
  if (Buffer.byteLength(JSON.stringify(declared)) <= longestCapabilities) return { info: named, capabilities: declared }
  const kept: Record<string, Fields> = {}
  for (const [name, details] of Object.entries(known)) {
    const value = declared[name]
    if (isFields(value)) kept[name] = Object.fromEntries(details.flatMap((detail) => said(detail, value[detail])))
  }
  return { info: named, capabilities: kept }
}
