import { assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Registry from "@portolan/core/Registry"
import { Gateway } from "@portolan/gateway/Gateway"
import * as WriteAccess from "@portolan/gateway/rest/WriteAccess"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { request } from "node:http"
import { networkInterfaces } from "node:os"
import { type Answer, fleet, instance } from "./fleet.ts"
import { Fields, fields, instances, names, problem, record, rest, until } from "./rest.ts"

describe("writes", () => {
  it.live("announces, changes and takes back", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        const made = yield* send("POST", "/instances?ttl=90s", record("maps-1", { tags: ["x"] }))
        assert.strictEqual(made.status, 201)
        assert.strictEqual(made.headers["location"], "/api/v1/instances/maps-1?source=memory")
        const view = fields(made.json)
        assert.deepInclude(view, { id: "maps-1", service: "maps", source: "memory", tags: ["x"] })
        assert.deepInclude(fields(view["lease"]), { registry: "memory", ttl: 90 })
        assert.strictEqual((yield* get("/instances/maps-1")).status, 200)

        const again = problem(yield* send("POST", "/instances", record("maps-1")), 409)
        assert.strictEqual(again.detail, "maps-1 is announced in memory already; change it with PUT")

        const changed = yield* send("PUT", "/instances/maps-1", record("maps-1", { tags: ["y"] }))
        assert.strictEqual(changed.status, 200, changed.text)
        assert.deepEqual(fields((yield* get("/instances/maps-1")).json)["tags"], ["y"])

        assert.strictEqual((yield* send("DELETE", "/instances/maps-1")).status, 204)
        problem(yield* get("/instances/maps-1"), 404)
        problem(yield* send("DELETE", "/instances/maps-1"), 404)
        assert.strictEqual((yield* send("PUT", "/instances/maps-2", record("maps-2"))).status, 201)
      })))

  it.live("keeps what it was given until its lease is over, and PUT begins that anew", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* send("POST", "/instances?ttl=1s", record("short"))).status, 201)
        assert.strictEqual((yield* send("POST", "/instances?ttl=5m", record("kept"))).status, 201)
        assert.strictEqual((yield* send("PUT", "/instances/kept?ttl=1h", record("kept"))).status, 200)
        yield* until(Effect.map(get("/instances/short"), ({ status }) => status === 404))
        assert.strictEqual((yield* get("/instances/kept")).status, 200)
      })))

  it.live("tells every mistake of a record", () =>
    rest({}, ({ send }) =>
      Effect.gen(function*() {
        const told = problem(
          yield* send("POST", "/instances", {
            id: "",
            endpoint: { transport: "streamable-http", url: "ftp://x" },
            weight: -1
          }),
          400
        )
        const paths = Schema.decodeUnknownSync(Schema.Array(Fields))(told.errors).map((error) => error["path"])
        assert.sameMembers(paths, ["id", "service", "endpoint.url", "weight"])
        assert.include(told.detail, "endpoint.url: expected an http(s) URL")
        assert.include(problem(yield* send("PUT", "/instances/a", record("b")), 400).detail, "id: expected a")
        assert.include(
          problem(yield* send("POST", "/instances?ttl=1ms", record("a")), 400).detail,
          "ttl: expected 1s to"
        )
        assert.include(
          problem(yield* send("POST", "/instances?ttl=soon", record("a")), 400).detail,
          "ttl: expected a dur"
        )
        assert.include(problem(yield* send("POST", "/instances?regstry=x", record("a")), 400).detail, "\"registry\"?")
        const endpoint = { transport: "sse", url: "http://h/", headers: { Authorization: "***" } }
        assert.include(
          problem(yield* send("POST", "/instances", record("a", { endpoint })), 400).detail,
          "endpoint.headers.Authorization: this stands for a value that isn't shown"
        )
        const large = record("a", { metadata: { text: "x".repeat(70_000) } })
        assert.include(problem(yield* send("POST", "/instances", large), 413).detail, "65536")
      })))

  const readOnly = Registry.make({
    name: "fixed",
    type: "static",
    list: Effect.succeed(Registry.snapshot([instance("fixed-1")])),
    watch: Stream.concat(Stream.succeed(Registry.snapshot([instance("fixed-1")])), Stream.never)
  })

  it.live("leaves alone what is somebody else's", () =>
    rest({ instances, registries: [readOnly] }, ({ get, send }) =>
      Effect.gen(function*() {
        const other = problem(yield* send("POST", "/instances", record("fixed-1")), 409)
        assert.strictEqual(other.source, "fixed")
        assert.include(other.detail, "registry fixed announces fixed-1 already")
        assert.strictEqual(problem(yield* send("PUT", "/instances/fixed-1", record("fixed-1")), 409).source, "fixed")
        const closed = problem(yield* send("POST", "/instances?registry=fixed", record("new")), 409)
        assert.include(closed.detail, "registry fixed (static) is read-only; those that can be written: memory")
        const unknown = problem(yield* send("POST", "/instances?registry=nowhere", record("new")), 404)
        assert.include(unknown.detail, "no registry is called nowhere; those that can be written: memory")
        // Configured in the registry that is written to.
        const own = problem(yield* send("PUT", "/instances/db-1", record("db-1")), 409)
        assert.include(own.detail, "is configured here")
        assert.include(
          problem(yield* send("DELETE", "/instances/db-1"), 409).detail,
          "not announced through this gateway"
        )
        assert.deepInclude(fields((yield* get("/instances/db-1")).json), { service: "db" })
      })))

  it.live("marks only what is marked as it was read", () =>
    rest({ instances }, ({ get, send }) =>
      Effect.gen(function*() {
        const mark = (body: object, etag?: string) =>
          send("PUT", "/instances/db-1/mark", body, etag === undefined ? {} : { "if-match": etag })
        const tag = (answer: Answer) => String(answer.headers["etag"])
        const health = yield* get("/instances/db-1/health")
        assert.notProperty(fields(health.json), "mark")
        const mine = yield* mark({ as: "draining", reason: "mine" }, tag(health))
        assert.strictEqual(mine.status, 200, mine.text)
        const told = fields(fields(mine.json)["mark"])
        assert.deepInclude(told, { as: "draining", reason: "mine" })
        assert.deepEqual(fields((yield* get("/instances/db-1/health")).json)["mark"], told)

        // Somebody who read it before.
        const other = yield* mark({ as: "down", reason: "theirs" }, tag(health))
        const refused = problem(other, 412)
        assert.strictEqual(refused.detail, `db-1 was marked draining at ${told["at"]}: mine; read its health again`)
        assert.deepInclude(fields(other.json), { source: "memory", changedAt: told["at"], mark: told })
        assert.strictEqual(fields((yield* get("/instances/db-1/health")).json)["status"], "draining")
        // With the tag of the refusal, or of the answer to a mark, it goes.
        assert.strictEqual((yield* mark({ as: "down", reason: "theirs" }, String(refused.etag))).status, 200)
        const up = yield* mark({ as: "up" })
        assert.notProperty(fields(up.json), "mark")
        const gone = problem(yield* mark({ as: "down" }, tag(mine)), 412)
        assert.strictEqual(gone.detail, "the mark of db-1 was taken away meanwhile; read its health again")
        assert.strictEqual((yield* mark({ as: "draining" }, tag(up))).status, 200)
        assert.strictEqual((yield* mark({ as: "up" }, "*")).status, 200)
      })))

  it.live("takes nothing that starts a process or names a secret", () =>
    rest({}, ({ send }) =>
      Effect.gen(function*() {
        const process = record("p", { endpoint: { transport: "stdio", command: "sh" } })
        const secret = record("s", {
          endpoint: { transport: "sse", url: "http://h/", headers: { Authorization: { env: "HOME" } } }
        })
        // The registry of these tests is trusted, and the writes are not protected.
        for (const body of [process, secret]) {
          assert.include(problem(yield* send("POST", "/instances", body), 403).detail, "gateway.token")
        }
      })))

  it.live("asks for trust, token or not", () =>
    Effect.gen(function*() {
      const limited = yield* MemoryRegistry.make({ name: "limited" })
      yield* rest({ registries: [limited], token: "t" }, ({ get, send }) =>
        Effect.gen(function*() {
          const auth = { authorization: "Bearer t" }
          const process = record("p", { endpoint: { transport: "stdio", command: "sh" } })
          const told = problem(yield* send("POST", "/instances?registry=limited", process, auth), 403)
          assert.include(told.detail, "registry \"limited\" isn't trusted")
          assert.strictEqual((yield* send("POST", "/instances", process, auth)).status, 201)
          assert.strictEqual((yield* get("/instances/p")).status, 200)
        }))
    }))

  it.live("asks what the registry may announce, whatever it is trusted with", () =>
    Effect.gen(function*() {
      const memory = yield* MemoryRegistry.make({ name: "narrow", trust: "full" })
      const narrow = { ...memory, allow: { services: ["weather"] } }
      yield* rest({ registries: [narrow], token: "t" }, ({ send }) =>
        Effect.gen(function*() {
          const auth = { authorization: "Bearer t" }
          const told = problem(yield* send("POST", "/instances?registry=narrow", record("payments"), auth), 403)
          assert.include(told.detail, "registry \"narrow\" may not announce")
          const weather = record("w", { service: "weather" })
          assert.strictEqual((yield* send("POST", "/instances?registry=narrow", weather, auth)).status, 201)
        }))
    }))

  it.live("refuses a change of what was changed meanwhile, and says whose change it was", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        const made = yield* send("POST", "/instances", record("a"))
        const etag = String((yield* get("/instances/a")).headers["etag"])
        assert.strictEqual(etag.split(".")[0], String(made.headers["etag"]).split(".")[0])
        // Its health changes, its record doesn't.
        assert.strictEqual((yield* send("PUT", "/instances/a/mark", { as: "down", reason: "maintenance" })).status, 200)
        const moved = yield* get("/instances/a")
        assert.notStrictEqual(moved.headers["etag"], etag)
        const good = yield* send("PUT", "/instances/a", record("a", { tags: ["1"] }), { "if-match": etag })
        assert.strictEqual(good.status, 200, good.text)
        const late = problem(
          yield* send("PUT", "/instances/a", record("a", { tags: ["2"] }), { "if-match": etag }),
          412
        )
        assert.strictEqual(late.source, "memory")
        assert.match(late.detail, /a was changed in memory at \d{4}-/)
        problem(yield* send("DELETE", "/instances/a", undefined, { "if-match": etag }), 412)
        const now = String((yield* get("/instances/a")).headers["etag"])
        assert.strictEqual((yield* send("DELETE", "/instances/a", undefined, { "if-match": now })).status, 204)
        problem(yield* send("PUT", "/instances/a", record("a"), { "if-match": "*" }), 412)
      })))

  it.live("lets one of several that change the same thing at once have its way", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        yield* send("POST", "/instances", record("a"))
        for (let round = 0; round < 5; round++) {
          const etag = String((yield* get("/instances/a")).headers["etag"])
          const writes = yield* Effect.all(
            ["1", "2", "3"].map((tag) =>
              send("PUT", "/instances/a", record("a", { tags: [`${round}-${tag}`] }), { "if-match": etag })
            ),
            { concurrency: "unbounded" }
          )
          assert.deepEqual(writes.map(({ status }) => status).sort(), [200, 412, 412])
          const done = writes.find(({ status }) => status === 200)
          assert.deepEqual(fields(done?.json)["tags"], fields((yield* get("/instances/a")).json)["tags"])
        }
      })))

  it.live("takes back what it shows, without what it adds", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        yield* send("POST", "/instances", record("a", { health: { path: "/up", interval: "5s" }, extra: { kept: 1 } }))
        const read = yield* get("/instances/a")
        const changed = yield* send("PUT", "/instances/a", read.text, { "if-match": String(read.headers["etag"]) })
        assert.strictEqual(changed.status, 200, changed.text)
        const view = fields((yield* get("/instances/a")).json)
        assert.deepEqual(view["extra"], { kept: 1 })
        assert.deepInclude(fields(view["health"]), { path: "/up", interval: "5s" })
        assert.strictEqual(String(changed.headers["etag"]).split(".")[0], String(read.headers["etag"]).split(".")[0])
      })))

  it.live("makes the registry memory where there is none", () =>
    Effect.gen(function*() {
      const other = yield* MemoryRegistry.make({ name: "other" })
      yield* rest({ registries: [other], memory: false }, ({ get, send }) =>
        Effect.gen(function*() {
          assert.deepEqual(names(yield* get("/sources")), ["other"])
          assert.strictEqual((yield* send("POST", "/instances", record("a"))).status, 201)
          assert.deepEqual(names(yield* get("/sources")), ["memory", "other"])
          assert.strictEqual((yield* send("POST", "/instances?registry=other", record("b"))).status, 201)
          assert.deepInclude(fields((yield* get("/instances/b")).json), { source: "other" })
          assert.include(
            problem(yield* send("PUT", "/instances/b", record("b")), 409).detail,
            "registry other announces b"
          )
        }))
    }))

  it.live("marks, checks and refreshes", () =>
    rest({ instances }, ({ get, send }) =>
      Effect.gen(function*() {
        const marked = yield* send("PUT", "/instances/db-1/mark", { as: "draining", reason: "upgrade" })
        assert.deepInclude(fields(marked.json), {
          status: "draining",
          reason: "marked draining: upgrade"
        })
        assert.deepInclude(fields((yield* get("/services/db")).json), { available: 0 })
        const cleared = yield* send("PUT", "/instances/db-1/mark", { as: "up" })
        assert.deepInclude(fields(cleared.json), { status: "unknown" })
        problem(yield* send("PUT", "/instances/db-1/mark", { as: "sideways" }), 400)
        problem(yield* send("PUT", "/instances/nobody/mark", { as: "down" }), 404)
        assert.strictEqual((yield* send("POST", "/instances/db-1/check")).status, 200)
        problem(yield* send("POST", "/instances/nobody/check"), 404)
        assert.deepEqual(names(yield* send("POST", "/refresh")), ["memory"])
        assert.deepEqual(names(yield* send("POST", "/refresh?source=memory")), ["memory"])
        assert.include(problem(yield* send("POST", "/refresh?source=x"), 404).detail, "there are: memory")
      })))

  it.live("tells what a registry said when it failed", () =>
    Effect.gen(function*() {
      const fail = (operation: string) =>
        Effect.fail(new Registry.RegistryError({ registry: "broken", operation, reason: "the disk is full" }))
      const broken = Registry.make({
        name: "broken",
        type: "broken",
        list: fail("list"),
        watch: Stream.concat(Stream.succeed(Registry.snapshot([])), Stream.never),
        registrar: Option.some({ put: () => fail("put"), renew: () => fail("renew"), remove: () => fail("remove") })
      })
      yield* rest({ registries: [broken] }, ({ send }) =>
        Effect.gen(function*() {
          const told = problem(yield* send("POST", "/instances?registry=broken", record("a")), 502)
          assert.include(told.detail, "the disk is full")
          assert.include(problem(yield* send("POST", "/refresh?source=broken"), 502).detail, "the disk is full")
        }))
    }))

  it.live("doesn't say that a change was made that the registry refused", () =>
    Effect.gen(function*() {
      const memory = yield* MemoryRegistry.make({ name: "moody" })
      const writes = Option.getOrThrow(memory.registrar)
      let isBroken = false
      const moody: Registry.Registry = {
        ...memory,
        registrar: Option.some({
          ...writes,
          put: (instance, options) =>
            isBroken
              ? Effect.fail(
                new Registry.RegistryError({ registry: "moody", operation: "put", reason: "the disk is full" })
              )
              : writes.put(instance, options)
        })
      }
      yield* rest({ registries: [moody] }, ({ get, send }) =>
        Effect.gen(function*() {
          const path = "/instances/a?registry=moody"
          assert.strictEqual((yield* send("PUT", path, record("a"))).status, 201)
          isBroken = true
          const told = problem(yield* send("PUT", path, record("a", { tags: ["x"] })), 502)
          assert.include(told.detail, "the disk is full")
          isBroken = false
          // It is tried again until it is there.
          yield* until(Effect.map(get("/instances?tag=x"), (found) => names(found).length === 1))
          assert.strictEqual((yield* send("PUT", path, record("a", { tags: ["x"] }))).status, 200)
        }))
    }))

  it.live("asks two instances of one id which is meant", () =>
    Effect.gen(function*() {
      const other = yield* MemoryRegistry.make({
        name: "other",
        instances: [instance("db-1", record("elsewhere", { id: "db-1" }))]
      })
      yield* rest({ instances, registries: [other] }, ({ send }) =>
        Effect.gen(function*() {
          const told = problem(yield* send("PUT", "/instances/db-1/mark", { as: "down" }), 409)
          assert.include(told.detail, "?source=")
          assert.strictEqual((yield* send("PUT", "/instances/db-1/mark?source=other", { as: "down" })).status, 200)
        }))
    }))
})

