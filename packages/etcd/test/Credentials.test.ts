import { assert, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Certificates from "@portolan/tooling/backends/Certificates"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import { generateKeyPairSync } from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Members from "../src/internal/members.ts"
import * as EtcdBackend from "./EtcdBackend.ts"
import { onRealEtcd } from "./Real.ts"
import { changes, discovered, eventually, instance, shown, source, until } from "./Watched.ts"

/** Turns authentication on: `root`, and `portolan`, who may read and write the default prefix. */
const restrict = Effect.fnUntraced(function*<E>(ask: (path: string, body: object) => Effect.Effect<unknown, E>) {
  const prefix = { key: EtcdBackend.base64("/portolan/"), range_end: EtcdBackend.base64("/portolan0") }
  yield* ask("auth/role/add", { name: "root" })
  yield* ask("auth/role/add", { name: "portolan" })
  yield* ask("auth/role/grant", { name: "portolan", perm: { permType: "READWRITE", ...prefix } })
  for (const name of ["root", "portolan"]) {
    yield* ask("auth/user/add", { name, password: `secret of ${name}` })
    yield* ask("auth/user/grant", { user: name, role: name })
  }
  yield* ask("auth/enable", {})
})

const at = ({ url }: Server) => (path: string, body: object) => EtcdBackend.ask(url, path, body)

/** Asks as the user `root`. */
const asRoot = Effect.fnUntraced(function*({ url }: Server, path: string, body: object) {
  const { token } = yield* EtcdBackend.ask(url, "auth/authenticate", { name: "root", password: "secret of root" })
  return yield* EtcdBackend.ask(url, path, body, { authorization: String(token) })
})

/** Flags for tokens that live for a second, however much they are used. */
const shortTokens = Effect.gen(function*() {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "portolan-etcd-"))),
    (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true }))
  )
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs1", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" }
  })
  yield* Effect.promise(() =>
    Promise.all([
      Fs.writeFile(Path.join(folder, "token.key"), privateKey),
      Fs.writeFile(Path.join(folder, "token.pem"), publicKey)
    ])
  )
  return [`--auth-token=jwt,pub-key=${folder}/token.pem,priv-key=${folder}/token.key,sign-method=RS256,ttl=1s`]
})

const user = { username: "portolan", password: "secret of portolan" }

const asUser = ({ url }: Server): EtcdRegistry.EtcdRegistryOptions => ({
  endpoints: [url],
  ...user,
  wait: "200 millis"
})

