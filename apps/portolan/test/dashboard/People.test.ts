/**
 * The dashboard for people: those who see colours and those who don't, with a mouse, a keyboard or a screen reader, on a
 * large screen and on a small one. Numbers are those of the acceptance checks in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Page } from "playwright-core"
import { assertNoFaults, barriers, Browser, lacking, overflow, visit } from "./browser.ts"
import { busyHarbour } from "./harbour.ts"
import { assertSeen, hasFocus, tabTo } from "./keyboard.ts"
import { places } from "./pages.ts"
import type { Scene } from "./scenes.ts"
import { shapes } from "./shapes.ts"

class Harbour extends Context.Service<Harbour, Scene>()("portolan/test/dashboard/People") {
  static readonly layer = Layer.effect(Harbour, busyHarbour)
}

const go = async (page: Page, url: string) => {
  await page.goto(url)
  await page.locator(".foot .live.live").waitFor({ state: "attached" })
  await page.locator("main").getByRole("heading", { level: 1 }).waitFor()
}

describe.skipIf(lacking !== undefined)("people", () => {
  layer(Layer.merge(Browser.layer, Harbour.layer), { timeout: "180 seconds", excludeTestServices: true })((it) => {
    for (const colorScheme of ["light", "dark"] as const) {
      it.effect(`16: axe-core finds no barrier on any page, ${colorScheme}`, () =>
        Effect.gen(function*() {
          const { url } = yield* Harbour
          const { page } = yield* visit(url, "/", { colorScheme })
          const found: Record<string, ReadonlyArray<string>> = {}
          yield* Effect.promise(async () => {
            for (const { path } of places) {
              await go(page, url + path)
              // What else there may be is the same in both.
              const lines = await barriers(page, colorScheme === "dark" ? ["color-contrast"] : undefined)
              if (lines.length > 0) found[path] = lines
            }
          })
          assert.deepStrictEqual(found, {})
        }), 120_000)
    }

    it.effect(
      "16: axe-core finds no barrier in dialogs, where an answer failed, and on a page that isn't there",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Harbour
          const { page } = yield* visit(url, "/")
          const found: Record<string, ReadonlyArray<string>> = {}
          const look = async (what: string) => {
            const lines = await barriers(page)
            if (lines.length > 0) found[what] = lines
          }
          yield* Effect.promise(async () => {
            await page.getByRole("button", { name: /^Drain/ }).first().click()
            await page.getByRole("dialog").waitFor()
            await look("drain")
            await page.keyboard.press("Escape")
            await page.keyboard.press("?")
            await page.getByRole("dialog").waitFor()
            await look("shortcuts")
            await page.route("**/api/v1/**", (route) =>
              route.fulfill({
                status: 503,
                contentType: "application/problem+json",
                body: "{\"title\":\"Overloaded\",\"status\":503}"
              }))
            for (const path of ["/", "/services/weather", "/tools/weather__get_forecast"]) {
              await page.goto(url + path)
              await page.locator("main").getByRole("heading", { level: 1 }).waitFor()
              await look(`failed ${path}`)
            }
            await page.goto(`${url}/no/such/page`)
            await page.locator("main").getByRole("heading", { level: 1 }).waitFor()
            await look("not found")
          })
          assert.deepStrictEqual(found, {})
        }),
      120_000
    )

    it.effect(
      "17: with the keyboard alone one finds what fails, sees why, drains it with a reason, calls a tool and cancels it",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Harbour
          const { page } = yield* visit(url, "/")
          yield* Effect.promise(async () => {
            const { keyboard } = page
            await tabTo(page, page.getByRole("button", { name: "Skip to the page" }), 2)
            await keyboard.press("Enter")
            const attention = page.getByRole("region", { name: "Needs attention" })
            await tabTo(page, attention.getByRole("link", { name: "postgres", exact: true }))
            await keyboard.press("Enter")
            await page.getByRole("heading", { level: 1, name: /postgres/ }).waitFor()
            await assertSeen(page)
            const failing = page.getByRole("row", { name: /unhealthy/ }).first()
            const link = failing.getByRole("link").first()
            const [id = ""] = (await link.textContent() ?? "").trim().split(/\s/)
            await tabTo(page, page.getByRole("table").getByRole("link").first())
            while (!await hasFocus(link)) {
              await keyboard.press("ArrowDown")
              await assertSeen(page)
            }
            await keyboard.press("Enter")
            const sheet = page.getByRole("complementary", { name: id })
            const drain = sheet.getByRole("button", { name: /^Drain/ })
            await tabTo(page, drain)
            await keyboard.press("Enter")
            await page.getByRole("dialog").getByRole("textbox", { name: /Reason/ }).waitFor()
            await keyboard.type("closed for repairs")
            await keyboard.press("Enter")
            await page.getByRole("dialog").waitFor({ state: "detached" })
            await assertSeen(page)
            await sheet.getByText("draining").first().waitFor()
            await sheet.getByText(/closed for repairs/).first().waitFor()
            await tabTo(page, sheet.getByRole("button", { name: /^Back into service/ }))
            await keyboard.press("Enter")
            await sheet.getByText("unhealthy").first().waitFor()
            await assertSeen(page)

            // A tool that takes a while, called and cancelled.
            await keyboard.press("g")
            await keyboard.press("t")
            await page.getByRole("heading", { level: 1, name: "Tools" }).waitFor()
            await keyboard.press("/")
            await keyboard.type("compare")
            await tabTo(page, page.getByRole("table").getByRole("link", { name: /compare_cities/ }))
            await keyboard.press("Enter")
            await tabTo(page, page.getByRole("button", { name: "Call", exact: true }))
            await keyboard.press("Enter")
            const answer = page.getByRole("region", { name: "Answer" })
            await answer.getByText(/city \d+/).waitFor()
            await tabTo(page, page.getByRole("button", { name: "Cancel the call" }))
            await keyboard.press("Enter")
            await answer.getByText("Cancelled").first().waitFor()
            await assertSeen(page)
          })
        }),
      90_000
    )

    it.effect("17: what has the focus keeps it, however far a long table is scrolled", () =>
      Effect.gen(function*() {
        const { url } = yield* Harbour
        const { page } = yield* visit(url, "/instances", { viewport: { width: 1280, height: 480 } })
        yield* Effect.promise(async () => {
          const focused = () =>
            page.evaluate<string>(
              `(({ ariaLabel, textContent }) => ariaLabel ?? textContent.trim())(document.activeElement)`
            )
          const holds = async (what: string) => {
            while (!await page.evaluate<boolean>(what));
          }
          /** Until the rows of that place are drawn. */
          const to = async (y: number) => {
            await page.evaluate(`scrollTo(0, ${y})`)
            await holds(`Array.from(document.querySelectorAll("tbody tr:not(.gap)")).some((row) => {
              const { bottom, top } = row.getBoundingClientRect()
              return top < 300 && bottom > 260 && scrollY === ${y}
            })`)
          }
          for (const from of [0, 2_000, 4_000]) {
            await to(from)
            // A checkbox in the middle of what is seen.
            const box = page.locator("tbody input").nth(from === 0 ? 3 : 12)
            await box.focus()
            const chosen = await focused()
            assert.match(chosen, /^Choose /)
            for (const y of [5_500, 0, 800, 3_000, 200, 5_900, 2_100, 40]) {
              await to(y)
              assert.strictEqual(await focused(), chosen, `from ${from} to ${y} px`)
            }
          }

          // The keys of the table go further than what is drawn.
          const links = page.locator("tbody a.row")
          await links.nth(1).focus()
          const last = Number(await page.getByRole("table").getAttribute("aria-rowcount"))
          const steps = [["PageDown", 18], ["PageDown", 33], ["End", last], ["PageUp", last - 15], ["Home", 2]] as const
          for (const [key, row] of steps) {
            await page.keyboard.press(key)
            await holds(`document.activeElement.matches("tr[aria-rowindex='${row}'] a.row")`)
          }
        })
      }), 60_000)

    it.effect("18: a cell of the chart says its service, its region and what is in it", () =>
      Effect.gen(function*() {
        const { url } = yield* Harbour
        const { page } = yield* visit(url, "/")
        yield* Effect.promise(async () => {
          const grid = page.getByRole("grid", { name: "Services by region" })
          for (
            const name of [
              "weather, us-west-2: 5 instances, 4 healthy, 1 ejected",
              "payroll, eu-west-1: 2 instances, 0 healthy, 2 down",
              "search, eu-west-1: 10 instances, 8 healthy, 2 draining",
              "billing, us-west-2: 2 instances, 0 healthy, 2 stale",
              "embeddings, us-west-2: 12 instances, 11 healthy, 1 unknown"
            ]
          ) await grid.getByRole("link", { name, exact: true }).waitFor()
          await grid.getByRole("gridcell", { name: "memory, us-east-1: no instances" }).waitFor()
        })
      }))

    it.effect("19: the eight states are told apart by their shapes alone", () =>
      Effect.gen(function*() {
        const { url } = yield* Harbour
        const { page } = yield* visit(url, "/", { deviceScaleFactor: 4 })
        yield* Effect.promise(async () => {
          for (const deficiency of ["achromatopsia", "deuteranopia"] as const) {
            const found = Object.entries(await shapes(page, deficiency))
            assert.strictEqual(found.length, 8, found.map(([state]) => state).join())
            for (const [at, [one, a]] of found.entries()) {
              for (const [two, b] of found.slice(at + 1)) {
                const different = Array.from(a).filter((bit, index) => bit !== b[index]).length
                assert.isAbove(different, 40, `${one} and ${two}, ${deficiency}`)
              }
            }
          }
        })
      }))

    it.effect(
      "20: at 320 px, and at 200 %, nothing is wider than the page, and every button can be reached",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Harbour
          // 1280 px at 200 % are 640.
          for (const width of [320, 640]) {
            const { page } = yield* visit(url, "/", { viewport: { width, height: 640 } })
            yield* Effect.promise(async () => {
              for (const { path } of places) {
                await go(page, url + path)
                assert.isAtMost(await overflow(page), 0, `${path} at ${width} px`)
                const out = await page.locator("main").locator("button, select, input, summary").evaluateAll(
                  (all, width) =>
                    all.flatMap((each) => {
                      const { marginBottom, marginTop } = each.ownerDocument.defaultView.getComputedStyle(each)
                      const { height: own, right } = (each.closest("label") ?? each).getBoundingClientRect()
                      // Nothing else may be as near as that.
                      const height = own === 0
                        ? 0
                        : own + Math.max(0, parseFloat(marginTop)) + Math.max(0, parseFloat(marginBottom))
                      const reached = height === 0 || right <= width + 1 || each.closest(".scroll, .table") !== null
                      return reached && (height === 0 || height >= 23.5)
                        ? []
                        : [`${height} px high, ends at ${right}: ${each.outerHTML.slice(0, 120)}`]
                    }),
                  width
                )
                assert.deepStrictEqual(out, [], `${path} at ${width} px`)
              }
            })
          }
        }),
      60_000
    )

    it.effect("20: the system's theme is followed and a choice kept, without a flash; and nothing moves for who wants none", () =>
      Effect.gen(function*() {
        const { url } = yield* Harbour
        const { page } = yield* visit(url, "/", { colorScheme: "dark", reducedMotion: "reduce" })
        const paper = () => page.evaluate<string>("getComputedStyle(document.body).backgroundColor")
        yield* Effect.promise(async () => {
          assert.strictEqual(await paper(), "rgb(11, 19, 25)")
          await page.getByRole("radio", { name: "Light" }).check({ force: true })
          assert.strictEqual(await paper(), "rgb(244, 246, 247)")
          // The scripts of the page never come: what is painted is what the first ones say.
          await page.route("**/assets/*.js", (route) => route.abort())
          await page.reload({ waitUntil: "domcontentloaded" })
          assert.strictEqual(await paper(), "rgb(244, 246, 247)")
          await page.unroute("**/assets/*.js")
          await page.reload()
          await page.locator(".foot .live.live").waitFor()
          assert.strictEqual(await page.evaluate("document.getAnimations().length"), 0)
        })
      }))

    it.effect("21: an address holds what is filtered, sorted and open; Back goes where one was", () =>
      Effect.gen(function*() {
        const { url } = yield* Harbour
        const visited = yield* visit(url, "/services?q=post")
        const { page } = visited
        yield* Effect.promise(async () => {
          const rows = (name: string) => page.getByRole("table", { name }).locator("tbody tr[aria-rowindex]")
          await rows("Services").first().waitFor()
          assert.strictEqual(await rows("Services").count(), 1)
          await rows("Services").getByRole("link").click()
          await page.getByRole("heading", { level: 1, name: /postgres/ }).waitFor()
          await page.goBack()
          await rows("Services").first().waitFor()
          assert.strictEqual(await rows("Services").count(), 1)

          await go(page, `${url}/instances?state=draining&sort=-id`)
          await rows("Instances").nth(1).waitFor()
          const ids = await rows("Instances").getByRole("link").allTextContents()
          assert.strictEqual(ids.length, 2)
          assert.deepStrictEqual(ids, ids.toSorted().toReversed())
          await rows("Instances").getByRole("link").first().click()
          await page.getByRole("complementary").waitFor()
          await page.reload()
          await page.getByRole("complementary", { name: ids[0]?.trim() ?? "" }).waitFor()
          assert.match(page.url(), /state=draining/)
          await page.goBack()
          await page.getByRole("complementary").waitFor({ state: "detached" })
          await rows("Instances").nth(1).waitFor()
          assert.strictEqual(await rows("Instances").count(), 2)
        })
        assertNoFaults(visited)
      }))
  })
})
