/**
 * A large fleet, and what changes it without pause: sixty services, 2,000 instances, 200 tools.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { random } from "../edits.ts"
import { registry } from "../fleet.ts"
import { most, type Scene, scene, settled } from "./scenes.ts"
import { type Servers, servers } from "./servers.ts"
import { type Announced, instancesOf, offersOf, type Service } from "./services.ts"

const words =
  "mail files notes tasks chat video audio image maps search orders stock rates news sport legal tax travel hotel flight"
    .split(" ")
const kinds = ["read", "write", "index"] as const
const regions = ["ap-south-1", "eu-west-1", "sa-east-1", "us-east-1", "us-west-2"] as const

/** Sixty services with 2,000 instances and 200 tools; the larger ones have more of everything. */
const sea: ReadonlyArray<Service> = kinds.flatMap((kind, row) =>
  words.map((word, column) => {
    const at = row * words.length + column
    const each = at < 20 ? 10 : at < 40 ? 6 : 4
    return {
      name: `${word}-${kind}`,
      version: `${1 + at % 5}.${at % 7}.${at % 3}`,
      rate: at < 20 ? 3 : 1,
      latency: 10 + at,
      regions: Object.fromEntries(regions.map((region) => [region, each])),
      tools: Array.from({ length: at < 20 ? 4 : 3 }, (_, index) => `${kind}_${word}_${index + 1}`)
    }
  })
)

/** Instances of `openSea` that nobody but its churn changes, by their ids. */
export interface Sea extends Scene {
  readonly servers: Servers
  readonly all: ReadonlyArray<Announced>
}

/** 2,000 instances in five regions, announced by three sources. All healthy, and few calls. */
export const openSea: Effect.Effect<Sea, never, Scope.Scope> = Effect.gen(function*() {
  const made = yield* servers(offersOf(sea))
  const all = instancesOf(sea, made)
  const thirds = [0, 1, 2].map((third) => all.filter((_, at) => at % 3 === third))
  const running = yield* scene(
    Object.fromEntries(thirds.map((some, at) => [`dc${at + 1}`, registry(...some)])),
    { health: { interval: "10m" } }
  )
  yield* settled(running.url, { healthy: all.length })
  return { ...running, servers: made, all }
})

/**
 * Changes instances without pause until the scope closes: half of the updates mark one by hand or take the mark away, the
 * others announce one, announce it otherwise, or take it back.
 */
export const churn = (
  { all, servers, url }: Pick<Sea, "all" | "servers" | "url">,
  perSecond: number
): Effect.Effect<{ readonly made: () => number }, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const begun = performance.now()
        const next = random(7)
        const announced = new Set<number>()
        let made = 0
        let running = 0
        const send = (method: string, path: string, body?: object) => {
          running++
          fetch(`${url}/api/v1/${path}`, {
            method,
            headers: { "content-type": "application/json" },
            ...body === undefined ? {} : { body: JSON.stringify(body) }
          }).then((answer) => answer.arrayBuffer()).catch(() => {}).finally(() => running--)
        }
        const update = () => {
          const at = Math.floor(next() * all.length)
          const one = all[at]
          if (one === undefined) return
          if (next() < 0.5) {
            const as = next() < 0.6 ? "up" : next() < 0.5 ? "draining" : "down"
            return send("PUT", `instances/${one.id}/mark`, { as, reason: "churn" })
          }
          const id = `extra-${at % 100}`
          if (announced.has(at % 100) && next() < 0.3) {
            announced.delete(at % 100)
            return send("DELETE", `instances/${id}`)
          }
          announced.add(at % 100)
          send("PUT", `instances/${id}?ttl=1h`, {
            id,
            service: one.service,
            region: one.region,
            weight: 1 + Math.floor(next() * 9),
            endpoint: { transport: "streamable-http", url: servers.url(one.service, id) }
          })
        }
        const timer = setInterval(() => {
          const owed = (performance.now() - begun) / 1000 * perSecond
          for (; made < owed; made++) if (running < most) update()
        }, 50)
        return { timer, made: () => made }
      }),
      ({ timer }) => Effect.sync(() => clearInterval(timer))
    ),
    ({ made }) => ({ made })
  )
