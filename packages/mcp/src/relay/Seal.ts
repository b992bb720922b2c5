/**
 * Texts that only the gateway can make and read, which clients carry for it: session ids, states of requests, ids of tasks.
 * Any replica with the key reads them.
 *
 * **Details**: AES-256-GCM with a key derived from the configured one by HKDF-SHA256, another one for each purpose. Nobody
 * without the key can read, alter or make a text, and none serves another purpose or another context than its own.
 * Base64url, so that a header can hold it.
 *
 * @see https://csrc.nist.gov/pubs/sp/800/38/d/final
 * @see https://www.rfc-editor.org/rfc/rfc5869
 * @since 0.2.0
 */
import * as Redacted from "effect/Redacted"
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto"

/**
 * What a text is for. Part of how its key is derived: changing one makes all that were sealed before unreadable.
 *
 * @category models
 * @since 0.2.0
 */
export type Purpose = "portolan session id" | "portolan request state" | "portolan task id"

/**
 * Seals and opens for one purpose. The context is not in the text: who opens it must know it, as the caller and the method
 * that it belongs to.
 *
 * @category models
 * @since 0.2.0
 */
export interface Seal {
  /** Seals what JSON can hold. */
  readonly seal: (value: unknown, context?: string) => string
  /** `undefined` for anything that wasn't sealed with a key that is known, for this purpose and context. */
  readonly open: (text: string, context?: string) => unknown
}

/**
 * The seals of one key, which may change: what the keys before it sealed is still opened. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Seals {
  readonly of: (purpose: Purpose, maxLength: number) => Seal
  /** Seals with another key from now on. */
  readonly rotate: (key: Redacted.Redacted<string> | undefined) => void
}

const NonceLength = 12
const TagLength = 16
/** Keys that still open. What is sealed lives for a day, and keys change more rarely than that. */
const KeysKept = 8

// A key object: a third of the time that a key in a buffer takes, each time.
const derived = (secret: Buffer, purpose: Purpose): KeyObject =>
  createSecretKey(Buffer.from(hkdfSync("sha256", secret, "", purpose, 32)))

const seal = (key: KeyObject, value: unknown, context: string): string => {
  const nonce = randomBytes(NonceLength)
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  cipher.setAAD(Buffer.from(context, "utf8"))
  const sealed = Buffer.concat([nonce, cipher.update(JSON.stringify(value), "utf8"), cipher.final()])
  return Buffer.concat([sealed, cipher.getAuthTag()]).toString("base64url")
}

const open = (key: KeyObject, bytes: Buffer, context: string): unknown => {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, NonceLength), { authTagLength: TagLength })
    decipher.setAAD(Buffer.from(context, "utf8"))
    decipher.setAuthTag(bytes.subarray(bytes.length - TagLength))
    const plain = Buffer.concat([
      decipher.update(bytes.subarray(NonceLength, bytes.length - TagLength)),
      decipher.final()
    ])
    return JSON.parse(plain.toString("utf8"))
  } catch {
    // Not sealed with this key.
    return undefined
  }
}

/**
 * Makes the seals of a key. Without one it is random: the texts are this process's own.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (key: Redacted.Redacted<string> | undefined): Seals => {
  const secretOf = (given: Redacted.Redacted<string> | undefined): Buffer =>
    given === undefined ? randomBytes(32) : Buffer.from(Redacted.value(given), "utf8")
  let secrets: ReadonlyArray<Buffer> = [secretOf(key)]
  return {
    of: (purpose, maxLength) => {
      let made = secrets
      let keys = made.map((secret) => derived(secret, purpose))
      /** Newest first. */
      const current = (): ReadonlyArray<KeyObject> => {
        if (made !== secrets) {
          made = secrets
          keys = made.map((secret) => derived(secret, purpose))
        }
        return keys
      }
      return {
        seal: (value, context = "") => {
          const [newest] = current()
          if (newest === undefined) throw new Error("a seal without a key")
          return seal(newest, value, context)
        },
        open: (text, context = "") => {
          if (text.length > maxLength || !/^[A-Za-z0-9_-]+$/.test(text)) return undefined
          const bytes = Buffer.from(text, "base64url")
          // Of the texts that decode to the same bytes only one was made here: whoever refuses a text refuses all of it.
          if (bytes.length <= NonceLength + TagLength || bytes.toString("base64url") !== text) return undefined
          for (const each of current()) {
            const value = open(each, bytes, context)
            if (value !== undefined) return value
          }
          return undefined
        }
      }
    },
    rotate: (next) => {
      secrets = [secretOf(next), ...secrets].slice(0, KeysKept)
    }
  }
}
