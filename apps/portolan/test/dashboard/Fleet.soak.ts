/**
 * The dashboard with 2,000 instances that change 200 times a second: for how long, how fast, and how it stays right.
 * Numbers are those of the acceptance checks in docs/dashboard-checks.md; what is measured is printed.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import type { CDPSession, Page } from "playwright-core"
import { until } from "../process.ts"
import { Browser, lacking, live, unreadable, visit } from "./browser.ts"
import { places } from "./pages.ts"
import { proxy } from "./proxy.ts"
import { instances, traffic } from "./scenes.ts"
import { churn, openSea, type Sea } from "./sea.ts"

class Fleet extends Context.Service<Fleet, Sea>()("portolan/test/dashboard/Fleet") {
  static readonly layer = Layer.effect(Fleet, openSea)
}

const Updates = 200
const Calls = [
  { tool: "mail-read__read_mail_1", rate: 20 },
  { tool: "files-read__read_files_1", rate: 20 },
  { tool: "search-write__write_search_1", rate: 10 }
]

const p95 = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.95)] ?? Number.NaN

const told = (what: string, value: number, unit: string) =>
  console.log(`  ${what}: ${value < 10 ? value.toFixed(2) : Math.round(value)} ${unit}`)

/**
 * How busy this machine's processors were since it was made, how much of their time other machines on the host took, and how
 * fast they are: the same machine is twice as slow at times.
 */
const machine = () => {
  const read = () => (/^cpu +(.*)$/m.exec(Fs.readFileSync("/proc/stat", "utf8"))?.[1] ?? "").split(" ").map(Number)
  const before = read()
  return () => {
    const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, interrupts = 0, soft = 0, stolen = 0] = read().map(
      (time, at) => time - (before[at] ?? 0)
    )
    const busy = user + nice + system + interrupts + soft
    const all = busy + idle + wait + stolen
    told("the machine: busy", busy / all * 100, "%")
    told("the machine: taken by others on its host", stolen / all * 100, "%")
    const some = new Uint8Array(16_000_000)
    const times = Array.from({ length: 5 }, () => {
      const begun = performance.now()
      createHash("sha256").update(some).digest()
      return performance.now() - begun
    })
    told("the machine: SHA-256 of 16 MB, the fastest of five", Math.min(...times), "ms")
  }
}

/** Keeps what the browser says of long tasks and of what moved on the page, from its beginning. */
const observe = `globalThis.seen = { tasks: [], shifts: [] }
new PerformanceObserver((list) => {
  for (const { duration, startTime } of list.getEntries()) seen.tasks.push({ duration, startTime })
}).observe({ type: "longtask", buffered: true })
new PerformanceObserver((list) => {
  for (const { hadRecentInput, sources, startTime, value } of list.getEntries()) {
    if (hadRecentInput) continue
    const moved = sources.map(({ currentRect, node, previousRect }) =>
      [node?.textContent?.trim().slice(0, 40), ...[previousRect, currentRect].map(({ x, y }) => x + " " + y)].join(", ")
    )
    seen.shifts.push({ startTime, value, moved })
  }
}).observe({ type: "layout-shift", buffered: true })
const heard = new MutationObserver(() => {
  if (!document.querySelector("h1")?.textContent.includes("60 services")) return
  heard.disconnect()
  // Once the frame that has it is painted.
  requestAnimationFrame(() => setTimeout(() => seen.verdict = performance.now()))
})
heard.observe(document, { childList: true, characterData: true, subtree: true })`

interface Seen {
  readonly tasks: ReadonlyArray<{ readonly duration: number; readonly startTime: number }>
  /** When it was on the screen. */
  readonly verdict?: number
  readonly shifts: ReadonlyArray<{
    readonly value: number
    readonly startTime: number
    /** Up to five of what moved: its text, from where, to where. */
    readonly moved: ReadonlyArray<string>
  }>
}

