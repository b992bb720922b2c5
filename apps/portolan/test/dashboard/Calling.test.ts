/**
 * Calling a tool from its page: what is sent, and what becomes of it. Numbers are those of the acceptance checks in
 * docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { registry } from "../fleet.ts"
import { until } from "../process.ts"
import { assertNoFaults, Browser, lacking, visit } from "./browser.ts"
import { type Scene, scene, settled } from "./scenes.ts"
import { servers, text, type Tool } from "./servers.ts"

const run = promisify(execFile)
const bin = fileURLToPath(new URL("../../bin/portolan.js", import.meta.url))

let cancelled = 0

const tools: ReadonlyArray<Tool> = [
  {
    name: "get_forecast",
    description: "Forecast for a city",
    inputSchema: {
      type: "object",
      required: ["city", "where"],
      $defs: {
        point: {
          type: "object",
          required: ["lat"],
          properties: { lat: { type: "number" }, lon: { type: "number", default: 7 } }
        }
      },
      properties: {
        city: { type: "string", description: "Name of a city", minLength: 2 },
        days: { type: "integer", minimum: 1, maximum: 14, default: 3 },
        units: { type: "string", enum: ["metric", "imperial"] },
        where: { $ref: "#/$defs/point" },
        tags: { type: "array", items: { type: "string" } },
        when: { oneOf: [{ title: "day", type: "string" }, { title: "hours", type: "integer" }] }
      }
    },
    run: ({ arguments: given }) => text(JSON.stringify(given))
  },
  {
    name: "fields",
    inputSchema: {
      type: "object",
      required: ["note"],
      properties: {
        lon: { type: "number" },
        ids: { type: "array", items: { type: "integer" } },
        levels: { type: "array", items: { enum: ["low", "high"] } },
        note: { type: "string" }
      }
    },
    run: ({ arguments: given }) => text(JSON.stringify(given))
  },
  { name: "exact", run: () => text("{\"id\": 1234567890123456789, \"v\": 1.10}") },
  {
    name: "asks",
    run: () => ({
      resultType: "input_required",
      requestState: "asked",
      inputRequests: {
        who: {
          method: "elicitation/create",
          params: {
            mode: "form",
            message: "Who?",
            requestedSchema: { type: "object", properties: { name: { type: "string", minLength: 3 } } }
          }
        }
      }
    })
  },
  { name: "anything", run: ({ arguments: given }) => text(JSON.stringify(given)) },
  { name: "large", run: () => text("0123456789abcdef".repeat(327_680)) },
  { name: "wrong", run: () => ({ ...text("the city is under water"), isError: true }) },
  {
    name: "slow",
    run: async ({ progress, signal }) => {
      for (let step = 1; step < 1000 && !signal.aborted; step++) {
        progress(step, 1000, `step ${step}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      if (signal.aborted) cancelled++
      return text("done")
    }
  }
]

interface Stage extends Scene {
  /** Calls of `slow` that were cancelled. */
  readonly cancelled: () => number
}

class Quay extends Context.Service<Quay, Stage>()("portolan/test/dashboard/Calling") {
  static readonly layer = Layer.effect(
    Quay,
    Effect.gen(function*() {
      const made = yield* servers(new Map([["weather", { version: "1.4.2", latency: 1, tools }]]))
      const record = (id: string) => ({
        id,
        service: "weather",
        endpoint: { transport: "streamable-http", url: made.url("weather", id) }
      })
      const running = yield* scene({ local: registry(record("weather-1"), record("weather-2")) }, {
        calls: { timeout: "60s" }
      })
      yield* settled(running.url, { healthy: 2 })
      return { ...running, cancelled: () => cancelled }
    })
  )
}

