/**
 * What browsers get: pages, their files, and how they may be kept.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Gateway from "@portolan/gateway/Gateway"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib"
import * as Dashboard from "../src/internal/dashboard.ts"
import { ask, fleet, type FleetOptions } from "./fleet.ts"
import { problem } from "./rest.ts"

const script = "console.log(1)\n".repeat(50)

/** A build, and a file beside it that is nobody's business. */
const built = Effect.acquireRelease(
  Effect.sync(() => {
    const home = Fs.mkdtempSync(Path.join(Os.tmpdir(), "portolan-dashboard-"))
    Fs.writeFileSync(Path.join(home, "secret.js"), "secret")
    const dist = Path.join(home, "dist")
    Fs.mkdirSync(Path.join(dist, "assets"), { recursive: true })
    Fs.writeFileSync(Path.join(dist, "index.html"), "<!doctype html><base href=\"./\"><title>Portolan</title>")
    Fs.writeFileSync(Path.join(dist, "favicon.svg"), "<svg/>")
    Fs.writeFileSync(Path.join(dist, "assets/font-1.woff2"), "font")
    Fs.writeFileSync(Path.join(dist, "assets/main-1.js"), script)
    Fs.writeFileSync(Path.join(dist, "assets/main-1.js.br"), brotliCompressSync(script))
    Fs.writeFileSync(Path.join(dist, "assets/main-1.js.gz"), gzipSync(script))
    return { home, dist }
  }),
  ({ home }) => Effect.sync(() => Fs.rmSync(home, { recursive: true, force: true }))
)

const withDashboard = <A, E>(
  use: (gateway: Gateway.Gateway["Service"], dist: string) => Effect.Effect<A, E>,
  options: FleetOptions = {}
) =>
  Effect.flatMap(built, ({ dist }) =>
    Effect.provide(
      Effect.flatMap(Gateway.Gateway, (gateway) => use(gateway, dist)),
      fleet({ ...options, dashboard: dist })
    ))