const now = (page: Page) => page.evaluate<number>("performance.now()")
const elements = (page: Page) => page.evaluate<number>("document.querySelectorAll('*').length")
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

const metric = async (devtools: CDPSession, name: string): Promise<number> => {
  const { metrics } = await devtools.send("Performance.getMetrics")
  return metrics.find((each) => each.name === name)?.value ?? Number.NaN
}

/** MB that live after the garbage is gone. */
const heap = async (devtools: CDPSession): Promise<number> => {
  for (let time = 0; time < 3; time++) await devtools.send("HeapProfiler.collectGarbage")
  return await metric(devtools, "JSHeapUsedSize") / 1_048_576
}

interface TraceEvent {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  /** When, µs. */
  readonly ts: number
  /** Processor time of the thread, µs. */
  readonly tdur?: number
  readonly args?: { readonly name?: string }
}

/**
 * ms of processor time that the page's main thread spent in each of what has the name, by a trace: what other processes take
 * isn't counted. `seconds`: how long the trace is to be at the least.
 */
const spent = (trace: Buffer, name: RegExp, seconds: number): ReadonlyArray<number> => {
  const { traceEvents }: { readonly traceEvents: ReadonlyArray<TraceEvent> } = JSON.parse(trace.toString("utf8"))
  const [main, ...others] = traceEvents.filter((event) =>
    event.name === "thread_name" && event.args?.name === "CrRendererMain"
  )
  assert.deepStrictEqual(others, [])
  const found = traceEvents.filter(({ name: its, ph, pid, tdur, tid }) =>
    pid === main?.pid && tid === main.tid && ph === "X" && name.test(its) && tdur !== undefined
  )
  // A trace that is full ends early.
  assert.isAbove((found.at(-1)?.ts ?? 0) - (found[0]?.ts ?? 0), (seconds - 2) * 1_000_000)
  return found.flatMap(({ tdur }) => tdur === undefined ? [] : [tdur / 1000])
}

/** By service and region, `5 instances, 4 healthy, 1 draining`, as the API has it. */
const cells = async (url: string): Promise<ReadonlyMap<string, Readonly<Record<string, number>>>> => {
  const found = new Map<string, Record<string, number>>()
  for (const { health, region, service } of await instances(url)) {
    const key = `${service}, ${region ?? "no region"}`
    const cell = found.get(key) ?? {}
    cell[health.status] = (cell[health.status] ?? 0) + 1
    found.set(key, cell)
  }
  return found
}

/** The same as the cells of the chart say. */
const drawn = async (page: Page): Promise<ReadonlyMap<string, Readonly<Record<string, number>>>> => {
  const names = await page.getByRole("grid").locator("a.cell").evaluateAll((cells) =>
    cells.map((cell) => String(cell.getAttribute("aria-label")))
  )
  return new Map(names.map((name) => {
    const [, key = "", rest = ""] = /^(.*?): \d+ instances?, (.*)$/.exec(name.replaceAll(",", ",")) ?? []
    return [
      key,
      Object.fromEntries(
        rest.split(", ").flatMap((part) => {
          const [count = "", state = ""] = part.split(" ")
          return Number(count) === 0 ? [] : [[state, Number(count)]]
        })
      )
    ]
  }))
}

