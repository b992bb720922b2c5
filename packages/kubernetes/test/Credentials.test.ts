import { assert, describe, it } from "@effect/vitest"
import * as Kubernetes from "@portolan/kubernetes/Kubernetes"
import * as KubernetesRegistry from "@portolan/kubernetes/KubernetesRegistry"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import * as Fs from "node:fs/promises"
import { createServer } from "node:http"
import { connect } from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { changes, discovered, eventually, service, shown, slice, source, until, untilShown } from "./Watched.ts"

const folder = Effect.acquireRelease(
  Effect.promise(() => Fs.mkdtemp(Path.join(Os.tmpdir(), "portolan-kubernetes-"))),
  (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true }))
)

/** A kubeconfig with this user. */
const kubeconfigOf = Effect.fnUntraced(
  function*({ url }: { readonly url: string }, user: object, cluster: object = {}) {
    const path = Path.join(yield* folder, "kubeconfig")
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster: { server: url, ...cluster } }],
      users: [{ name: "test", user }],
      contexts: [{ name: "test", context: { cluster: "test", user: "test", namespace: "mcp" } }],
      "current-context": "test"
    }
    yield* Effect.promise(() => Fs.writeFile(path, JSON.stringify(config)))
    return path
  }
)

/** The environment is that of the process: these tests run one after the other. */
const environment = (variables: Record<string, string | undefined>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
      set(Object.entries(variables))
      return before
    }),
    (before) => Effect.sync(() => set(before))
  )
const set = (variables: ReadonlyArray<readonly [string, string | undefined]>) => {
  for (const [name, value] of variables) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}

const listed = (options: KubernetesRegistry.KubernetesRegistryOptions) =>
  Effect.scoped(Effect.flatMap(KubernetesRegistry.make(options), ({ list }) => list))

const reasonOf = (options: KubernetesRegistry.KubernetesRegistryOptions) =>
  Effect.map(Effect.flip(listed(options)), ({ detail }) => detail)

/** A proxy that opens tunnels, and where they lead. */
const connectProxy = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly asked: ReadonlyArray<string>; readonly close: () => void }>(
    (resume) => {
      const asked: Array<string> = []
      const server = createServer().on("connect", ({ url = "" }, socket) => {
        asked.push(url)
        const [host, port] = url.split(":")
        const upstream = connect(Number(port), host, () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n")
          upstream.pipe(socket).pipe(upstream)
        })
        for (const [one, other] of [[socket, upstream], [upstream, socket]] as const) {
          one.on("error", () => other.destroy()).on("close", () => other.destroy())
        }
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, asked, close: () => void server.close() }))
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

const weather = Effect.fnUntraced(function*(api: KubernetesApi.KubernetesApi) {
  yield* api.apply(service("weather"))
  yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }]))
})