describe("access to writes", () => {
  const writes: ReadonlyArray<readonly [string, string, unknown]> = [
    ["POST", "/instances", record("a")],
    ["PUT", "/instances/a", record("a")],
    ["DELETE", "/instances/a", undefined],
    ["PUT", "/instances/db-1/mark", { as: "down" }],
    ["POST", "/instances/db-1/check", undefined],
    ["POST", "/refresh", undefined]
  ]

  it.live("needs the token where one is configured; reading doesn't", () =>
    rest({ instances, token: "s3cret" }, ({ get, send }) =>
      Effect.gen(function*() {
        for (const [method, path, body] of writes) {
          for (
            const authorization of [
              undefined,
              "Bearer",
              "Bearer wrong",
              "Bearer s3cre",
              "Bearer s3crets",
              "Basic s3cret"
            ]
          ) {
            const answer = yield* send(method, path, body, authorization === undefined ? {} : { authorization })
            assert.notInclude(problem(answer, 401).detail, "s3cret")
            assert.strictEqual(answer.headers["www-authenticate"], "Bearer realm=\"portolan\"")
          }
          const answer = yield* send(method, path, body, { authorization: "bearer s3cret" })
          assert.isBelow(answer.status, 300, `${method} ${path}: ${answer.text}`)
        }
        for (const path of ["/status", "/instances", "/openapi.json", "/access"]) {
          assert.strictEqual((yield* get(path)).status, 200)
        }
        const access = (headers: Record<string, string>) =>
          Effect.map(get("/access", headers), ({ json, text }) => {
            assert.notInclude(text, "s3cret")
            return fields(json)["writes"]
          })
        assert.strictEqual(yield* access({}), "token")
        assert.strictEqual(yield* access({ authorization: "Bearer wrong" }), "token")
        assert.strictEqual(yield* access({ authorization: "Basic s3cret" }), "token")
        assert.strictEqual(yield* access({ authorization: "bearer s3cret" }), "allowed")
      })))

  it.live("takes writes of this machine without a token, but not of other pages", () =>
    rest({ allowedOrigins: ["https://app.example.com"] }, ({ get, port, send }) =>
      Effect.gen(function*() {
        const put = (headers: Record<string, string>) => send("PUT", "/instances/a", record("a"), headers)
        assert.strictEqual((yield* put({})).status, 201)
        assert.strictEqual((yield* put({ host: `127.0.0.1:${port}`, origin: `http://127.0.0.1:${port}` })).status, 200)
        assert.strictEqual((yield* put({ origin: "https://app.example.com" })).status, 200)
        assert.include(problem(yield* put({ origin: "http://localhost:3000" }), 403).detail, "gateway.token")
        problem(yield* put({ origin: "https://evil.example" }), 403)
        assert.strictEqual(fields((yield* get("/access")).json)["writes"], "allowed")
        const other = fields((yield* get("/access", { origin: "http://localhost:3000" })).json)
        assert.strictEqual(other["writes"], "refused")
        assert.include(String(other["reason"]), "pages of http://localhost:3000 may not write here")
        // A page behind a proxy that names the gateway's own host to it: its reads carry no origin.
        const page = (origin: string) =>
          Effect.map(get(`/access?origin=${encodeURIComponent(origin)}`), ({ json }) => fields(json))
        assert.strictEqual((yield* page(`http://127.0.0.1:${port}`))["writes"], "allowed")
        assert.strictEqual((yield* page("https://app.example.com"))["writes"], "allowed")
        assert.include(yield* page("http://localhost:3000"), { writes: "refused" })
        assert.deepStrictEqual(yield* page("https://behind.example"), {
          writes: "refused",
          reason: problem(yield* put({ origin: "https://behind.example" }), 403).detail
        })
      })))

  it("tells loopback peers from others", () => {
    const status = (options: WriteAccess.WriteAccessOptions, peer: string | undefined, token?: string) =>
      WriteAccess.refusal(options, { peer, token })?.status ?? 200
    const protected_ = { token: Redacted.make("t") }
    for (const peer of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
      assert.strictEqual(status({}, peer), 200, peer)
      assert.strictEqual(status(protected_, peer), 401, peer)
    }
    for (const peer of ["10.0.0.9", "::ffff:10.0.0.9", "fe80::1", "128.127.0.0", "127.0.0.1.evil", undefined]) {
      assert.strictEqual(status({}, peer), 403, String(peer))
      assert.include(WriteAccess.refusal({}, { peer, token: "any" })?.detail, "configure gateway.token")
      assert.strictEqual(status(protected_, peer), 401)
      assert.strictEqual(status(protected_, peer, "t"), 200)
    }
  })

  it.live("takes none without a token under a name that others reach it by", () =>
    rest(
      { allowedHosts: ["inside.example"], publicUrl: "https://mcp.example.com" },
      ({ get, port, send }) =>
        Effect.gen(function*() {
          const put = (headers: Record<string, string>) => send("PUT", "/instances/a", record("a"), headers)
          for (const host of ["mcp.example.com", "inside.example", "inside.example:8443"]) {
            for (const origin of [`https://${host}`, undefined]) {
              const headers = { host, ...origin === undefined ? {} : { origin } }
              const { detail } = problem(yield* put(headers), 403)
              assert.include(detail, "configure gateway.token")
              assert.deepStrictEqual((yield* get("/access", headers)).json, { writes: "refused", reason: detail })
            }
          }
          for (const name of ["localhost", "127.0.0.1", "[::1]"]) {
            const answer = yield* put({ host: `${name}:${port}`, origin: `http://${name}:${port}` })
            assert.isBelow(answer.status, 300, answer.text)
          }
        })
    ))

  it.live("takes none without a token through a proxy, whatever that says of whom it is for", () =>
    rest({}, ({ get, send }) =>
      Effect.gen(function*() {
        for (const said of [{ "x-forwarded-for": "127.0.0.1" }, { forwarded: "for=127.0.0.1" }, { via: "1.1 proxy" }]) {
          const { detail } = problem(yield* send("PUT", "/instances/a", record("a"), said), 403)
          assert.include(detail, "this came through a proxy")
          assert.deepStrictEqual((yield* get("/access", said)).json, { writes: "refused", reason: detail })
        }
      })))

  it.live("doesn't believe what a proxy may have said", () =>
    Effect.gen(function*() {
      const address = Object.values(networkInterfaces()).flat().find((one) =>
        one !== undefined && !one.internal && one.family === "IPv4"
      )?.address
      // A machine without a network has loopback addresses only: then that one is asked.
      const host = address ?? "127.0.0.1"
      yield* Effect.flatMap(Gateway, ({ port }) =>
        Effect.callback<number, Error>((resume) => {
          const headers = {
            "x-forwarded-for": "127.0.0.1",
            "forwarded": "for=127.0.0.1",
            "content-type": "application/json"
          }
          const outgoing = request(
            { host, port, path: "/api/v1/refresh", method: "POST", headers, agent: false },
            (answer) => {
              answer.resume()
              resume(Effect.succeed(answer.statusCode ?? 0))
            }
          )
          outgoing.on("error", (error) => resume(Effect.fail(error)))
          outgoing.end()
        })).pipe(
          Effect.map((status) => assert.strictEqual(status, 403)),
          Effect.provide(fleet({ host }))
        )
    }))
})