const html = { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" }

/** The body as it was sent. */
const bytes = (port: number, path: string, headers: Record<string, string>) =>
  Effect.promise(async () => {
    const { request } = await import("node:http")
    return new Promise<{ readonly body: Buffer; readonly encoding: string | undefined; readonly etag: string }>(
      (resolve, reject) => {
        request({ host: "127.0.0.1", port, path, headers, agent: false }, (response) => {
          const chunks: Array<Buffer> = []
          response.on("data", (chunk: Buffer) => chunks.push(chunk))
          response.on("end", () =>
            resolve({
              body: Buffer.concat(chunks),
              encoding: response.headers["content-encoding"],
              etag: response.headers.etag ?? ""
            }))
        }).on("error", reject).end()
      }
    )
  })

describe("the dashboard", () => {
  it.live("is a page under every path that nobody else answers, with a base that leads back", () =>
    withDashboard(({ port }) =>
      Effect.gen(function*() {
        const bases = [
          ["/", "./"],
          ["/services", "./"],
          ["/services/", "../"],
          ["/services/weather", "../"],
          ["/services/a.b?tab=tools", "../"],
          ["/instances/a%2Fb?source=c", "../"],
          ["/x/y/z", "../../"],
          ["//elsewhere.example/x", "../../"],
          ["/%2e%2e/%2e%2e/secret.js", "../../"],
          ["/nothing", "./"]
        ] as const
        for (const [path, base] of bases) {
          const page = yield* ask(port, path, { headers: html })
          assert.strictEqual(page.status, 200, path)
          assert.strictEqual(page.headers["content-type"], "text/html; charset=utf-8", path)
          assert.include(page.text, `<base href="${base}">`, path)
          // As the browser sees it behind a proxy that took a path away.
          const shown = new URL(base, `https://example.com/fleet${path}`)
          if (!path.startsWith("//") && !path.includes("%2e")) {
            assert.strictEqual(shown.href, "https://example.com/fleet/", path)
          }
        }
      })
    ))

  it.live("leaves the rest as it was", () =>
    withDashboard(({ port }) =>
      Effect.gen(function*() {
        assert.match((yield* ask(port, "/")).text, /^portolan: MCP at \/mcp/)
        assert.match((yield* ask(port, "/", { headers: { accept: "text/html;q=0, */*" } })).text, /^portolan: MCP/)
        assert.strictEqual((yield* ask(port, "/healthz", { headers: html })).text, "ok\n")
        assert.strictEqual((yield* ask(port, "/mcp", { headers: html })).text, "mcp")
        assert.include((yield* ask(port, "/metrics", { headers: html })).text, "# TYPE")
        assert.include((yield* ask(port, "/api/docs", { headers: html })).text, "Scalar")
        problem(yield* ask(port, "/services/weather"), 404)
        problem(yield* ask(port, "/api/v1/nothing", { headers: html }), 404)
        problem(yield* ask(port, "/api", { headers: html }), 404)
        problem(yield* ask(port, "/assets/gone-2.js", { headers: html }), 404)
        problem(yield* ask(port, "/services/weather", { method: "POST", headers: html }), 404)
        const posted = yield* ask(port, "/assets/main-1.js", { method: "POST" })
        problem(posted, 405)
        assert.strictEqual(posted.headers["allow"], "GET, HEAD")
      })
    ))

  it.live("serves its files, as small as they are wanted, and none beside them", () =>
    withDashboard(({ port }) =>
      Effect.gen(function*() {
        const path = "/assets/main-1.js"
        const plain = yield* ask(port, path)
        assert.deepStrictEqual([plain.status, plain.text], [200, script])
        assert.strictEqual(plain.headers["content-type"], "text/javascript; charset=utf-8")
        assert.strictEqual(plain.headers["cache-control"], "public, max-age=31536000, immutable")
        assert.match(String(plain.headers["vary"]), /Accept-Encoding/)
        const taken = (accepted: string) => bytes(port, path, { "accept-encoding": accepted })
        const [gzip, brotli, neither, refused] = yield* Effect.all([
          taken("gzip, deflate"),
          taken("gzip, deflate, br, zstd"),
          taken("zstd"),
          taken("br;q=0, gzip;q=0.0")
        ])
        assert.deepStrictEqual([gzip.encoding, gunzipSync(gzip.body).toString()], ["gzip", script])
        assert.deepStrictEqual([brotli.encoding, brotliDecompressSync(brotli.body).toString()], ["br", script])
        for (const { body, encoding } of [neither, refused]) {
          assert.deepStrictEqual([encoding, body.toString()], [undefined, script])
        }
        assert.strictEqual(new Set([gzip.etag, brotli.etag, neither.etag]).size, 3)
        const head = yield* ask(port, path, { method: "HEAD", headers: { "accept-encoding": "br" } })
        assert.deepStrictEqual(
          [head.status, head.text, head.headers["content-length"], head.headers["etag"]],
          [200, "", String(brotli.body.length), brotli.etag]
        )
        assert.strictEqual((yield* ask(port, "/assets/font-1.woff2")).headers["content-type"], "font/woff2")
        assert.strictEqual((yield* ask(port, "/favicon.svg")).headers["cache-control"], "no-cache")
        for (
          const beside of [
            "/../secret.js",
            "/assets/../../secret.js",
            "/assets/..%2f..%2fsecret.js",
            "/%2e%2e/secret.js",
            "/assets/main-1.js.br",
            "/assets",
            "/assets/"
          ]
        ) {
          assert.strictEqual((yield* ask(port, beside)).status, 404, beside)
        }
      })
    ))

  it.live("is asked for again, and kept where it is as it was", () =>
    withDashboard(({ port }) =>
      Effect.gen(function*() {
        const page = yield* ask(port, "/services", { headers: html })
        assert.strictEqual(page.headers["cache-control"], "no-cache")
        const etag = String(page.headers["etag"])
        const again = yield* ask(port, "/services", { headers: { ...html, "if-none-match": etag } })
        assert.deepStrictEqual([again.status, again.text], [304, ""])
        assert.strictEqual(again.headers["content-security-policy"], page.headers["content-security-policy"])
        const head = yield* ask(port, "/services", { method: "HEAD", headers: html })
        assert.deepStrictEqual([head.status, head.text, head.headers["etag"]], [200, "", etag])
        // Another base is another page.
        assert.notStrictEqual((yield* ask(port, "/services/a", { headers: html })).headers["etag"], etag)
      })
    ))

  it.live("lets its browser load nothing but from here, and show it in nobody's frame", () =>
    withDashboard(({ port }) =>
      Effect.gen(function*() {
        for (const path of ["/", "/assets/main-1.js", "/favicon.svg"]) {
          const { headers } = yield* ask(port, path, { headers: html })
          const policy = new Map(
            String(headers["content-security-policy"]).split("; ").map((directive) => {
              const [name = "", ...sources] = directive.split(" ")
              return [name, sources.join(" ")]
            })
          )
          assert.strictEqual(policy.get("default-src"), "'none'", path)
          assert.strictEqual(policy.get("frame-ancestors"), "'none'", path)
          assert.notMatch([...policy.values()].join(" "), /unsafe|http|\*/, path)
          assert.strictEqual(headers["x-content-type-options"], "nosniff", path)
          assert.strictEqual(headers["referrer-policy"], "no-referrer", path)
        }
        // Nor is it shown under a name that isn't ours.
        assert.strictEqual((yield* ask(port, "/", { headers: { ...html, host: "evil.example" } })).status, 403)
      })
    ))

  it.live("comes and goes while the gateway runs; without its files there is none", () =>
    withDashboard((gateway, dist) =>
      Effect.gen(function*() {
        const shown = Effect.map(ask(gateway.port, "/", { headers: html }), ({ text }) => text.includes("<base"))
        assert.isTrue(yield* shown)
        yield* gateway.reconfigure({ port: 0 })
        assert.isFalse(yield* shown)
        problem(yield* ask(gateway.port, "/assets/main-1.js"), 404)
        yield* gateway.reconfigure({ port: 0, dashboard: dist })
        assert.isTrue(yield* shown)
        yield* gateway.reconfigure({ port: 0, dashboard: Path.join(dist, "nowhere") })
        assert.isFalse(yield* shown)
        assert.strictEqual((yield* ask(gateway.port, "/healthz")).status, 200)
      })
    ))

  it.effect("is there once its files can be read", () =>
    Effect.gen(function*() {
      const { home } = yield* built
      const late = Path.join(home, "late")
      const answer = Dashboard.make(late)
      const shown = Effect.map(
        answer(HttpServerRequest.fromWeb(new Request("http://localhost/", { headers: html }))),
        (response) => response !== undefined
      )
      assert.isFalse(yield* shown)
      Fs.renameSync(Path.join(home, "dist"), late)
      assert.isFalse(yield* shown)
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(yield* shown)
      Fs.rmSync(late, { recursive: true })
      yield* TestClock.adjust("1 hour")
      assert.isTrue(yield* shown)
    }))
})
