/**
 * What a record says of TLS, read at the moment of use: a renewed certificate is taken by the next attempt to connect.
 *
 * @since 0.1.0
 */
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createSecureContext, rootCertificates, type SecureContext, TLSSocket } from "node:tls"
import { buildConnector } from "undici"
import * as Secrets from "../authorization/Secrets.ts"
import { oneLine } from "./Connection.ts"
import * as NetworkErrors from "./NetworkErrors.ts"

/**
 * Settings of a TLS connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  readonly secureContext: SecureContext
  readonly servername?: string | undefined
}

/**
 * Settings towards a server, and towards others that act for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resolved {
  readonly server: Settings
  /** For an authorisation server: the authority counts beside the well-known ones, and our certificate isn't shown. */
  readonly others: Settings
}

const read = (value: string | ServiceInstance.SecretReference | undefined, where: string) =>
  value === undefined
    ? Effect.undefined
    : Effect.flatMap(Secrets.resolve(typeof value === "string" ? { file: value } : value, where), (secret) => {
      const text = Redacted.value(secret)
      // An authority that isn't one would be passed over in silence.
      return /^-----BEGIN [A-Z ]+-----/m.test(text)
        ? Effect.succeed(text)
        : new Secrets.SecretError({ reason: `${where}: it is no PEM text` })
    })

const mistake = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "tls: the certificates can't be used"
  switch (NetworkErrors.codeOf(cause)) {
    case "ERR_OSSL_X509_KEY_VALUES_MISMATCH":
      return "tls.key: it doesn't belong to tls.cert"
    case "ERR_OSSL_BAD_DECRYPT":
    case "ERR_OSSL_EVP_BAD_DECRYPT":
    case "ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED":
    case "ERR_OSSL_PEM_BAD_PASSWORD_READ":
      return "tls.key: it is encrypted; set `tls.passphrase` to its passphrase"
    default:
      return `tls: ${oneLine(cause.message)}`
  }
}

/**
 * Reads the files and references. The error names the field and what to do.
 *
 * @category resolving
 * @since 0.1.0
 */
export const resolve = Effect.fnUntraced(function*(
  tls: ServiceInstance.Tls
): Effect.fn.Return<Resolved, Secrets.SecretError> {
  const ca = yield* read(tls.ca, "tls.ca")
  const cert = yield* read(tls.cert, "tls.cert")
  const key = yield* read(tls.key, "tls.key")
  const passphrase = tls.passphrase === undefined
    ? undefined
    : Redacted.value(yield* Secrets.resolve(tls.passphrase, "tls.passphrase"))
  return yield* Effect.try({
    try: (): Resolved => ({
      server: {
        secureContext: createSecureContext({ ca, cert, key, passphrase }),
        ...(tls.serverName === undefined ? undefined : { servername: tls.serverName })
      },
      others: { secureContext: createSecureContext(ca === undefined ? {} : { ca: [...rootCertificates, ca] }) }
    }),
    catch: (cause) => new Secrets.SecretError({ reason: mistake(cause) })
  })
})

/**
 * Opens sockets with these settings; `timeout` in ms.
 *
 * **Details**: with TLS 1.3 a server refuses a client without a certificate after the handshake, and undici meets the end
 * of the connection before the reason. So an end without a single byte is told as what it mostly is.
 *
 * @category connecting
 * @since 0.1.0
 */
export const connector = (timeout: number, settings: Settings | undefined): buildConnector.connector => {
  const connect = buildConnector({ timeout, allowH2: false, ...settings })
  return (options, callback) =>
    connect(options, (...opened) => {
      const [, socket] = opened
      if (socket instanceof TLSSocket) {
        socket.prependOnceListener("end", () => {
          if (socket.bytesRead === 0) socket.destroy(new Error(NetworkErrors.unanswered))
        })
      }
      callback(...opened)
    })
}
