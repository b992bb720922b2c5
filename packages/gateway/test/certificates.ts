/**
 * Certificates made on the spot.
 */
import * as Effect from "effect/Effect"
import { generate } from "selfsigned"

export interface Issued {
  readonly cert: string
  readonly key: string
}

export interface Authority extends Issued {
  /** A certificate for 127.0.0.1 and localhost, for servers and clients. */
  readonly issue: (name: string) => Effect.Effect<Issued>
}

const of = (name: string) => [{ name: "commonName", value: name }]

/** An authority of one's own. */
export const authority = (name: string): Effect.Effect<Authority> =>
  Effect.promise(async () => {
    const own = await generate(of(name), {
      keyType: "ec",
      algorithm: "sha256",
      extensions: [
        { name: "basicConstraints", cA: true, critical: true },
        { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true }
      ]
    })
    const ca = { cert: own.cert, key: own.private }
    return {
      ...ca,
      issue: (subject) =>
        Effect.promise(async () => {
          const made = await generate(of(subject), {
            keyType: "ec",
            algorithm: "sha256",
            ca,
            extensions: [
              { name: "basicConstraints", cA: false },
              { name: "keyUsage", digitalSignature: true },
              { name: "extKeyUsage", serverAuth: true, clientAuth: true },
              { name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }, { type: 7, ip: "127.0.0.1" }] }
            ]
          })
          return { cert: made.cert, key: made.private }
        })
    }
  })