onRealEtcd("credentials of etcd", () => {
  it.live("E9 tokens that run out are replaced: nothing is lost, nothing published", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.single({ flags: yield* shortTokens })
      yield* restrict(at(server))
      const options = asUser(server)
      const announcement = yield* Announcement.announce(yield* EtcdRegistry.make(options), instance(1), {
        ttl: "3 seconds",
        drain: 0
      })
      const discovery = yield* discovered(options)
      yield* until(discovery, () => shown(discovery).length === 1)
      const seen = yield* changes(discovery)
      // Three lives of a token.
      yield* Effect.sleep("3500 millis")
      yield* announcement.update((instance) => ({ ...instance, metadata: { seq: "1" } }))
      yield* until(discovery, () => shown(discovery).join() === "weather-1 #1")
      assert.deepStrictEqual(seen, ["Updated weather-1"])
    }))

  it.live("E9 tokens that a restart or a change of users makes void are replaced", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      yield* restrict(at(server))
      const options = asUser(server)
      const discovery = yield* discovered(options)
      yield* Announcement.announce(yield* EtcdRegistry.make(options), instance(1), { ttl: "3 seconds", drain: 0 })
      yield* until(discovery, () => shown(discovery).length === 1)
      yield* Effect.andThen(server.kill, server.start)
      yield* asRoot(server, "auth/user/add", { name: "another", password: "secret" })
      yield* until(discovery, () => source(discovery)?.state === "connected")
      const direct = yield* EtcdRegistry.make(options)
      yield* Announcement.announce(direct, instance(2), { drain: 0 })
      yield* until(discovery, () => shown(discovery).length === 2)
    }))

  it.live("E9 credentials that change are found out about when they are right again", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      yield* restrict(at(server))
      const options = asUser(server)
      yield* Announcement.announce(yield* EtcdRegistry.make(options), instance(1), { ttl: "1 minute", drain: 0 })
      const discovery = yield* discovered(options)
      yield* until(discovery, () => shown(discovery).length === 1)
      yield* asRoot(server, "auth/user/changepw", { name: "portolan", password: "another" })
      yield* until(discovery, () => source(discovery)?.state === "stale")
      assert.strictEqual(
        source(discovery)?.lastError,
        "etcdserver: authentication failed, invalid user ID or password: check username and password"
      )
      assert.strictEqual(shown(discovery).length, 1)
      yield* asRoot(server, "auth/user/changepw", { name: "portolan", password: user.password })
      yield* until(discovery, () => source(discovery)?.state === "connected")
    }))

  it.live("who may not read the prefix, or gives no name, is told so", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      yield* restrict(at(server))
      const refusal = (options: Partial<EtcdRegistry.EtcdRegistryOptions>) =>
        EtcdRegistry.make({ endpoints: [server.url], ...options }).pipe(
          Effect.flatMap(({ list }) => Effect.flip(list)),
          Effect.map(({ message, unauthorized }) => [message, unauthorized])
        )
      assert.deepStrictEqual(
        yield* refusal({}),
        ["etcd: list: etcdserver: user name is empty: set username and password", true]
      )
      assert.deepStrictEqual(yield* refusal({ ...user, prefix: "/others/" }), [
        "etcd: list: etcdserver: permission denied: the user needs a role that may read and write the prefix",
        true
      ])
      assert.deepStrictEqual(yield* refusal({ ...user, password: "wrong" }), [
        "etcd: list: etcdserver: authentication failed, invalid user ID or password: check username and password",
        true
      ])
    }))

  it.live("a cluster that asks for no password takes one", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const options = asUser(server)
      const discovery = yield* discovered(options)
      yield* until(discovery, () => source(discovery)?.state === "connected")
      // The same user goes on once it does ask.
      yield* restrict(at(server))
      yield* Announcement.announce(yield* EtcdRegistry.make(options), instance(1), { drain: 0 })
      yield* until(discovery, () => shown(discovery).length === 1)
    }))

  it.live("TLS: both sides show certificates of our own authority", () =>
    Effect.gen(function*() {
      const authority = yield* Certificates.authority("portolan")
      const { url } = yield* Etcd.single({ tls: authority })
      const { cert, key } = yield* authority.issue("gateway")
      const tls = { ca: authority.cert, cert, key }
      const registry = yield* EtcdRegistry.make({ endpoints: [url], tls })
      yield* Announcement.announce(registry, instance(1), { drain: 0 })
      const discovery = yield* discovered({ endpoints: [url], tls, wait: "200 millis" })
      yield* until(discovery, () => shown(discovery).length === 1)
      yield* eventually(Effect.sync(() => source(discovery)?.state === "connected"))

      const refusal = (tls: EtcdRegistry.EtcdRegistryOptions["tls"]) =>
        EtcdRegistry.make({ endpoints: [url], tls }).pipe(
          Effect.flatMap(({ list }) => Effect.flip(list)),
          Effect.map(({ message }) => message)
        )
      assert.include(yield* refusal(undefined), "unable to verify the first certificate")
      assert.include(yield* refusal({ ca: authority.cert }), `etcd at ${url}`)
      assert.include(yield* refusal({ ...tls, serverName: "elsewhere" }), "elsewhere")
    }))

  it.live("TLS with users: a certificate that names somebody is refused, and the line says so", () =>
    Effect.gen(function*() {
      const authority = yield* Certificates.authority("portolan")
      const { url } = yield* Etcd.single({ tls: authority })
      const { cert, key } = yield* authority.issue("gateway")
      const tls = { ca: authority.cert, cert, key }
      const members = yield* Members.make({ endpoints: [url], tls })
      yield* restrict((path, body) => members.text(path, JSON.stringify(body)))
      const { list } = yield* EtcdRegistry.make({ endpoints: [url], tls, ...user })
      const { message, unauthorized } = yield* Effect.flip(list)
      assert.strictEqual(
        message,
        "etcd: list: etcd answered HTTP 400: CommonName of client sending a request against gateway will be ignored and " +
          "not used as expected: where users have passwords, its gateway wants a certificate without a common name"
      )
      assert.strictEqual(unauthorized, true)
    }))
})
