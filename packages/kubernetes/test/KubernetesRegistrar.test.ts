import { assert, describe, it } from "@effect/vitest"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Kubernetes from "@portolan/kubernetes/Kubernetes"
import * as KubernetesManifest from "@portolan/kubernetes/KubernetesManifest"
import * as KubernetesRecord from "@portolan/kubernetes/KubernetesRecord"
import * as KubernetesRegistrar from "@portolan/kubernetes/KubernetesRegistrar"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Objects from "../src/internal/objects.ts"

const at = (url: string) => ({ transport: "streamable-http", url } as const)

const weather = (more: Partial<typeof ServiceInstance.ServiceInstance.Encoded> = {}) =>
  ServiceInstance.make({
    id: "weather-1",
    service: "weather",
    version: "1.4.0",
    endpoint: at("http://10.0.0.7:8080/mcp"),
    ...more
  })

const first = { ttl: Duration.seconds(30), incarnation: "first" }
const second = { ...first, incarnation: "second" }

const opened = Effect.fnUntraced(function*(
  options: Partial<KubernetesRegistrar.RegistrarOptions> = {},
  through: (kubernetes: Kubernetes.Kubernetes) => Kubernetes.Kubernetes = (kubernetes) => kubernetes
) {
  const api = yield* KubernetesApi.make()
  const kubernetes = yield* Kubernetes.make(Kubernetes.apiServer({ kubeconfig: api.kubeconfig }))
  const registrar = KubernetesRegistrar.make(through(kubernetes), {
    failed: (operation) => ({ reason }) => new Registry.RegistryError({ registry: "kubernetes", operation, reason }),
    ...options
  })
  let from = 0
  return {
    api,
    registrar,
    slice: (name = "portolan-weather-1") => api.read({ kind: "EndpointSlice", namespace: "mcp", name }),
    service: (name = "portolan-weather") => api.read({ kind: "Service", namespace: "mcp", name }),
    /** What was asked since the last call. */
    asked: Effect.map(api.requests, (requests) => {
      const asked = requests.slice(from).map(({ name, resource, verb }) => `${verb} ${resource} ${name}`.trim())
      from = requests.length
      return asked
    })
  }
})

/** With what somebody else does once before a request such as `delete services`. */
const interrupted = Effect.fnUntraced(function*() {
  const before = new Map<string, Effect.Effect<unknown>>()
  const made = yield* opened({}, (kubernetes) => ({
    ...kubernetes,
    send: (request) => {
      const what = `${request.verb} ${request.resource.name}`
      const act = before.get(what) ?? Effect.void
      before.delete(what)
      return Effect.andThen(act, kubernetes.send(request))
    }
  }))
  return { ...made, before }
})

/** What readers make of it. */
const readBack = (service: unknown, slice: unknown) => {
  const [its, found] = [Objects.readService(service), Objects.readSlice(slice)]
  if (typeof its === "string" || typeof found === "string") throw new Error(`can't be read: ${its}, ${found}`)
  return KubernetesRecord.readSlice(its, found).map(({ read }) => read)
}

const text = fc.string({ minLength: 1, maxLength: 80, unit: "grapheme" })
const name = fc.oneof(
  text,
  fc.stringMatching(/^[A-Za-z0-9._/-]{1,80}$/),
  fc.constantFrom("weather", "Weather", "a", "-")
)
const url = fc.tuple(
  fc.constantFrom("http", "https"),
  fc.constantFrom("10.0.0.7", "weather.example.com", "[2001:db8::1]"),
  fc.constantFrom("", ":8080"),
  fc.constantFrom("", "/mcp", "/a/b?c=d", "/%20")
).map(([scheme, host, port, path]) => `${scheme}://${host}${port}${path}`)

const instances = fc.record({
  id: name,
  service: name,
  endpoint: fc.oneof(
    fc.record({ transport: fc.constantFrom("streamable-http", "sse", "websocket"), url }),
    fc.record({ transport: fc.constant("stdio"), command: text }),
    fc.record({ transport: fc.constant("a2a"), card: url })
  ),
  version: fc.constantFrom("1.4.0", "1.4.0+build", "", "-"),
  status: fc.constantFrom("up", "draining", "down"),
  zone: fc.constantFrom("a", "us west"),
  metadata: fc.dictionary(text, fc.oneof(text, fc.integer()), { maxKeys: 3 })
}, { requiredKeys: ["id", "service", "endpoint"] }).map((input) => Result.getOrThrow(ServiceInstance.decode(input)))