describe("credentials of Kubernetes", () => {
  for (const credentials of ["token", "certificate"] as const) {
    it.live(`a kubeconfig with an authority and a ${credentials}`, () =>
      Effect.gen(function*() {
        const api = yield* KubernetesApi.make({ tls: true, credentials })
        yield* weather(api)
        const { instances } = yield* listed({ kubeconfig: api.kubeconfig })
        assert.deepStrictEqual(instances.map(({ id }) => id), ["mcp/10.0.0.1:3000"])
      }))
  }

  it.live("a proxy that the kubeconfig names", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make({ tls: true })
      yield* weather(api)
      const proxy = yield* connectProxy
      const kubeconfig = yield* kubeconfigOf(api, { token: yield* api.token }, {
        "certificate-authority-data": Buffer.from(api.ca ?? "").toString("base64"),
        "proxy-url": proxy.url
      })
      assert.strictEqual((yield* listed({ kubeconfig })).instances.length, 1)
      assert.deepStrictEqual(new Set(proxy.asked), new Set([`${api.host}:${api.port}`]))
    }))

  it.live("the service account of a pod", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make({ tls: true, namespaces: ["tools"] })
      yield* environment({ KUBERNETES_SERVICE_HOST: api.host, KUBERNETES_SERVICE_PORT: String(api.port) })
      const kubernetes = yield* Kubernetes.make(Kubernetes.apiServer({ root: api.podRoot }))
      assert.strictEqual(yield* kubernetes.namespace, "tools")
      const list = kubernetes.list({ resource: Kubernetes.services, namespace: "tools" })
      yield* list
      yield* api.rotate
      yield* list
    }))

  it.live("the context stays the one that it was, whichever becomes current", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* KubernetesApi.make(), yield* KubernetesApi.make()]
      yield* weather(second)
      const path = Path.join(yield* folder, "kubeconfig")
      const write = Effect.fnUntraced(function*(current: string) {
        const both = { first: yield* first.token, second: yield* second.token }
        const config = {
          apiVersion: "v1",
          kind: "Config",
          clusters: [["first", first.url], ["second", second.url]].map(([name, server]) => ({
            name,
            cluster: { server }
          })),
          users: Object.entries(both).map(([name, token]) => ({ name, user: { token } })),
          contexts: Object.keys(both).map((name) => ({
            name,
            context: { cluster: name, user: name, namespace: "mcp" }
          })),
          "current-context": current
        }
        yield* Effect.promise(() => Fs.writeFile(path, JSON.stringify(config)))
      })
      yield* write("first")
      const { list } = yield* KubernetesRegistry.make({ kubeconfig: path })
      assert.deepStrictEqual((yield* list).instances, [])
      yield* first.rotate
      yield* write("second")
      assert.deepStrictEqual((yield* list).instances, [])
      assert.strictEqual((yield* first.requests).at(-1)?.status, 200)
      assert.deepStrictEqual(yield* second.requests, [])
    }))

  it.live("K17 a token that is replaced is taken from where it lies, and nothing is lost", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* weather(api)
      const discovery = yield* discovered({ kubeconfig: api.kubeconfig, wait: "1 second" })
      yield* untilShown(discovery, "mcp/10.0.0.1:3000")
      yield* eventually(Effect.map(api.watches, (watches) => watches === 2))
      const seen = yield* changes(discovery)
      const before = (yield* api.requests).length
      yield* api.rotate
      const watched = (requests: ReadonlyArray<KubernetesApi.ApiRequest>) =>
        requests.slice(before).filter(({ status, verb }) => verb === "watch" && status === 200)
      yield* eventually(Effect.map(api.requests, (requests) => watched(requests).length >= 2))
      assert.strictEqual(source(discovery)?.reconnects, 0)
      yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }, { address: "10.0.0.2" }]))
      yield* until(discovery, () => shown(discovery).length === 2)
      assert.deepStrictEqual(seen, ["Added mcp/10.0.0.2:3000"])
    }))

  it.live("a token that is taken away keeps the view, says so, and a new one mends it", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* weather(api)
      const discovery = yield* discovered({ kubeconfig: api.kubeconfig, wait: "1 second" })
      yield* untilShown(discovery, "mcp/10.0.0.1:3000")
      yield* api.revoke
      yield* until(discovery, () => source(discovery)?.state === "stale")
      assert.strictEqual(
        source(discovery)?.lastError,
        "the API server takes neither our token nor our certificate: are they still valid?"
      )
      assert.deepStrictEqual(shown(discovery), ["mcp/10.0.0.1:3000"])
      yield* api.rotate
      yield* until(discovery, () => source(discovery)?.state === "connected")
    }))

  it.live("a credential plugin is run once, and again when its token is refused", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const place = yield* folder
      const tell = (token: string) =>
        Effect.promise(() =>
          Fs.writeFile(
            Path.join(place, "answer"),
            JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token } })
          )
        )
      const runs = Effect.promise(async () => (await Fs.readFile(Path.join(place, "runs"), "utf8")).length)
      yield* tell(yield* api.token)
      const exec = {
        apiVersion: "client.authentication.k8s.io/v1",
        command: "sh",
        args: ["-c", `printf . >> ${place}/runs; cat ${place}/answer`],
        interactiveMode: "Never"
      }
      const kubernetes = yield* Kubernetes.make(
        Kubernetes.apiServer({ kubeconfig: yield* kubeconfigOf(api, { exec }) })
      )
      const list = kubernetes.list({ resource: Kubernetes.services, namespace: "mcp" })
      yield* Effect.all([list, list, list], { concurrency: 3 })
      assert.strictEqual(yield* runs, 1)
      yield* tell(yield* api.rotate)
      yield* list
      assert.strictEqual(yield* runs, 2)
    }))

  it.live("what is wrong is said in one line without secrets", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const secret = "very-secret"
      const plugin = (script: string) => ({
        exec: { apiVersion: "client.authentication.k8s.io/v1", command: "sh", args: ["-c", script] }
      })
      const at = (user: object, url = api.url) =>
        Effect.flatMap(kubeconfigOf({ url }, user), (kubeconfig) => reasonOf({ kubeconfig }))
      const reasons = [
        yield* at({ token: secret }),
        yield* at(plugin(`echo "log in first\nor not"  >&2; exit 1`)),
        yield* at(plugin(`echo ${secret}`)),
        yield* at({ username: "portolan", password: secret }, api.url.replace("http://", `http://portolan:${secret}@`)),
        yield* at({}, "http://127.0.0.1:1"),
        yield* reasonOf({ kubeconfig: api.kubeconfig, context: "production" }),
        yield* reasonOf({ kubeconfig: "/nowhere/kubeconfig" }),
        yield* at({})
      ]
      assert.notInclude(reasons.join(), secret)
      const refused = "the API server takes neither our token nor our certificate: are they still valid?"
      assert.deepStrictEqual(reasons, [
        refused,
        "credentials: log in first",
        "the credential plugin's answer is no JSON",
        refused,
        "the API server at http://127.0.0.1:1/ can't be reached: connect ECONNREFUSED 127.0.0.1:1",
        `context: "production" is none of the kubeconfig's: ${contextOf(reasons[5] ?? "")}`,
        "credentials: ENOENT: no such file or directory, open '/nowhere/kubeconfig'",
        "the API server takes us for nobody (system:anonymous): the kubeconfig's context has no user with credentials"
      ])
      const unnamed = Path.join(yield* folder, "kubeconfig")
      yield* Effect.promise(() => Fs.writeFile(unnamed, JSON.stringify({ contexts: [] })))
      assert.strictEqual(
        yield* reasonOf({ kubeconfig: unnamed }),
        "kubeconfig: it has no current context: set context"
      )
      assert.strictEqual(
        yield* reasonOf({ kubeconfig: api.kubeconfig, namespaces: [""] }),
        "namespaces: expected names of namespaces, or all"
      )
      yield* api.refuse({ status: 403 })
      assert.strictEqual(
        yield* reasonOf({ kubeconfig: api.kubeconfig }),
        `can't list services in namespace "mcp": forbidden on request (HTTP 403)`
      )
      const home = yield* folder
      yield* environment({ HOME: home, KUBECONFIG: undefined, KUBERNETES_SERVICE_HOST: undefined })
      assert.strictEqual(yield* reasonOf({}), "there is neither a service account nor a kubeconfig: set kubeconfig")
    }))
})

const contextOf = (reason: string): string => reason.slice(reason.lastIndexOf(": ") + 2)
