/**
 * The dashboard follows the gateway: what happens there is on the page at once.
 * Numbers are those of the acceptance checks in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Page } from "playwright-core"
import { Browser, lacking, visit } from "./browser.ts"
import { Port } from "./port.ts"
import { broken } from "./scenes.ts"
import { listen } from "./told.ts"

const heading = (page: Page, name: string | RegExp) => page.getByRole("heading", { level: 1, name }).waitFor()
const cell = (page: Page, name: string | RegExp) => page.getByRole("link", { name, exact: true }).waitFor()
const change = (page: Page, text: RegExp) =>
  page.getByRole("region", { name: "Latest changes" }).getByRole("listitem").filter({ hasText: text }).first().waitFor()

/** Waits for all of it on the page, and answers how long after the gateway's own event that was, ms. */
const after = async (event: Promise<number>, seen: ReadonlyArray<Promise<unknown>>): Promise<number> => {
  const at = Promise.all(seen).then(() => performance.now())
  return await at - await event
}

const Limit = 1_000

describe.skipIf(lacking !== undefined)("live", () => {
  layer(Layer.merge(Browser.layer, Port.layer), { timeout: "120 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "1: what comes, is drained, is lost and comes back is seen within 1 s of the gateway's own event",
      () =>
        Effect.gen(function*() {
          const { far, kill, scene } = yield* Port
          const { page } = yield* visit(scene.url, "/")
          const signal = yield* Effect.abortSignal
          const { heard } = yield* Effect.promise(() => listen(scene.url, signal))
          const put = (path: string, body: object) =>
            fetch(`${scene.url}/api/v1/${path}`, {
              method: "PUT",
              headers: { "content-type": "application/json" },
              body: JSON.stringify(body)
            }).then((answer) => assert.isTrue(answer.ok, String(answer.status)))

          yield* Effect.promise(async () => {
            await heading(page, "Both services are well")
            await cell(page, "look, eu-west-1: 2 instances, 2 healthy")

            // It comes.
            const record = {
              id: "look-three",
              service: "look",
              region: "us-west-2",
              endpoint: JSON.parse(far).services[0].endpoint
            }
            void put("instances/look-three?ttl=1h", record)
            assert.isBelow(
              await after(heard("catalog", "look-three"), [
                cell(page, "look, us-west-2: 1 instance, 1 healthy"),
                change(page, /look-three/)
              ]),
              Limit
            )

            // It is drained.
            void put("instances/look-two/mark", { as: "draining", reason: "kernel update" })
            assert.isBelow(
              await after(heard("health", "kernel update"), [
                cell(page, "look, eu-west-1: 2 instances, 1 healthy, 1 draining"),
                change(page, /look-two.*kernel update/s)
              ]),
              Limit
            )
            void put("instances/look-two/mark", { as: "up" })
            await cell(page, "look, eu-west-1: 2 instances, 2 healthy")
          })

          // Its process is killed while it carries calls.
          const event = heard("health", "look-one")
          yield* kill
          yield* Effect.promise(async () => {
            assert.isBelow(
              await after(event, [
                heading(page, "One of 2 services needs attention"),
                // By a call or by a check, whichever comes first.
                cell(page, /^look, eu-west-1: 2 instances, 1 healthy, 1 (unhealthy|ejected)$/),
                change(page, /look-one/)
              ]),
              Limit
            )
            await page.getByRole("navigation").getByRole("link", { name: "Services" }).click()
            await page.getByRole("row", { name: /look.*unhealthy|look.*degraded/ }).waitFor()
            await page.getByRole("navigation").getByRole("link", { name: "Chart" }).click()

            // A source is lost, and comes back.
            scene.announce("other", broken)
            assert.isBelow(
              await after(heard("sources", "\"stale\""), [
                cell(page, "far, us-west-2: 1 instance, 0 healthy, 1 stale"),
                page.getByRole("navigation").getByText("1 stale").waitFor(),
                change(page, /other/)
              ]),
              Limit
            )
            const back = heard("sources", "\"connected\"")
            scene.announce("other", far)
            assert.isBelow(await after(back, [cell(page, "far, us-west-2: 1 instance, 1 healthy")]), Limit)
          })
        }),
      60_000
    )
  })
})
