/**
 * Certificates made on the spot, for servers that speak TLS in tests.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import { isIP } from "node:net"
import { generate } from "selfsigned"

/**
 * A certificate and its key, as PEM texts.
 *
 * @category models
 * @since 0.2.0
 */
export interface Issued {
  readonly cert: string
  readonly key: string
}

/**
 * Who vouches for certificates, with a certificate of its own.
 *
 * @category models
 * @since 0.2.0
 */
export interface Authority extends Issued {
  /** A certificate of this name for servers and clients at `localhost`, 127.0.0.1 and these hosts. */
  readonly issue: (name: string, hosts?: ReadonlyArray<string>) => Effect.Effect<Issued>
}

const of = (name: string) => [{ name: "commonName", value: name }]

/**
 * Makes an authority of one's own.
 *
 * @category constructors
 * @since 0.2.0
 */
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
      issue: (subject, hosts = []) =>
        Effect.promise(async () => {
          const made = await generate(of(subject), {
            keyType: "ec",
            algorithm: "sha256",
            ca,
            extensions: [
              { name: "basicConstraints", cA: false },
              { name: "keyUsage", digitalSignature: true },
              { name: "extKeyUsage", serverAuth: true, clientAuth: true },
              {
                name: "subjectAltName",
                altNames: Array.from(
                  new Set(["localhost", "127.0.0.1", ...hosts]),
                  (host) => isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host }
                )
              }
            ]
          })
          return { cert: made.cert, key: made.private }
        })
    }
  })
