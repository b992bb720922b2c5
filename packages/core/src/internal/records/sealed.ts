/**
 * Records under AES-256-GCM, as JSON Web Encryption in its flattened form (RFC 7516, section 7.2.2) with a key that
 * both sides have (`dir`): any JOSE library opens them.
 */
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Place, RecordFormat, SealedOptions } from "../../RecordFormat.ts"
import type { ServiceInstance } from "../../ServiceInstance.ts"
import * as Plain from "./plain.ts"

const Bytes = Schema.Uint8ArrayFromBase64Url

const Envelope = Schema.Struct({
  protected: Schema.String,
  aad: Schema.String,
  iv: Bytes,
  ciphertext: Bytes,
  tag: Bytes
})

// `crit` and `zip` change what the rest means: they may not be there.
const Header = Schema.Struct({
  alg: Schema.Literal("dir"),
  enc: Schema.Literal("A256GCM"),
  kid: Schema.String,
  crit: Schema.optionalKey(Schema.Never),
  zip: Schema.optionalKey(Schema.Never)
})

const decodeEnvelope = Schema.decodeUnknownResult(Envelope)
const decodeHeader = Schema.decodeUnknownResult(Schema.fromJsonString(Header))

const layer = Aead.layerWebCrypto.pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

/** What the record is bound to: a record that was copied to another key can't be opened. */
const bound = ({ id, service }: Place): string => Base64Url.encode(JSON.stringify([service ?? null, id]))

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

export const make = Effect.fnUntraced(function*(
  { keys, required = true }: SealedOptions
): Effect.fn.Return<RecordFormat, string, Aead.Aead | SecureRandom.SecureRandom> {
  const aead = yield* Aead.Aead
  const random = yield* SecureRandom.SecureRandom
  const known = new Map<string, Aead.Key>()
  for (const { id, key } of keys) {
    if (known.has(id)) return yield* Effect.fail(`keys: "${id}" is there twice`)
    known.set(id, yield* keyOf(id, key))
  }
  const [first] = known
  if (first === undefined) return yield* Effect.fail("keys: expected at least one")
  const [writingId, writingKey] = first
  const header = Base64Url.encode(JSON.stringify({ alg: "dir", enc: "A256GCM", kid: writingId }))
  const names = Array.from(known.keys(), (id) => `"${id}"`).join(", ")

  // The same record gives the same text, so that a heartbeat changes nothing, and uses up no nonce.
  const written = new WeakMap<ServiceInstance, { readonly aad: string; readonly text: string }>()

  const write = Effect.fnUntraced(function*(instance: ServiceInstance, place: Place) {
    const aad = bound(place)
    const before = written.get(instance)
    if (before?.aad === aad) return before.text
    const plain = yield* Effect.fromResult(Plain.write(instance))
    const nonce = yield* random.randomBytes(12)
    const sealed = yield* Effect.mapError(
      aead.encrypt(writingKey, bytes(plain), { nonce, aad: bytes(`${header}.${aad}`) }),
      ({ message }) => `it can't be sealed: ${message}`
    )
    const text = JSON.stringify({
      protected: header,
      aad,
      iv: Base64Url.encode(nonce),
      ciphertext: Base64Url.encode(sealed.subarray(0, -tagLength)),
      tag: Base64Url.encode(sealed.subarray(-tagLength))
    })
    written.set(instance, { aad, text })
    return text
  })

  const read = Effect.fnUntraced(function*(text: string, place: Place) {
    const fields = Plain.objectOf(text)
    if (fields === undefined || !Plain.isSealed(fields)) {
      return required
        ? yield* Effect.fail("it is not sealed; this registry takes sealed records only")
        : yield* Effect.fromResult(Plain.read(text, place))
    }
    const envelope = decodeEnvelope(fields)
    const protectedHeader = Result.flatMap(envelope, (envelope) => Base64Url.decodeString(envelope.protected))
    const told = Result.flatMap(protectedHeader, decodeHeader)
    if (Result.isFailure(envelope) || Result.isFailure(told)) {
      return yield* Effect.fail("it is sealed in a way that is not known: expected flattened JWE with dir and A256GCM")
    }
    const { aad, ciphertext, iv, tag } = envelope.success
    const { kid } = told.success
    const key = known.get(kid)
    if (key === undefined) {
      return yield* Effect.fail(`it is sealed with key ${JSON.stringify(kid)}; this registry has ${names}`)
    }
    if (aad !== bound(place)) return yield* Effect.fail("it was sealed for another key of the registry than its own")
    const sealed = new Uint8Array(ciphertext.length + tag.length)
    sealed.set(ciphertext)
    sealed.set(tag, ciphertext.length)
    const opened = yield* Effect.mapError(
      aead.decrypt(key, sealed, { nonce: iv, aad: bytes(`${envelope.success.protected}.${aad}`) }),
      () => `it was changed, or its key "${kid}" is not ours of this id`
    )
    return yield* Effect.fromResult(Plain.read(new TextDecoder().decode(opened), place))
  })

  return { read, write }
}, Effect.provide(layer))

const tagLength = 16

// Never says what it was given.
const keyOf = (id: string, key: Redacted.Redacted): Effect.Effect<Aead.Key, string> =>
  Effect.fromResult(Base64.decode(Redacted.value(key))).pipe(
    Effect.flatMap((bytes) => Aead.key(Aead.aes256Gcm, bytes)),
    Effect.mapError(() => `keys: "${id}" is not 32 bytes in base64; \`openssl rand -base64 32\` prints such`)
  )
