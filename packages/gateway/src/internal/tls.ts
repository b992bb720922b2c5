/**
 * Certificates of the listener: read, checked, and read again when they change.
 */
import * as Effect from "effect/Effect"
import { X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createSecureContext, type SecureContextOptions } from "node:tls"

/** Files in PEM. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** Authorities of client certificates: with it, clients must have one. */
  readonly ca?: string | undefined
  readonly passphrase?: string | undefined
}

/** What was in the files. */
export interface Certificates {
  readonly options: SecureContextOptions
  /** The same for the same contents. */
  readonly content: string
}

const reasonOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const readText = (what: string, path: string): Effect.Effect<string, string> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (cause) => `gateway.tls.${what}: can't read ${path}: ${reasonOf(cause)}`
  })

const check = (what: string, hint: string, use: () => unknown): Effect.Effect<unknown, string> =>
  Effect.try({
    try: use,
    catch: (cause) => `gateway.tls.${what}: ${hint} (${reasonOf(cause)})`
  })

/** Reads the files. */
export const read = (files: TlsFiles): Effect.Effect<Certificates, string> =>
  Effect.gen(function*() {
    const cert = yield* readText("cert", files.cert)
    const key = yield* readText("key", files.key)
    const ca = files.ca === undefined ? undefined : yield* readText("ca", files.ca)
    return {
      options: {
        cert,
        key,
        ...(files.passphrase === undefined ? undefined : { passphrase: files.passphrase }),
        ...(ca === undefined ? undefined : { ca })
      },
      content: [cert, key, ca].join("\n")
    }
  })

/** Fails with one line that says which of the files is wrong, and how. */
export const verify = (files: TlsFiles, { options }: Certificates): Effect.Effect<void, string> =>
  Effect.gen(function*() {
    const { ca, cert, ...own } = options
    // One by one, so that the message can name the file.
    yield* check("cert", `${files.cert} holds no certificate in PEM`, () => createSecureContext({ cert }))
    yield* check(
      "key",
      `${files.key} holds no private key in PEM, or it needs another passphrase`,
      () => createSecureContext(own)
    )
    if (typeof ca === "string") {
      // A context takes an authority that is none for no authority.
      yield* check("ca", `${files.ca} holds no certificate in PEM`, () => new X509Certificate(ca))
    }
    yield* check("key", `${files.key} is not the key of ${files.cert}`, () => createSecureContext(options))
  })
