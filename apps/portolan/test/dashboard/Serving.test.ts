/**
 * What the browser gets from the gateway and from nowhere else, and what names and addresses of others can do to it.
 * Numbers are those of the acceptance checks in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { request } from "node:http"
import { registry } from "../fleet.ts"
import { assertNoFaults, Browser, complete, lacking, overflow, visit } from "./browser.ts"
import { places } from "./pages.ts"
import { proxy } from "./proxy.ts"
import { type Scene, scene, settled, traffic } from "./scenes.ts"
import { servers, text } from "./servers.ts"

const hostile = [
  "<img src=x onerror=globalThis.taken=1>",
  "\u202Egnp.ecalap\u202C",
  "🚢".repeat(40),
  "x".repeat(10_000),
  "nul\u0000byte",
  "{{constructor}}",
  "../../etc"
]

const secret = "hunter2-very-secret"

class Port extends Context.Service<Port, Scene>()("portolan/test/dashboard/Serving") {
  static readonly layer = Layer.effect(
    Port,
    Effect.gen(function*() {
      const get_forecast = {
        name: "get_forecast",
        description: hostile.slice(0, 5).join(" "),
        run: () => text(hostile.join("\n"))
      }
      const made = yield* servers(
        new Map(["weather", ...hostile].map((name) => [name, { version: "1.0.0", latency: 1, tools: [get_forecast] }]))
      )
      const instance = (service: string, id: string, region: string) => ({
        id,
        service,
        region,
        version: service === "weather" ? "1.0.0" : service,
        tags: [id],
        endpoint: {
          transport: "streamable-http",
          url: made.url(service, id),
          ...service === "weather" ? { headers: { authorization: `Bearer ${secret}` } } : {}
        }
      })
      const running = yield* scene({
        local: registry(
          instance("weather", "weather-1", "eu-west-1"),
          ...hostile.map((name, at) => instance(name, name, at % 2 === 0 ? name : ""))
        )
      }, {
        gateway: { sessionKey: secret },
        webhooks: [{ url: `http://127.0.0.1:9/?token=${secret}`, headers: { authorization: secret }, secret }]
      })
      yield* traffic(running.url, [{ tool: "weather__get_forecast", rate: 5 }])
      // The id with a NUL is rejected, which the page of sources tells.
      yield* settled(running.url, { healthy: hostile.length })
      return running
    })
  )
}

const get = (url: string, headers: Readonly<Record<string, string>>) =>
  new Promise<{ readonly status: number; readonly headers: Readonly<Record<string, unknown>> }>((resolve, reject) => {
    request(url, { headers }, (response) => {
      response.resume().on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers }))
    }).on("error", reject).end()
  })

describe.skipIf(lacking !== undefined)("serving", () => {
  layer(Layer.merge(Browser.layer, Port.layer), { timeout: "120 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "13, 14: each page comes from the gateway alone, breaks no policy, shows any name as text, and tells no secret",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Port
          const visited = yield* visit(url, "/")
          const { page } = visited
          yield* Effect.promise(async () => {
            // What is told, whether a page shows it or not. Bodies of what was given up are lost.
            const bodies: Array<Promise<readonly [url: string, body: string]>> = []
            page.on("response", (response) => {
              bodies.push(response.text().catch(() => "").then((body) => [response.url(), body]))
            })
            const told = new Set<string>()
            const others = [
              "/instances/weather-1?source=local",
              `/services/${encodeURIComponent(hostile[0] ?? "")}`,
              `/instances/${encodeURIComponent(hostile[3] ?? "")}?source=local`
            ]
            for (const path of [...places.map(({ path }) => path), ...others]) {
              await page.goto(url + path)
              await complete(page)
              assert.isAtMost(await overflow(page), 0, path)
              assert.isFalse((await page.content()).includes(secret), path)
              for (const [address, body] of await Promise.all(bodies.splice(0))) {
                told.add(new URL(address).pathname)
                assert.isFalse(body.includes(secret), `${address} on ${path}`)
              }
              const shown = { "/configuration": "webhooks", [others[0] ?? ""]: "authorization" }[path]
              if (shown !== undefined) assert.include(await page.locator("main").textContent(), shown)
            }
            for (const path of ["configuration", "instances/weather-1", "tools", "changes"]) {
              assert.isTrue(told.has(`/api/v1/${path}`), path)
            }
            // The stream is a worker's, whose answers no page sees.
            const { body } = await fetch(`${url}/api/v1/events`)
            let snapshot = ""
            for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) {
              snapshot += piece
              if (/event: snapshot[^]*\n\n/.test(snapshot)) break
            }
            assert.include(snapshot, "weather-1")
            assert.isFalse(snapshot.includes(secret))
            assert.strictEqual(await page.evaluate("globalThis.taken"), undefined)
            assert.strictEqual(await page.locator("img").count(), 0)
          })
          assertNoFaults(visited)
        }),
      60_000
    )

    it.effect("13: it works under the path that a proxy gives it, from the deepest page on", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const between = yield* proxy(url, { path: "/tools/portolan" })
        const visited = yield* visit(between.url, "/services/weather?tab=health")
        const { page } = visited
        yield* Effect.promise(async () => {
          await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Instances" }).click()
          await page.getByRole("link", { name: "weather-1" }).click()
          await page.waitForURL(`${between.url}/instances/weather-1?source=local`)
          await page.reload()
          await page.getByRole("complementary").getByRole("heading", { name: "weather-1" }).waitFor()
          await page.goBack()
          await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Chart" }).click()
          await page.waitForURL(`${between.url}/`)
        })
        assertNoFaults(visited)
      }))

    it.effect("13: files with a hash in their names are kept for ever, the page is asked for again; all come compressed", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        yield* Effect.promise(async () => {
          const page = await fetch(`${url}/`, { headers: { accept: "text/html" } })
          assert.strictEqual(page.headers.get("cache-control"), "no-cache")
          const again = await fetch(`${url}/services/x`, {
            headers: { accept: "text/html", "if-none-match": page.headers.get("etag") ?? "" }
          })
          // Its base is another one.
          assert.strictEqual(again.status, 200)
          // Fonts are compressed as they are.
          const assets = Array.from(
            (await page.text()).matchAll(/(?:src|href)="(?:\.\/)?(assets\/[^"]+\.(?:js|css))"/g),
            ([, path]) => path
          )
          assert.isAbove(assets.length, 1)
          for (const path of assets) {
            for (const encoding of ["br", "gzip"]) {
              const { headers, status } = await get(`${url}/${path}`, { "accept-encoding": encoding })
              assert.strictEqual(status, 200, path)
              assert.strictEqual(headers["content-encoding"], encoding, path)
              assert.match(String(headers["cache-control"]), /max-age=31536000, immutable/)
            }
          }
        })
      }))

    it.effect("14: writes for a foreign origin or a foreign host are refused", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const port = new URL(url).port
        const write = (headers: Readonly<Record<string, string>>) =>
          new Promise<number>((resolve, reject) => {
            const all = { "content-type": "application/json", ...headers }
            request(`${url}/api/v1/instances/weather-1/mark`, { method: "PUT", headers: all }, (response) => {
              response.resume()
              resolve(response.statusCode ?? 0)
            }).on("error", reject).end(JSON.stringify({ as: "draining" }))
          })
        yield* Effect.promise(async () => {
          assert.strictEqual(await write({ origin: "https://elsewhere.example" }), 403)
          assert.strictEqual(await write({ origin: "null" }), 403)
          assert.strictEqual(await write({ host: `elsewhere.example:${port}` }), 403)
          assert.strictEqual(await write({ origin: url }), 200)
        })
      }))
  })
})