describe.skipIf(lacking !== undefined)("2,000 instances, 60 services, 200 tools", () => {
  layer(Layer.merge(Browser.layer, Fleet.layer), { timeout: "300 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "9: is painted within 0.5 s and has its verdict within 1 s, the processor slowed down four times",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Fleet
          const { context, page } = yield* visit(url, "/")
          yield* Effect.promise(async () => {
            await page.goto("about:blank")
            const devtools = await context.newCDPSession(page)
            await devtools.send("Emulation.setCPUThrottlingRate", { rate: 4 })
            await page.addInitScript(observe)
            const noise = machine()
            const paints: Array<number> = []
            const verdicts: Array<number> = []
            for (let time = 0; time < 5; time++) {
              await page.goto(url)
              await page.getByRole("heading", { level: 1, name: /60 services/ }).waitFor()
              await page.waitForFunction("seen.verdict !== undefined")
              verdicts.push(await page.evaluate<number>("seen.verdict"))
              paints.push(
                await page.evaluate<number>(
                  "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN"
                )
              )
            }
            noise()
            told("first contentful paint", p95(paints), "ms")
            told("verdict", p95(verdicts), "ms")
            assert.isBelow(p95(paints), 500)
            assert.isBelow(p95(verdicts), 1_000)
          })
        }),
      120_000
    )

    it.effect("4: eight tabs load within 1 s each, and share one stream", () =>
      Effect.gen(function*() {
        const { url } = yield* Fleet
        const between = yield* proxy(url)
        const { context } = yield* visit(between.url, "/")
        yield* Effect.promise(async () => {
          const times: Array<number> = []
          while (times.length < 7) {
            const tab = await context.newPage()
            await tab.goto(`${between.url}/services`)
            await tab.getByRole("row", { name: /\baudio-index\b/ }).waitFor()
            times.push(await now(tab))
          }
          told("a further tab, the slowest", Math.max(...times), "ms")
          assert.isBelow(Math.max(...times), 1_000)
          assert.deepStrictEqual(between.streams(), { open: 1, ever: 1 })
        })
      }), 60_000)

    it.effect("9: the snapshot is at most 250 kB compressed", () =>
      Effect.gen(function*() {
        const { url } = yield* Fleet
        const bytes = yield* Effect.promise(async () => {
          const ended = new AbortController()
          const { request } = await import("node:http")
          return await new Promise<number>((resolve, reject) => {
            const asked = request(
              `${url}/api/v1/events`,
              { headers: { "accept-encoding": "gzip" }, signal: ended.signal },
              (response) => {
                if (response.headers["content-encoding"] !== "gzip") return reject(new Error("it isn't compressed"))
                let sum = 0
                // What comes within the first second; then it is silent but for its beat.
                response.on("data", (chunk: Buffer) => sum += chunk.length).on("error", () => {})
                setTimeout(() => {
                  resolve(sum)
                  ended.abort()
                }, 1_500)
              }
            )
            asked.on("error", () => {})
            asked.end()
          })
        })
        told("snapshot", bytes / 1000, "kB")
        assert.isBelow(bytes, 250_000)
      }))

    it.effect(
      "6, 7: 60 s of updates leave no task over 50 ms, move nothing, and take at most 8 ms a frame",
      () =>
        Effect.gen(function*() {
          const fleet = yield* Fleet
          const browser = yield* Browser
          const { made } = yield* churn(fleet, Updates)
          yield* traffic(fleet.url, Calls)
          const { context, page } = yield* visit(fleet.url, "/")
          yield* Effect.promise(async () => {
            await page.addInitScript(observe)
            await page.reload()
            await live(page)
            await pause(2_000)
            const loaded = await now(page)
            const order = () => page.getByRole("grid").locator("tbody th a").allTextContents()
            const before = await order()
            const [noise, updates] = [machine(), made()]
            await browser.startTracing(page, { categories: ["toplevel"] })
            await pause(60_000)
            noise()
            const perSecond = (made() - updates) / 60
            const tasks = spent(await browser.stopTracing(), /^ThreadControllerImpl::RunTask$/, 60)
            told("updates a second", perSecond, "")
            assert.isAbove(perSecond, Updates * 0.95)
            const { shifts, tasks: byTheClock } = await page.evaluate<Seen>("seen")
            const shifted = shifts.reduce((sum, { value }) => sum + value, 0)
            const later = shifts.filter(({ startTime }) => startTime > loaded)
            told("tasks", tasks.length, "")
            const longest = tasks.reduce((most, task) => Math.max(most, task), 0)
            told("the longest", longest, "ms")
            told("over 50 ms by the clock", byTheClock.filter(({ startTime }) => startTime > loaded).length, "")
            told("layout shift with the load", shifted, "")
            assert.deepStrictEqual(await order(), before)
            assert.isAtMost(longest, 50)
            assert.deepStrictEqual(later, [])
            assert.isAtMost(shifted, 0.01)

            const devtools = await context.newCDPSession(page)
            await devtools.send("Emulation.setCPUThrottlingRate", { rate: 4 })
            await browser.startTracing(page, { categories: ["devtools.timeline"] })
            await pause(15_000)
            const frames = spent(await browser.stopTracing(), /^FireAnimationFrame$/, 15)
            told("frames, processor slowed down four times", frames.length, "")
            told("script of a frame, p95", p95(frames), "ms")
            // And it shows what is, not what was.
            const newest = page.getByRole("region", { name: "Latest changes" }).locator("time").first()
            const ages: Array<number> = []
            for (let time = 0; time < 20; time++) {
              await pause(200)
              ages.push(Date.now() - Date.parse(await newest.getAttribute("datetime") ?? ""))
            }
            told("age of the latest change on the page, p95", p95(ages), "ms")
            assert.isAtMost(p95(frames), 8)
            assert.isBelow(p95(ages), 3_000)
          })
        }),
      180_000
    )

    it.effect(
      "6: the table of instances scrolls with a p95 of at most 20 ms between frames",
      () =>
        Effect.gen(function*() {
          const fleet = yield* Fleet
          const { page } = yield* visit(fleet.url, "/instances")
          const scroll = Effect.promise(() =>
            page.evaluate<ReadonlyArray<number>>(`new Promise((resolve) => {
            const gaps = []
            let last
            const step = (at) => {
              if (last !== undefined) gaps.push(at - last)
              last = at
              if (gaps.length === 300) return resolve(gaps)
              scrollBy(0, 45)
              requestAnimationFrame(step)
            }
            requestAnimationFrame(step)
          })`)
          )
          told("between frames where nothing changes, p95", p95(yield* scroll), "ms")
          yield* Effect.promise(() => page.evaluate("scrollTo(0, 0)"))
          const { made } = yield* churn(fleet, Updates)
          const [noise, updates, since] = [machine(), made(), performance.now()]
          const gaps = yield* scroll
          noise()
          told("updates a second", (made() - updates) / (performance.now() - since) * 1_000, "")
          told("between frames, p95", p95(gaps), "ms")
          assert.isAtMost(p95(gaps), 20)
        }),
      60_000
    )

    it.effect("8: no page has more than 2,500 elements", () =>
      Effect.gen(function*() {
        const { url } = yield* Fleet
        const { page } = yield* visit(url, "/")
        yield* Effect.promise(async () => {
          const paths = places.map(({ path }) =>
            path.replace("weather__get_forecast", "mail-read__read_mail_1").replace("weather", "mail-read")
          )
          for (const path of [...paths, "/?services=all"]) {
            await page.goto(url + path)
            await live(page)
            // Rows are drawn one after the other.
            let count = 0
            for (let before = -1; before !== count; await pause(1_000)) [before, count] = [count, await elements(page)]
            told(path, count, "elements")
            assert.isAtMost(count, 2_500, path)
          }
        })
      }), 60_000)

    it.effect(
      "12: a hidden page takes less than 1 % of a core, and is right within 500 ms of its return",
      () =>
        Effect.gen(function*() {
          const fleet = yield* Fleet
          const { context, page } = yield* visit(fleet.url, "/")
          const devtools = yield* Effect.promise(() => context.newCDPSession(page))
          const show = (state: "hidden" | "visible") =>
            page.evaluate(`
            Object.defineProperty(document, "visibilityState", { configurable: true, get: () => "${state}" })
            Object.defineProperty(document, "hidden", { configurable: true, get: () => ${state === "hidden"} })
            document.dispatchEvent(new Event("visibilitychange"))`)
          yield* Effect.scoped(Effect.gen(function*() {
            yield* churn(fleet, Updates)
            yield* Effect.promise(async () => {
              await devtools.send("Performance.enable")
              await show("hidden")
              await pause(2_000)
              const before = await metric(devtools, "TaskDuration")
              await pause(20_000)
              const share = (await metric(devtools, "TaskDuration") - before) / 20
              told("hidden page", share * 100, "% of a core")
              assert.isBelow(share, 0.01)
            })
          }))
          yield* Effect.promise(async () => {
            await pause(1_000)
            const right = await cells(fleet.url)
            const back = performance.now()
            await show("visible")
            const names = Array.from(right, ([key]) => key)
            for (;;) {
              const seen = await drawn(page)
              const wrong = names.filter((key) =>
                seen.has(key) && JSON.stringify(sorted(seen.get(key))) !== JSON.stringify(sorted(right.get(key)))
              )
              if (wrong.length === 0) break
              assert.isBelow(performance.now() - back, 500, wrong.join())
            }
            told("right again after", performance.now() - back, "ms")
          })
        }),
      90_000
    )

    it.effect(
      "2, 3, 8: after ten minutes every number is that of the API, and the heap is as it was",
      () =>
        Effect.gen(function*() {
          const fleet = yield* Fleet
          const between = yield* proxy(fleet.url)
          const { context, page } = yield* visit(between.url, "/?services=all")
          const devtools = yield* Effect.promise(() => context.newCDPSession(page))
          const spoken = yield* Effect.promise(async () => {
            await devtools.send("Performance.enable")
            await page.evaluate(`globalThis.spoken = []
            new MutationObserver(() => spoken.push(performance.now()))
              .observe(document.querySelector("[aria-live=polite]"), { characterData: true, childList: true, subtree: true })`)
            return () => page.evaluate<number>("spoken.length")
          })
          yield* Effect.scoped(Effect.gen(function*() {
            const { made } = yield* churn(fleet, Updates)
            yield* traffic(fleet.url, Calls)
            yield* Effect.promise(async () => {
              // Until what is kept once is there: code that is compiled, buffers of the charts.
              await pause(60_000)
              const before = await heap(devtools)
              const from = await spoken()
              const minutes = 10
              for (let minute = 0; minute < minutes; minute++) {
                await pause(60_000)
                told(`minute ${minute + 1}: ${made()} updates, heap`, await heap(devtools), "MB")
              }
              const grown = await heap(devtools) - before
              told("the heap has grown by", grown, "MB")
              told("the live region spoke, each minute", (await spoken() - from) / minutes, "times")
              assert.isBelow(grown, 5)
              assert.isAtMost((await spoken() - from) / minutes, 6)
            })
          }))
          // What was under way has come.
          yield* Effect.promise(() => pause(3_000))
          yield* until(
            Effect.promise(async () => {
              const right = await cells(fleet.url)
              const seen = await drawn(page)
              return seen.size > 0 &&
                Array.from(seen).every(([key, counts]) =>
                  JSON.stringify(sorted(counts)) === JSON.stringify(sorted(right.get(key)))
                )
            }),
            10_000
          )
          yield* Effect.promise(async () => {
            const all = await instances(fleet.url)
            const routable = all.filter(({ health: { status } }) =>
              ["healthy", "degraded", "unknown"].includes(status)
            ).length
            const text = (count: number) => count.toLocaleString("en")
            await page.getByText(`${text(routable)} of ${text(all.length)} instances take calls`).waitFor()
            await page.getByRole("navigation").getByRole("link", { name: `Instances ${text(all.length)}` }).waitFor()
            assert.deepStrictEqual(await unreadable(page), [])
          })
          assert.deepStrictEqual(between.streams(), { open: 1, ever: 1 })
        }),
      900_000
    )
  })
})

const sorted = (counts: Readonly<Record<string, number>> | undefined) => Object.entries(counts ?? {}).toSorted()
