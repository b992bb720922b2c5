/**
 * Files by which clients find the server and who they are: a kubeconfig, and what a pod has.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import type { Issued } from "../Certificates.ts"

/**
 * The files, and the token that they carry.
 *
 * @category models
 * @since 0.2.0
 */
export interface Credentials {
  readonly url: string
  readonly kubeconfig: string
  readonly podRoot: string
  /** The newest. */
  readonly token: () => string
  /** Whether this token is one that may lie in the files. */
  readonly takes: (token: string) => boolean
  /** Writes another token into the files; until that is done the old one is taken too. */
  readonly rotate: Effect.Effect<string>
}

const base64 = (text: string) => Buffer.from(text).toString("base64")

/**
 * Writes the files; they are deleted with the scope.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(options: {
  readonly url: string
  readonly user: string
  readonly namespace: string
  readonly ca: string | undefined
  /** Instead of the token. */
  readonly certificate: Issued | undefined
}): Effect.fn.Return<Credentials, never, Scope.Scope> {
  const { ca, certificate, namespace, url, user } = options
  const podRoot = yield* Effect.acquireRelease(
    Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "portolan-kubernetes-"))),
    (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
  )
  const kubeconfig = Path.join(podRoot, "kubeconfig")
  const account = Path.join(podRoot, "var/run/secrets/kubernetes.io/serviceaccount")
  let token = ""
  const taken = new Set<string>()

  const contents = () => ({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "stand-in",
    contexts: [{ name: "stand-in", context: { cluster: "stand-in", user, namespace } }],
    clusters: [{
      name: "stand-in",
      cluster: { server: url, ...(ca === undefined ? {} : { "certificate-authority-data": base64(ca) }) }
    }],
    users: [{
      name: user,
      user: certificate === undefined
        ? { token }
        : { "client-certificate-data": base64(certificate.cert), "client-key-data": base64(certificate.key) }
    }]
  })

  // By another name first: whoever reads meanwhile finds the old one whole.
  const replace = async (path: string, text: string) => {
    await Fs.writeFile(`${path}.new`, text, { mode: 0o600 })
    await Fs.rename(`${path}.new`, path)
  }

  const rotate = Effect.promise(async () => {
    const before = token
    token = `token-${randomUUID()}`
    taken.add(token)
    await Fs.mkdir(account, { recursive: true })
    await replace(kubeconfig, JSON.stringify(contents(), undefined, 2))
    await replace(Path.join(account, "token"), token)
    await replace(Path.join(account, "namespace"), namespace)
    if (ca !== undefined) await replace(Path.join(account, "ca.crt"), ca)
    taken.delete(before)
    return token
  })

  yield* rotate
  return { url, kubeconfig, podRoot, token: () => token, takes: (token) => taken.has(token), rotate }
})
