/**
 * How a record is written down in a backend that holds texts: etcd, Redis, Consul's key-value store.
 *
 * **Mental model**: an adapter hands over the text of a key and what the key says of it, and gets an instance or the
 * line that tells why not. It doesn't know whether the text is a record of ours, the JSON of somebody who knows nothing
 * of Portolan, or sealed.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Plain from "./internal/records/plain.ts"
import * as Sealed from "./internal/records/sealed.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * What the key of a record says: its id, and its service where the key holds one.
 *
 * @category models
 * @since 0.2.0
 */
export interface Place {
  readonly id: string
  readonly service?: string | undefined
}

/**
 * Reads and writes records. Failures are one line for a person.
 *
 * @category models
 * @since 0.2.0
 */
export interface RecordFormat {
  /** An instance whose id and service are those of the place. */
  readonly read: (text: string, place: Place) => Effect.Effect<ServiceInstance, string>
  /** Text of a JSON object, whatever the format. */
  readonly write: (instance: ServiceInstance, place: Place) => Effect.Effect<string, string>
}

/**
 * Records as JSON. It reads what others wrote too, who know nothing of Portolan:
 *
 * | record                                        | what is written                                          |
 * | --------------------------------------------- | -------------------------------------------------------- |
 * | `id`, `service`                               | the key; where it holds no service, `service` or `name`  |
 * | `endpoint`                                    | `endpoint`, where it is an object: a record of ours      |
 * | `endpoint.url`                                | the whole value: the text of a URL or of `host:port`     |
 * |                                               | `url`, `uri` or `endpoint`: such a text                  |
 * |                                               | `endpoints`: the first http(s) or ws(s) URL (Kratos)     |
 * |                                               | `address`, `addr` or `host`, with `port` or its own port |
 * | its scheme                                    | `scheme`, `protocol` or metadata `mcp-scheme`; `http`    |
 * | whether it is with TLS                        | `secure`, `isSecure`, `tls`, `ssl`; `?isSecure=true`     |
 * | its path, where it has none                   | `path` or metadata `mcp-path`; `/mcp`                    |
 * | `endpoint.transport`                          | `transport` or metadata `mcp-transport`; by the URL      |
 * | `endpoint.headers`                            | `headers`                                                |
 * | `metadata`                                    | `metadata` or `meta`                                     |
 * | `kind`, `version`, `region`, `zone`, `weight` | the field, or the metadata, of this name                 |
 * | `tags`, `capabilities`, `tools`               | the same: a JSON array or a comma list                   |
 * | every other field                             | the field of this name                                   |
 *
 * Names may begin with a capital, as Go writes them. What can't be read so is rejected with its reason.
 *
 * @category constructors
 * @since 0.2.0
 */
export const plain: RecordFormat = {
  read: (text, place) => Effect.fromResult(Plain.read(text, place)),
  write: (instance) => Effect.fromResult(Plain.write(instance))
}

/**
 * How records are sealed.
 *
 * @category models
 * @since 0.2.0
 */
export interface SealedOptions {
  /**
   * Keys by their ids, each 32 bytes in base64, such as `openssl rand -base64 32` prints. The first seals, all of them
   * open: a new key is put last everywhere, then first, and the old one goes when no record is left that it sealed.
   */
  readonly keys: ReadonlyArray<{ readonly id: string; readonly key: Redacted.Redacted }>
  /** Whether records that aren't sealed are rejected. Default true. */
  readonly required?: boolean | undefined
}

/**
 * Makes the format of records that are encrypted and authenticated with AES-256-GCM, as flattened JSON Web Encryption
 * (RFC 7516). Fails with a line that says what is wrong about the keys.
 *
 * **Details**: a record is bound to its place: copied to another key it can't be opened. The same value is written as
 * the same text.
 *
 * **Gotchas**: ids and services can be read, as they stand in the keys. Whoever may write to the backend can put back
 * an older record of the same instance, or remove it. A key seals 2^32 records at most (NIST SP 800-38D): change it once
 * in a while.
 *
 * @category constructors
 * @since 0.2.0
 */
export const sealed: (options: SealedOptions) => Effect.Effect<RecordFormat, string> = Sealed.make
