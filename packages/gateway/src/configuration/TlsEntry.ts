/**
 * TLS towards a registry's backend, as the configuration file has it.
 *
 * @since 0.2.0
 */
import type { TlsOptions } from "@portolan/core/Registry"
import * as Schema from "effect/Schema"
import { flawIn } from "../internal/tls.ts"
import { pem, reveal, secret } from "./Secret.ts"

/**
 * Schema of the settings. The certificates are read, and known to be usable.
 *
 * @category schemas
 * @since 0.2.0
 */
export const TlsEntry = Schema.Struct({
  ca: Schema.optionalKey(
    pem("PEM file with the authorities that the backend's certificate must come from; the well-known ones by default")
  ),
  cert: Schema.optionalKey(pem("PEM file with our certificate, for backends that ask for one")),
  key: Schema.optionalKey(pem("PEM file with the key of `cert`")),
  passphrase: Schema.optionalKey(secret("Of the key")),
  serverName: Schema.optionalKey(Schema.NonEmptyString.annotate({
    description: "Name in the backend's certificate, where that isn't the host of its address"
  }))
}).annotate({ description: "How TLS differs from the usual" }).pipe(Schema.check(Schema.makeFilter((tls) => {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    return { path: [tls.cert === undefined ? "key" : "cert"], issue: "`cert` and `key` belong together" }
  }
  const flaw = flawIn(toOptions(tls), "`cert`")
  return flaw === undefined ? undefined : { path: [flaw.what], issue: flaw.message }
})))
export type TlsEntry = typeof TlsEntry.Type

/**
 * The settings as an adapter takes them.
 *
 * @category converting
 * @since 0.2.0
 */
export const toOptions = (tls: TlsEntry): TlsOptions => ({
  ca: reveal(tls.ca),
  cert: reveal(tls.cert),
  key: reveal(tls.key),
  passphrase: reveal(tls.passphrase),
  serverName: tls.serverName
})
