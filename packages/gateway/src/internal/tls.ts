/**
 * Certificates: those of the listener are read, checked, and read again when they change.
 */
import * as Effect from "effect/Effect"
import { X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { createSecureContext } from "node:tls"

/** Files in PEM. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** Authorities of client certificates: with it, clients must have one. */
  readonly ca?: string | undefined
  readonly passphrase?: string | undefined
}

/** Texts in PEM. */
interface Texts {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly ca?: string | undefined
  readonly passphrase?: string | undefined
}

/** What was in the files. */
export interface Certificates {
  readonly options: Texts
  /** The same for the same contents. */
  readonly content: string
}

const reasonOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const readText = (what: string, path: string): Effect.Effect<string, string> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: (cause) => `gateway.tls.${what}: can't read ${path}: ${reasonOf(cause)}`
  })

/** Reads the files. */
export const read = (files: TlsFiles): Effect.Effect<Certificates, string> =>
  Effect.gen(function*() {
    const cert = yield* readText("cert", files.cert)
    const key = yield* readText("key", files.key)
    const ca = files.ca === undefined ? undefined : yield* readText("ca", files.ca)
    return {
      options: { cert, key, ca, passphrase: files.passphrase },
      content: [cert, key, ca].join("\n")
    }
  })

/** What is wrong with one of the texts, as what may follow its name. */
interface Flaw {
  readonly what: "cert" | "key" | "ca"
  readonly message: string
}

/** Finds the text that can't be used, where there is one; `nameOfCert` stands for the certificate in the message. */
export const flawIn = ({ ca, cert, key, passphrase }: Texts, nameOfCert: string): Flaw | undefined => {
  // One by one, so that the message can name the text.
  const checks: ReadonlyArray<readonly [Flaw["what"], string, () => unknown]> = [
    ["cert", "holds no certificate in PEM", () => cert === undefined || createSecureContext({ cert })],
    [
      "key",
      "holds no private key in PEM, or it needs another passphrase",
      () => key === undefined || createSecureContext({ key, passphrase })
    ],
    // A context takes an authority that is none for no authority.
    ["ca", "holds no certificate in PEM", () => ca === undefined || new X509Certificate(ca)],
    [
      "key",
      `is not the key of ${nameOfCert}`,
      () => cert === undefined || key === undefined || createSecureContext({ cert, key, passphrase })
    ]
  ]
  for (const [what, message, use] of checks) {
    try {
      use()
    } catch (cause) {
      return { what, message: `${message} (${reasonOf(cause)})` }
    }
  }
  return undefined
}

/** Fails with one line that says which of the files is wrong, and how. */
export const verify = (files: TlsFiles, { options }: Certificates): Effect.Effect<void, string> =>
  Effect.suspend(() => {
    const flaw = flawIn(options, files.cert)
    return flaw === undefined
      ? Effect.void
      : Effect.fail(`gateway.tls.${flaw.what}: ${files[flaw.what]} ${flaw.message}`)
  })
