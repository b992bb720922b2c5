/**
 * What docs/dashboard.md says of nginx, run: ids with a slash come through, events come at once, and nobody writes without a
 * token.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Nginx from "@portolan/tooling/backends/Nginx"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { request } from "node:http"
import { record, registry } from "../fleet.ts"
import { scene } from "./scenes.ts"

const lacking = await Effect.runPromise(Nginx.unavailable)
if (lacking !== undefined) console.log(`skipped: the dashboard behind nginx: ${lacking}`)

const id = "10.0.0.7:3000/mcp"
const name = "portolan.example"

const documented = (): string => {
  const page = Fs.readFileSync(new URL("../../../../docs/dashboard.md", import.meta.url), "utf8")
  return /```nginx\n([^]*?)```/.exec(page)?.[1] ?? ""
}

interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  /** Whether the beginning of the answer is all that is waited for. */
  readonly begun?: boolean
}

const ask = (url: string, { begun = false, body, headers = {}, method = "GET" }: Asked = {}) =>
  Effect.promise(() =>
    new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
      const all = { host: name, ...body === undefined ? {} : { "content-type": "application/json" }, ...headers }
      request(url, { method, headers: all, agent: false }, (response) => {
        let text = ""
        const answer = () => resolve({ status: response.statusCode ?? 0, text })
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk
          if (!begun) return
          answer()
          response.destroy()
        }).on("end", answer).on("error", reject)
      }).on("error", reject).end(body === undefined ? undefined : JSON.stringify(body))
    })
  )

const behind = (settings: object) =>
  Effect.gen(function*() {
    const { url } = yield* scene({ local: registry(record(id, "http://127.0.0.1:1/mcp")) }, { gateway: settings })
    const proxy = yield* Nginx.make(documented().replaceAll("127.0.0.1:7420", new URL(url).host))
    return `${proxy.url}/portolan`
  })

const mark = { method: "PUT", body: { as: "draining" } }

describe.skipIf(lacking !== undefined)("behind nginx, as documented", () => {
  it.live("pages, ids with a slash and events come through", () =>
    Effect.gen(function*() {
      const url = yield* behind({ allowedHosts: [name], token: "open sesame" })
      const moved = yield* ask(url)
      assert.strictEqual(moved.status, 308)
      const page = yield* ask(`${url}/instances/${encodeURIComponent(id)}?source=local`, {
        headers: { accept: "text/html" }
      })
      assert.strictEqual(page.status, 200)
      assert.include(page.text, "<base href=\"../\"")
      const health = yield* ask(`${url}/api/v1/instances/${encodeURIComponent(id)}/health?source=local`)
      assert.strictEqual(health.status, 200, health.text)
      assert.include(health.text, JSON.stringify(id))
      const events = yield* ask(`${url}/api/v1/events?topics=catalog`, { begun: true })
      assert.include(events.text, "event: snapshot")

      const path = `${url}/api/v1/instances/${encodeURIComponent(id)}/mark`
      assert.strictEqual((yield* ask(path, mark)).status, 401)
      const headers = { authorization: "Bearer open sesame", origin: `https://${name}` }
      assert.strictEqual((yield* ask(path, { ...mark, headers })).status, 200)
    }).pipe(Effect.scoped), 60_000)

  it.live("nobody writes without a token, by whatever name", () =>
    Effect.gen(function*() {
      const url = yield* behind({ publicUrl: `https://${name}/portolan/` })
      const path = `${url}/api/v1/instances/${encodeURIComponent(id)}/mark`
      for (
        const headers of [{ origin: `https://${name}` }, {}, { host: "localhost" }, { "x-forwarded-for": "" }]
      ) assert.strictEqual((yield* ask(path, { ...mark, headers })).status, 403, JSON.stringify(headers))
    }).pipe(Effect.scoped), 60_000)
})
