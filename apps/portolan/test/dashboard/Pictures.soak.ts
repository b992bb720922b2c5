/**
 * Pictures of every page for the documentation, in both themes, of a small fleet and of a large one:
 * `npm run test:soak -- Pictures`. On the way each page is looked at for barriers and for what isn't there.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs/promises"
import { fileURLToPath } from "node:url"
import type { Page } from "playwright-core"
import { barriers, Browser, complete, lacking, unreadable, visit } from "./browser.ts"
import { busyHarbour } from "./harbour.ts"
import { places } from "./pages.ts"
import { proxy } from "./proxy.ts"
import { scene, traffic } from "./scenes.ts"
import { openSea } from "./sea.ts"

const folder = fileURLToPath(new URL("../../../../docs/images/", import.meta.url))
const themes = ["light", "dark"] as const

/** `/services/weather` is `service`, `/` is `chart`. */
const nameOf = (path: string): string => {
  const [, place = "", one] = path.split(/[/?]/)
  return place === "" ? "chart" : one === undefined ? place : place.replace(/s$/, "")
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

const picture = async (page: Page, name: string, found: Record<string, ReadonlyArray<string>>) => {
  await page.screenshot({ path: `${folder}dashboard-${name}.png` })
  const lines = [...await barriers(page), ...await unreadable(page)]
  if (lines.length > 0) found[name] = lines
}

describe.skipIf(lacking !== undefined)("pictures", () => {
  layer(Browser.layer, { excludeTestServices: true })((it) => {
    it.effect("of every page of 14 services with 191 instances, and of its states", () =>
      Effect.gen(function*() {
        yield* Effect.promise(() => Fs.mkdir(folder, { recursive: true }))
        const { url } = yield* busyHarbour
        // Until there is something to draw of the last minutes.
        yield* Effect.sleep("90 seconds")
        const found: Record<string, ReadonlyArray<string>> = {}
        for (const colorScheme of themes) {
          const { page } = yield* visit(url, "/", { colorScheme })
          yield* Effect.promise(async () => {
            for (const { path } of places) {
              await page.goto(url + path)
              await complete(page)
              if (path.startsWith("/tools/")) {
                await page.getByRole("textbox", { name: /city/ }).fill("Lisbon")
                await page.getByRole("button", { name: "Call", exact: true }).click()
                await page.getByRole("region", { name: "Answer" }).getByText("Answered", { exact: true }).waitFor()
              }
              await pause(1_500)
              await picture(page, `${nameOf(path)}-${colorScheme}`, found)
            }
            await page.goto(`${url}/instances?service=postgres`)
            await page.getByRole("table", { name: "Instances" }).getByRole("link", { name: /postgres-/ }).first()
              .click()
            await page.getByRole("complementary").waitFor()
            await pause(1_500)
            await picture(page, `instance-${colorScheme}`, found)
            await page.goto(url)
            await complete(page)
            await page.getByRole("button", { name: /^Drain/ }).first().click()
            await page.getByRole("dialog").waitFor()
            await picture(page, `drain-${colorScheme}`, found)
          })

          const narrow = yield* visit(url, "/", { colorScheme, viewport: { width: 320, height: 640 } })
          yield* Effect.promise(() => complete(narrow.page))
          yield* Effect.promise(() => picture(narrow.page, `narrow-${colorScheme}`, found))
          const between = yield* proxy(url)
          const losing = yield* visit(between.url, "/", { colorScheme })
          yield* Effect.promise(() => complete(losing.page))
          // What is drawn only then must be there before. The one that stands in is of the machine, or missing.
          yield* Effect.promise(() =>
            losing.page.evaluate(
              "Promise.all(Array.from(document.fonts, (font) => /fallback/.test(font.family) || font.load())).then(() => 0)"
            )
          )
          between.freeze()
          yield* Effect.promise(async () => {
            await losing.page.getByText(/^No word from the gateway for \d+ s/).waitFor()
            await picture(losing.page, `lost-${colorScheme}`, found)
          })
        }
        const forced = yield* visit(url, "/", { forcedColors: "active" })
        yield* Effect.promise(() => complete(forced.page))
        yield* Effect.promise(() => picture(forced.page, "forced-colors", found))
        assert.deepStrictEqual(found, {})
      }), 600_000)

    it.effect("of an empty gateway", () =>
      Effect.gen(function*() {
        const { url } = yield* scene({})
        const found: Record<string, ReadonlyArray<string>> = {}
        for (const colorScheme of themes) {
          const { page } = yield* visit(url, "/", { colorScheme })
          yield* Effect.promise(() => complete(page))
          yield* Effect.promise(() => picture(page, `empty-${colorScheme}`, found))
        }
        assert.deepStrictEqual(found, {})
      }), 60_000)

    it.effect("of 60 services with 2,000 instances", () =>
      Effect.gen(function*() {
        const { url } = yield* openSea
        yield* traffic(url, [{ tool: "mail-read__read_mail_1", rate: 30 }, {
          tool: "maps-read__read_maps_1",
          rate: 10
        }])
        yield* Effect.sleep("30 seconds")
        const found: Record<string, ReadonlyArray<string>> = {}
        for (const colorScheme of themes) {
          const { page } = yield* visit(url, "/", { colorScheme })
          yield* Effect.promise(async () => {
            for (const path of ["/", "/services", "/services/mail-read", "/instances", "/tools", "/traffic"]) {
              await page.goto(url + path)
              await complete(page)
              await pause(1_500)
              await picture(page, `2000-${nameOf(path)}-${colorScheme}`, found)
            }
          })
        }
        assert.deepStrictEqual(found, {})
      }), 300_000)
  })
})