describe("KubernetesRegistrar", () => {
  it.effect("a record is a slice of its own, under a headless Service that all of its service share", () =>
    Effect.gen(function*() {
      const { asked, registrar, service, slice } = yield* opened()
      const lease = yield* registrar.put(weather(), first)
      assert.strictEqual(Duration.toMillis(lease.ttl), 30_000)
      assert.deepStrictEqual(yield* asked, [
        "patch services portolan-weather",
        "create services",
        "update endpointslices portolan-weather-1",
        "create endpointslices",
        "patch services portolan-weather",
        "list endpointslices"
      ])
      const [its, found] = [yield* service(), yield* slice()]
      assert.deepInclude(its?.["spec"], { clusterIP: "None" })
      const labels = {
        "app.kubernetes.io/managed-by": "portolan",
        "app.kubernetes.io/name": "weather",
        "service.kubernetes.io/headless": ""
      }
      assert.deepInclude(its?.["metadata"], { labels })
      assert.deepInclude(found?.["metadata"], {
        labels: {
          ...labels,
          "app.kubernetes.io/version": "1.4.0",
          "endpointslice.kubernetes.io/managed-by": "portolan.dev",
          "kubernetes.io/service-name": "portolan-weather"
        }
      })
      assert.deepNestedInclude(found, {
        "metadata.ownerReferences": [
          { apiVersion: "v1", kind: "Service", name: "portolan-weather", uid: objectOf(its?.["metadata"])["uid"] }
        ],
        addressType: "IPv4",
        endpoints: [{ addresses: ["10.0.0.7"], conditions: { ready: true, serving: true, terminating: false } }],
        ports: [{ name: "mcp", protocol: "TCP", port: 8080 }]
      })
      assert.deepStrictEqual(readBack(its, found), [Result.succeed(weather())])

      const changed = weather({ status: "draining", weight: 2 })
      yield* registrar.put(changed, first)
      assert.deepStrictEqual(yield* asked, [
        "patch services portolan-weather",
        "update endpointslices portolan-weather-1"
      ])
      const after = yield* slice()
      assert.deepStrictEqual(readBack(its, after), [Result.succeed(changed)])
      assert.deepInclude(after, {
        endpoints: [{ addresses: ["10.0.0.7"], conditions: { ready: false, serving: true, terminating: true } }]
      })
    }))

  it.live("whatever is announced is accepted, and comes back as it was", () =>
    Effect.gen(function*() {
      const { api, registrar } = yield* opened()
      const check = Effect.fnUntraced(function*(instance: ServiceInstance.ServiceInstance) {
        const { handle } = yield* registrar.put(instance, first)
        const where = { namespace: "mcp", name: KubernetesManifest.nameOf(instance.service) }
        const service = yield* api.read({ kind: "Service", ...where })
        const slice = yield* api.read({ kind: "EndpointSlice", namespace: "mcp", name: handle })
        assert.deepStrictEqual(readBack(service, slice), [Result.succeed(instance)])
      })
      yield* Effect.promise(() =>
        fc.assert(fc.asyncProperty(instances, (instance) => Effect.runPromise(check(instance))), { numRuns: 60 })
      )
    }))

  it("names are what Kubernetes takes, and each text has its own", () => {
    fc.assert(fc.property(name, (text) => {
      assert.match(KubernetesManifest.nameOf(text), /^portolan-(?=.{1,54}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
    }))
    const like = [
      "weather",
      "Weather",
      "weather.",
      "-weather",
      "we ather",
      "wéather",
      "a".repeat(40),
      "a".repeat(41),
      "é"
    ].flatMap((text) => [text, KubernetesManifest.nameOf(text).slice("portolan-".length)])
      .filter((text, index, all) => all.indexOf(text) === index)
    assert.strictEqual(new Set(like.map(KubernetesManifest.nameOf)).size, like.length)
    assert.strictEqual(KubernetesManifest.nameOf("weather"), "portolan-weather")
  })

  it.live("a heartbeat is a request for each record, and tells which are gone or taken", () =>
    Effect.gen(function*() {
      const { api, asked, registrar, slice } = yield* opened()
      const leases = yield* Effect.forEach(["a", "b", "c"], (id) => registrar.put(weather({ id }), first))
      const before = yield* slice("portolan-a")
      yield* asked
      yield* Effect.sleep(2)
      assert.deepStrictEqual(yield* registrar.renew(leases), [])
      assert.deepStrictEqual((yield* asked).sort(), ["a", "b", "c"].map((id) => `patch endpointslices portolan-${id}`))
      const after = yield* slice("portolan-a")
      assert.notDeepEqual(before?.["metadata"], after?.["metadata"])
      const service = yield* api.read({ kind: "Service", namespace: "mcp", name: "portolan-weather" })
      assert.deepStrictEqual(readBack(service, after), readBack(service, before))

      yield* api.remove({ kind: "EndpointSlice", namespace: "mcp", name: "portolan-b" })
      yield* registrar.put(weather({ id: "c" }), second)
      const lost = yield* registrar.renew(leases)
      assert.deepStrictEqual(
        lost.map(({ lease, reason, taken }) => [lease.instance.id, reason, taken]),
        [["b", "its record is gone", false], ["c", "another process took its id", true]]
      )
    }))

  it.effect("an id that another process took is free again when that has died", () =>
    Effect.gen(function*() {
      const { registrar } = yield* opened()
      const lease = yield* registrar.put(weather(), first)
      const other = yield* registrar.put(weather(), second)
      const taken = Effect.map(registrar.renew([lease]), (lost) => lost.map(({ taken }) => taken))
      assert.deepStrictEqual(yield* taken, [true])
      yield* TestClock.adjust("29 seconds")
      yield* registrar.renew([other])
      assert.deepStrictEqual(yield* taken, [true])
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* taken, [true])
      // Nobody deletes it.
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* taken, [false])
      const again = yield* registrar.put(weather(), first)
      assert.deepStrictEqual(yield* registrar.renew([again]), [])
    }))

  it.effect("a record that can't be renewed doesn't keep the others from it", () =>
    Effect.gen(function*() {
      const { registrar, slice } = yield* opened({}, (kubernetes) => ({
        ...kubernetes,
        send: (request) =>
          request.verb === "patch" && request.name === "portolan-0"
            ? Effect.fail(new Kubernetes.KubernetesError({ reason: "a policy forbids it", status: 400 }))
            : kubernetes.send(request)
      }))
      const ids = Array.from({ length: 20 }, (_, index) => String(index))
      const leases = yield* Effect.forEach(ids, (id) => registrar.put(weather({ id }), first))
      const renewed = Effect.forEach(ids, (id) =>
        Effect.map(slice(`portolan-${id}`), (found) =>
          objectOf(objectOf(found?.["metadata"])["annotations"])["portolan.dev/renewed"]))
      const before = yield* renewed
      yield* TestClock.adjust("10 seconds")
      assert.include((yield* Effect.flip(registrar.renew(leases))).message, "a policy forbids it")
      const after = yield* renewed
      assert.deepStrictEqual(
        ids.filter((_, index) =>
          before[index] === after[index]
        ),
        ["0"]
      )
    }))

  it.effect("a lease of less than a second is one of a second", () =>
    Effect.gen(function*() {
      const { registrar } = yield* opened()
      const lease = yield* registrar.put(weather(), { ttl: Duration.millis(10), incarnation: "first" })
      assert.strictEqual(Duration.toMillis(lease.ttl), 1_000)
    }))

  it.effect("the last of a service takes its Service with it", () =>
    Effect.gen(function*() {
      const { registrar, service, slice } = yield* opened()
      const one = yield* registrar.put(weather(), first)
      const other = yield* registrar.put(weather({ id: "weather-2" }), first)
      yield* registrar.remove(one)
      assert.isUndefined(yield* slice())
      assert.isDefined(yield* service())
      yield* registrar.remove(other)
      assert.isUndefined(yield* service())
      // Again, and of what is there no more.
      yield* registrar.remove(other)
    }))

  it.effect("what was written while it was being removed stays", () =>
    Effect.gen(function*() {
      let meanwhile: Effect.Effect<unknown, Registry.RegistryError> = Effect.void
      const { api, registrar, slice } = yield* opened({}, (kubernetes) => ({
        ...kubernetes,
        send: (request) =>
          request.verb === "delete"
            ? Effect.andThen(Effect.orDie(meanwhile), kubernetes.send(request))
            : kubernetes.send(request)
      }))
      // By another process, which has it then.
      const old = yield* registrar.put(weather(), first)
      meanwhile = registrar.put(weather(), second)
      yield* registrar.remove(old)
      assert.isDefined(yield* slice())
      // By somebody else, so that it is still ours: it stays until its lease is over.
      const current = yield* registrar.put(weather(), first)
      const [found] = JSON.parse(JSON.stringify([yield* slice()]))
      meanwhile = api.apply({ ...found, metadata: { ...found.metadata, labels: { touched: "yes" } } })
      const error = yield* Effect.flip(registrar.remove(current))
      assert.include(error.message, "Precondition failed")
      assert.isDefined(yield* slice())
      // What somebody deletes just before is gone all the same.
      const where = { namespace: "mcp", name: "portolan-weather" }
      meanwhile = Effect.andThen(
        api.remove({ kind: "EndpointSlice", ...where, name: "portolan-weather-1" }),
        api.remove({ kind: "Service", ...where })
      )
      yield* registrar.remove(current)
    }))

  it.effect("a Service that somebody else made is neither changed nor deleted", () =>
    Effect.gen(function*() {
      const { api, registrar, service, slice } = yield* opened()
      const metadata = {
        name: "portolan-weather",
        namespace: "mcp",
        labels: { "app.kubernetes.io/managed-by": "Helm" }
      }
      yield* api.apply({ kind: "Service", metadata, spec: { ports: [{ port: 80 }] } })
      const before = yield* service()
      const error = yield* Effect.flip(registrar.put(weather(), first))
      assert.strictEqual(
        error.message,
        "kubernetes: put: Service \"portolan-weather\" is somebody else's: announce under another name, or in another namespace"
      )
      assert.deepStrictEqual([yield* service(), yield* slice()], [before, undefined])

      yield* api.remove({ kind: "Service", name: "portolan-weather", namespace: "mcp" })
      const lease = yield* registrar.put(weather(), first)
      yield* api.apply({ kind: "Service", metadata, spec: { ports: [{ port: 80 }] } })
      yield* registrar.remove(lease)
      assert.isUndefined(yield* slice())
      assert.isDefined(yield* service())
    }))

  it.effect("the last one to go and the first one to come don't lose the Service between them", () =>
    Effect.gen(function*() {
      const { before, registrar, service, slice } = yield* interrupted()
      const old = yield* registrar.put(weather(), first)
      before.set("delete services", Effect.orDie(registrar.put(weather({ id: "weather-2" }), first)))
      yield* registrar.remove(old)
      assert.isDefined(yield* service())
      assert.isDefined(yield* slice("portolan-weather-2"))

      const only = yield* registrar.put(weather({ id: "weather-2" }), first)
      before.set("create endpointslices", Effect.orDie(registrar.remove(only)))
      assert.include((yield* Effect.flip(registrar.put(weather(), first))).message, "not found")
      // As core tries it again.
      yield* registrar.put(weather(), first)
      assert.isDefined(yield* service())
      assert.isDefined(yield* slice())
    }))

  it.effect("two that come at once share the Service, and of one id the later one has it", () =>
    Effect.gen(function*() {
      const { before, registrar, slice } = yield* interrupted()
      before.set("create services", Effect.orDie(registrar.put(weather({ id: "weather-2" }), second)))
      const one = yield* registrar.put(weather(), first)
      assert.isDefined(yield* slice())
      assert.isDefined(yield* slice("portolan-weather-2"))
      before.set("create endpointslices", Effect.orDie(registrar.put(weather({ id: "weather-3" }), second)))
      const other = yield* registrar.put(weather({ id: "weather-3" }), first)
      assert.deepStrictEqual(yield* registrar.renew([one, other]), [])
    }))

  it.effect("whose renewal somebody struck out is renewed all the same", () =>
    Effect.gen(function*() {
      const { api, registrar, slice } = yield* opened()
      const lease = yield* registrar.put(weather(), first)
      const [{ metadata, ...rest }] = JSON.parse(JSON.stringify([yield* slice()]))
      const { "portolan.dev/renewed": _, ...annotations } = metadata.annotations
      yield* api.remove({ kind: "EndpointSlice", name: metadata.name, namespace: "mcp" })
      yield* api.apply({ ...rest, metadata: { ...metadata, annotations } })
      assert.deepStrictEqual(yield* registrar.renew([lease]), [])
    }))

  it.effect("an address that only this machine has is refused in one line, and nothing is left behind", () =>
    Effect.gen(function*() {
      const { registrar, service, slice } = yield* opened()
      for (const [host, address] of [["127.0.0.1", "127.0.0.1"], ["[::1]", "::1"]]) {
        const error = yield* Effect.flip(registrar.put(weather({ endpoint: at(`http://${host}:8080/mcp`) }), first))
        assert.strictEqual(
          error.message,
          `kubernetes: put: Kubernetes refuses the address "${address}": may not be in the loopback range ` +
            "(127.0.0.0/8, ::1/128); announce one that pods can reach"
        )
        assert.deepStrictEqual([yield* slice(), yield* service()], [undefined, undefined])
      }
    }))

  it.effect("a record may move from an address to a name", () =>
    Effect.gen(function*() {
      const { asked, registrar, service, slice } = yield* opened()
      yield* registrar.put(weather(), first)
      const moved = weather({ endpoint: at("https://weather.example.com/mcp") })
      yield* registrar.put(moved, first)
      assert.deepStrictEqual((yield* asked).slice(-5), [
        "update endpointslices portolan-weather-1",
        "delete endpointslices portolan-weather-1",
        "create endpointslices",
        "patch services portolan-weather",
        "list endpointslices"
      ])
      assert.deepInclude(yield* slice(), { addressType: "FQDN" })
      assert.deepStrictEqual(readBack(yield* service(), yield* slice()), [Result.succeed(moved)])
    }))

  it.effect("what died is deleted when another instance of its service is announced, an hour later", () =>
    Effect.gen(function*() {
      // Seconds that the server's clock is ahead of what it says of these.
      const age = new Map<string, number>()
      const ago = (time: unknown, name: string) =>
        new Date(Date.parse(String(time)) - 1000 * (age.get(name) ?? 0)).toISOString()
      const creationTimestamp = "2020-01-01T00:00:00Z"
      const { registrar, slice } = yield* opened({}, (kubernetes) => ({
        ...kubernetes,
        list: (selection) =>
          Effect.map(kubernetes.list(selection), (list) => ({
            ...list,
            items: list.items.map((item) => {
              const metadata = objectOf(objectOf(item)["metadata"])
              const name = String(metadata["name"])
              const managedFields = listOf(metadata["managedFields"]).map((fields) => ({
                ...objectOf(fields),
                time: ago(objectOf(fields)["time"], name)
              }))
              return { ...objectOf(item), metadata: { ...metadata, creationTimestamp, managedFields } }
            })
          }))
      }))
      for (const id of ["dead", "late", "alive"]) yield* registrar.put(weather({ id }), first)
      age.set("portolan-dead", 3_640)
      age.set("portolan-late", 3_620)
      yield* registrar.put(weather({ id: "alive" }), first)
      assert.isDefined(yield* slice("portolan-dead"))
      yield* registrar.put(weather({ id: "new" }), first)
      assert.isUndefined(yield* slice("portolan-dead"))
      for (const id of ["late", "alive", "new"]) assert.isDefined(yield* slice(`portolan-${id}`))
    }))

  it.effect("announces without the right to tidy up, and not without that to write", () =>
    Effect.gen(function*() {
      const { api, registrar } = yield* opened()
      yield* api.deny({ verb: "list", resource: "endpointslices" })
      yield* registrar.put(weather(), first)
      yield* api.deny({ verb: "create", resource: "endpointslices" })
      const error = yield* Effect.flip(registrar.put(weather({ id: "weather-2" }), first))
      assert.strictEqual(
        error.message,
        "kubernetes: put: can't create endpointslices in namespace \"mcp\": grant the verb create on endpointslices to portolan"
      )
    }))

  it.effect("writes where it is told, with the labels that readers ask for", () =>
    Effect.gen(function*() {
      const labels = KubernetesRegistrar.labelsOf("app=mcp-server, tier in (a, b),!gone")
      const { api, registrar } = yield* opened({ namespace: "default", labels })
      yield* registrar.put(weather(), first)
      const service = yield* api.read({ kind: "Service", name: "portolan-weather" })
      assert.deepInclude(objectOf(objectOf(service?.["metadata"])["labels"]), { app: "mcp-server", tier: "a" })
    }))

  it("labels of a selector are those that it asks for", () => {
    for (
      const [selector, labels] of [
        ["app=mcp", { app: "mcp" }],
        ["app==mcp,tier = a", { app: "mcp", tier: "a" }],
        ["example.com/mcp in (x,y), other", { "example.com/mcp": "x", other: "" }],
        ["app!=web,!legacy,env notin (dev,test)", {}],
        ["app=,in=on", { app: "", in: "on" }],
        ["", {}]
      ] as const
    ) assert.deepStrictEqual(KubernetesRegistrar.labelsOf(selector), labels, selector)
  })

  it.effect("what lives in this process only is not announced", () =>
    Effect.gen(function*() {
      const { asked, registrar } = yield* opened()
      const error = yield* Effect.flip(registrar.put(weather({ endpoint: { transport: "in-process" } }), first))
      assert.strictEqual(error.message, "kubernetes: put: endpoint: an in-process endpoint is not written down")
      assert.deepStrictEqual(yield* asked, [])
    }))
})

const objectOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {}

const listOf = (value: unknown): ReadonlyArray<unknown> => Array.isArray(value) ? value : []