describe.skipIf(lacking !== undefined)("calling a tool", () => {
  layer(Layer.merge(Browser.layer, Quay.layer), { timeout: "60 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "23: a form is made of the schema, and JSON can always be written; what is sent is what they say",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Quay
          const { page } = yield* visit(url, "/tools/weather__get_forecast")
          yield* Effect.promise(async () => {
            const call = page.getByRole("button", { name: "Call", exact: true })
            // What is required, and isn't there, is told by the field.
            await call.click()
            await page.locator("[aria-invalid=true]").first().waitFor()
            await page.getByRole("textbox", { name: /^city/ }).fill("Lisbon")
            await page.getByRole("textbox", { name: /^lat/ }).or(page.getByRole("spinbutton", { name: /^lat/ })).fill(
              "38.7"
            )
            await call.click()
            const answer = page.getByRole("region", { name: "Answer" })
            await answer.getByText("Answered", { exact: true }).waitFor()
            await answer.getByText(/"city": "Lisbon"/).waitFor()
            await answer.getByText(/"days": 3/).waitFor()
            await answer.getByText(/"lon": 7/).waitFor()
            await answer.getByRole("link", { name: /^weather-/ }).waitFor()

            await page.getByRole("link", { name: "JSON" }).click()
            await page.getByRole("textbox", { name: "Arguments as JSON" }).fill(
              "{ \"city\": \"Porto\", \"where\": { \"lat\": 41 } }"
            )
            await call.click()
            await answer.getByText(/"city": "Porto"/).waitFor()

            // A tool without a schema.
            await page.goto(`${url}/tools/weather__anything`)
            await page.getByRole("textbox", { name: "Arguments as JSON" }).fill("{ \"any\": [1] }")
            await call.click()
            await answer.getByText(/"any"/).waitFor()
          })
        }),
      60_000
    )

    it.effect(
      "23: what is typed is what is sent, key by key: numbers, items of lists, and texts that are empty",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Quay
          const { page } = yield* visit(url, "/tools/weather__fields")
          yield* Effect.promise(async () => {
            const lon = page.getByRole("textbox", { name: /^lon/ })
            await lon.pressSequentially("-0.1278")
            assert.strictEqual(await lon.inputValue(), "-0.1278")
            await page.getByRole("button", { name: "Add to ids" }).click()
            const id = page.getByRole("textbox", { name: "ids 1" })
            assert.strictEqual(await id.inputValue(), "")
            await page.keyboard.type("12")
            for (const _ of "12") await page.keyboard.press("Backspace")
            assert.strictEqual(await id.inputValue(), "")
            await page.getByRole("button", { name: "Add to levels" }).click()
            const level = page.getByRole("combobox", { name: "levels 1" })
            assert.strictEqual(await level.locator("option:checked").textContent(), "Choose…")

            // Neither a gap in a list can be sent, nor what is required be left out by mistake.
            const call = page.getByRole("button", { name: "Call", exact: true })
            await call.click()
            assert.strictEqual(await page.getByText("Required.").count(), 3)
            await id.pressSequentially("7")
            await level.selectOption("high")
            await page.getByRole("checkbox", { name: "empty text as note" }).check()
            const [request] = await Promise.all([page.waitForRequest("**/mcp"), call.click()])
            assert.deepStrictEqual(request.postDataJSON().params.arguments, {
              lon: -0.1278,
              ids: [7],
              levels: ["high"],
              note: ""
            })
          })
        }),
      60_000
    )

    it.effect(
      "23: what a server asks can be answered with what doesn't fit its schema, too",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Quay
          const { page } = yield* visit(url, "/tools/weather__asks")
          yield* Effect.promise(async () => {
            await page.getByRole("button", { name: "Call", exact: true }).click()
            await page.getByRole("textbox", { name: "name" }).fill("Jo")
            const answer = page.getByRole("button", { name: "Answer, and go on" })
            await answer.click()
            await page.getByText("At least 3 characters, there are 2.").waitFor()
            await page.getByRole("button", { name: "Let me answer all the same" }).click()
            const [request] = await Promise.all([page.waitForRequest("**/mcp"), answer.click()])
            assert.deepStrictEqual(request.postDataJSON().params.inputResponses, {
              who: { action: "accept", content: { name: "Jo" } }
            })
          })
        }),
      60_000
    )

    it.effect("23: what came is shown, and copied, with the digits that it has", () =>
      Effect.gen(function*() {
        const { url } = yield* Quay
        const { context, page } = yield* visit(url, "/tools/weather__exact")
        yield* Effect.promise(async () => {
          await context.grantPermissions(["clipboard-read", "clipboard-write"])
          await page.getByRole("button", { name: "Call", exact: true }).click()
          const answer = page.getByRole("region", { name: "Answer" })
          await answer.getByText("\"id\": 1234567890123456789,\n  \"v\": 1.10").waitFor()
          await answer.getByRole("button", { name: "Copy", exact: true }).click()
          await answer.getByRole("button", { name: "Copied" }).waitFor()
          assert.strictEqual(
            await page.evaluate<string>("navigator.clipboard.readText()"),
            "{\"id\": 1234567890123456789, \"v\": 1.10}"
          )
        })
      }), 60_000)

    it.effect(
      "23: the command that is copied calls the same tool with the same arguments",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Quay
          const given = { text: "it's $(id) `id` \"\\\n\u007f\u202e -- é 🧭 !! ; & | > *", "--url": ["'", "\u0000"] }
          const { context, page } = yield* visit(
            url,
            `/tools/weather__anything?args=${encodeURIComponent(JSON.stringify(given))}`
          )
          yield* Effect.promise(() => context.grantPermissions(["clipboard-read", "clipboard-write"]))
          yield* Effect.promise(() => page.getByRole("button", { name: "Copy as command" }).click())
          yield* Effect.promise(() => page.getByRole("button", { name: "Copied" }).waitFor())
          const line = yield* Effect.promise(() => page.evaluate<string>("navigator.clipboard.readText()"))
          const { stdout } = yield* Effect.promise(() =>
            run("sh", [
              "-c",
              `portolan() { "${process.execPath}" "${bin}" "$@"; }
${line}`
            ])
          )
          assert.deepStrictEqual(JSON.parse(stdout), given)
        }),
      60_000
    )

    it.effect(
      "23: 5 MB, what the tool calls an error, progress, and a call that is cancelled are shown as what they are",
      () =>
        Effect.gen(function*() {
          const { cancelled, url } = yield* Quay
          const visited = yield* visit(url, "/tools/weather__large")
          const { page } = visited
          yield* Effect.promise(async () => {
            const call = page.getByRole("button", { name: "Call", exact: true })
            const answer = page.getByRole("region", { name: "Answer" })
            await call.click()
            await answer.getByText("Answered", { exact: true }).waitFor()
            await answer.getByText(/5(\.\d)? MB/).first().waitFor()
            // Only the beginning of it is in the document.
            assert.isBelow((await page.content()).length, 500_000)

            await page.goto(`${url}/tools/weather__wrong`)
            await call.click()
            await answer.getByText("The tool says that it failed", { exact: true }).waitFor()
            await answer.getByText("the city is under water").first().waitFor()

            await page.goto(`${url}/tools/weather__slow`)
            await call.click()
            await answer.getByText(/step \d+/).waitFor()
            await answer.getByRole("progressbar").waitFor()
            await page.getByRole("button", { name: "Cancel the call" }).click()
            await answer.getByText("Cancelled").first().waitFor()
          })
          yield* until(Effect.sync(() => cancelled() === 1), 10_000)
          assertNoFaults(visited)
        }),
      60_000
    )
  })
})
