/**
 * A real Chromium that looks at the dashboard, and what it says of it that a person wouldn't see.
 */
import { assert } from "@effect/vitest"
import * as Chromium from "@portolan/tooling/backends/Chromium"
import { source as axe } from "axe-core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Playwright from "playwright-core"

/** Why there is no browser here; a test file without one is skipped, and says so. */
export const lacking = await Effect.runPromise(Chromium.unavailable)
if (lacking !== undefined) console.log(`skipped: the dashboard in a browser: ${lacking}`)

/** The browser of a test file. */
export class Browser extends Context.Service<Browser, Playwright.Browser>()("portolan/test/dashboard/Browser") {
  static readonly layer: Layer.Layer<Browser> = Layer.effect(
    Browser,
    Effect.acquireRelease(
      Effect.flatMap(
        Effect.orDie(Chromium.executable),
        (executablePath) =>
          Effect.promise(() =>
            Playwright.chromium.launch({
              executablePath,
              args: [
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                // There is nothing in the world but this machine.
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
              ]
            })
          )
      ),
      (browser) => Effect.promise(() => browser.close())
    )
  )
}

/** What one person sees: tabs of one profile. */
export interface Visit {
  readonly context: Playwright.BrowserContext
  readonly page: Playwright.Page
  /** What went wrong out of sight: errors of scripts, what the policy refused, requests to others, answers that failed. */
  readonly faults: ReadonlyArray<string>
}

const watch = (page: Playwright.Page, origin: string, faults: Array<string>) => {
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`))
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return
    // Told better below.
    if (!message.text().startsWith("Failed to load resource")) faults.push(`console: ${message.text()}`)
  })
  page.on("response", (response) => {
    const { method, status, url } = {
      method: response.request().method(),
      status: response.status(),
      url: response.url()
    }
    if (status >= 400) faults.push(`HTTP ${status}: ${method} ${url.slice(0, 300)} on ${page.url().slice(0, 100)}`)
  })
  page.on("request", (request) => {
    const url = request.url()
    if (!url.startsWith(`${origin}/`) && !/^(data|blob):/.test(url)) faults.push(`elsewhere: ${url}`)
  })
}

/** Opens a page in a profile of its own, and waits until the fleet is there. */
export const visit = (
  url: string,
  path: string,
  options: Playwright.BrowserContextOptions = {}
): Effect.Effect<Visit, never, Browser | Scope.Scope> =>
  Effect.flatMap(Browser, (browser) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
        const faults: Array<string> = []
        context.on("page", (page) => watch(page, new URL(url).origin, faults))
        const page = await context.newPage()
        await page.goto(`${url}${path}`)
        await live(page)
        return { context, page, faults }
      }),
      ({ context }) => Effect.promise(() => context.close())
    ))

/** Done once the page shows a fleet that is live. */
export const live = async (page: Playwright.Page): Promise<void> => {
  await page.locator(".foot .live.live").waitFor({ state: "attached" })
  await page.locator("main h1").waitFor()
}

/** Done once the page shows what it asked for: nothing of it is still to come. */
export const complete = async (page: Playwright.Page): Promise<void> => {
  await live(page)
  await page.locator("main :is(.skeleton, [aria-busy=true])").first().waitFor({ state: "detached" })
}

interface Found {
  readonly violations: ReadonlyArray<{
    readonly id: string
    readonly impact: string
    readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary: string }>
  }>
}

/** What axe-core has against the page by WCAG 2.2 A and AA, serious and critical; a line for each element. */
export const barriers = async (
  page: Playwright.Page,
  rules?: ReadonlyArray<string>
): Promise<ReadonlyArray<string>> => {
  await page.evaluate(`if (!("axe" in globalThis)) { ${axe} }`)
  const only = rules === undefined
    ? { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }
    : { type: "rule", values: rules }
  const { violations } = await page.evaluate<Found>(
    `axe.run(document, { runOnly: ${JSON.stringify(only)}, resultTypes: ["violations"] })`
  )
  return violations.filter(({ impact }) => impact === "serious" || impact === "critical").flatMap(({ id, nodes }) =>
    nodes.map(({ failureSummary, html }) => `${id}: ${html.slice(0, 200)} ${failureSummary.replace(/\s+/g, " ")}`)
  )
}

/** Texts that nobody should ever read: what JavaScript makes of values that aren't there, and times that never were. */
const nonsense =
  /\bNaN\b|\bundefined\b|\bnull\b|\bInfinity\b|\[object |\b1970\b|(?<![\w-])-\d+(\.\d+)?\s?(ms|s|m|h|d)\b/

/** Lines of the page, accessible names among them, that nobody should ever read. */
export const unreadable = async (page: Playwright.Page): Promise<ReadonlyArray<string>> => {
  const text = await page.evaluate<string>(`[
    document.title,
    document.body.innerText,
    ...Array.from(document.querySelectorAll("[aria-label], [title]"), (element) =>
      ["aria-label", "title"].map((name) => element.getAttribute(name) ?? "").join("\\n"))
  ].join("\\n")`)
  return text.split("\n").filter((line) => nonsense.test(line))
}

/** Whether the page is wider than what shows it. */
export const overflow = (page: Playwright.Page): Promise<number> =>
  page.evaluate<number>("document.documentElement.scrollWidth - document.documentElement.clientWidth")

export const assertNoFaults = ({ faults }: Visit): void => assert.deepStrictEqual(faults, [])
