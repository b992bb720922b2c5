/**
 * Session ids that describe themselves: what a session is, sealed, so that any replica with the key can go on with it.
 *
 * **Details**: AES-256-GCM over the JSON of the session, with a key derived from the configured one by HKDF-SHA256. Nobody
 * without the key can read, alter or make one. Base64url, so that a header can hold it.
 *
 * @see https://csrc.nist.gov/pubs/sp/800/38/d/final
 * @see https://www.rfc-editor.org/rfc/rfc5869
 * @since 0.1.0
 */
import * as Redacted from "effect/Redacted"
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto"
import { type Fields, isFields } from "../JsonRpc.ts"

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
const NonceLength = 12
const TagLength = 16
/** An id longer than this is not looked at. Headers of all kinds have 16 KiB in Node. */
const MaxIdLength = 8_192

/**
 * Makes a seal. Without a key it is random: the ids are this process's own.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (sessionKey: Redacted.Redacted<string> | undefined): SessionSeal => {
  const secret = sessionKey === undefined ? randomBytes(32) : Buffer.from(Redacted.value(sessionKey), "utf8")
  const key = Buffer.from(hkdfSync("sha256", secret, "", "portolan session id", 32))
  return {
    seal: (session) => {
      const nonce = randomBytes(NonceLength)
      const cipher = createCipheriv("aes-256-gcm", key, nonce)
      const { affinity, capabilities, expires, info, principal, protocolVersion } = session
      const plain = JSON.stringify([Format, protocolVersion, info, capabilities, principal ?? null, expires, affinity])
      const sealed = Buffer.concat([nonce, cipher.update(plain, "utf8"), cipher.final()])
      return Buffer.concat([sealed, cipher.getAuthTag()]).toString("base64url")
    },
    open: (id) => {
      if (id.length > MaxIdLength || !/^[A-Za-z0-9_-]+$/.test(id)) return undefined
      const bytes = Buffer.from(id, "base64url")
      if (bytes.length <= NonceLength + TagLength) return undefined
      try {
        const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, NonceLength), {
          authTagLength: TagLength
        })
        decipher.setAuthTag(bytes.subarray(bytes.length - TagLength))
        const plain = Buffer.concat([
          decipher.update(bytes.subarray(NonceLength, bytes.length - TagLength)),
          decipher.final()
        ])
        return decode(JSON.parse(plain.toString("utf8")))
      } catch {
        // Not sealed with this key.
        return undefined
      }
    }
  }
}

/**
 * A seal whose key may change: what the keys before it sealed is still opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface RotatingSeal extends SessionSeal {
  /** Seals with another key from now on. Plain. */
  readonly rotate: (sessionKey: Redacted.Redacted<string> | undefined) => void
}

/** Keys that still open. Sessions live for a day, and keys change more rarely than that. */
const KeysKept = 8

/**
 * Makes a seal whose key may change.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeRotating = (sessionKey: Redacted.Redacted<string> | undefined): RotatingSeal => {
  let current = make(sessionKey)
  let earlier: ReadonlyArray<SessionSeal> = []
  return {
    seal: (session) => current.seal(session),
    open: (id) => {
      const session = current.open(id)
      if (session !== undefined) return session
      for (const seal of earlier) {
        const found = seal.open(id)
        if (found !== undefined) return found
      }
      return undefined
    },
    rotate: (next) => {
      earlier = [current, ...earlier].slice(0, KeysKept - 1)
      current = make(next)
    }
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

/**
 * Cuts what a client said of itself down to what an id can hold: its name and version, and its capabilities, of which
 * the details go first.
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
  if (JSON.stringify(declared).length <= 2_048) return { info: named, capabilities: declared }
  const kept: Record<string, unknown> = {}
  for (const name of ["roots", "sampling", "elicitation", "tasks"]) {
    if (isFields(declared[name])) kept[name] = {}
  }
  return { info: named, capabilities: kept }
}
