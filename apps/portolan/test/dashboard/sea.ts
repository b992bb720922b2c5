/**
 * A large fleet, and what changes it without pause: sixty services, 2,000 instances, 200 tools.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { random } from "../edits.ts"
import { registry } from "../fleet.ts"
import { most, type Scene, scene, settled } from "./scenes.ts"
import { servers } from "./servers.ts"
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

/** A large fleet: `all` are there from the beginning to the end, `others` come and go. */
export interface Sea extends Scene {
  readonly all: ReadonlyArray<Announced>
  readonly others: ReadonlyArray<Announced>
  /** What `churn` made of it so far: how instances are marked, by their ids, and what the fourth source announces. */
  readonly marked: Map<string, string>
  readonly announced: Map<string, Announced & { readonly weight: number }>
}

/** 2,000 instances in five regions, announced by three sources, and a fourth that begins empty. All healthy, and few calls. */
export const openSea: Effect.Effect<Sea, never, Scope.Scope> = Effect.gen(function*() {
  const made = yield* servers(offersOf(sea))
  const all = instancesOf(sea, made)
  const others = all.filter((_, at) => at % 20 === 0).map(({ region, service }, at) => {
    const id = `other-${at}`
    return { id, service, region, endpoint: { transport: "streamable-http", url: made.url(service, id) } }
  })
  const thirds = [0, 1, 2].map((third) => all.filter((_, at) => at % 3 === third))
  const running = yield* scene(
    Object.fromEntries([...thirds.map((some, at) => [`dc${at + 1}`, registry(...some)]), ["dc4", registry()]]),
    { health: { interval: "10m" } }
  )
  yield* settled(running.url, { healthy: all.length })
  return { ...running, all, others, marked: new Map(), announced: new Map() }
})

/** How often a source tells what changed in it, ms. */
const told = 200

/**
 * Changes instances without pause until the scope closes: half of the updates mark one by hand or take the mark away, the
 * others are changes in a source, which announces one, announces it with another weight, or takes it back. Each changes
 * something. `made`: marks that were taken, and changes that were written.
 */
export const churn = (
  { all, announce, announced, marked, others, url }: Sea,
  perSecond: number
): Effect.Effect<{ readonly made: () => number }, never, Scope.Scope> =>
  Effect.gen(function*() {
    const begun = performance.now()
    const next = random(7)
    const pick = <A>(from: ReadonlyArray<A>): A | undefined => from[Math.floor(next() * from.length)]
    let made = 0

    let marks = 0
    let running = 0
    const mark = async () => {
      const id = pick(all)?.id ?? ""
      const now = marked.get(id)
      // One that is marked is mostly given back: half of them are marked in the end.
      const as = now !== undefined && next() < 0.9 ? "up" : now === "draining" ? "down" : "draining"
      if (as === "up") marked.delete(id)
      else marked.set(id, as)
      const answer = await fetch(`${url}/api/v1/instances/${id}/mark`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ as, reason: "churn" })
      })
      await answer.arrayBuffer()
      if (answer.ok) made++
    }
    const operator = () => {
      const owed = (performance.now() - begun) / 1000 * perSecond / 2
      for (; marks < owed && running < most; marks++) {
        running++
        mark().catch(() => {}).finally(() => running--)
      }
    }

    const source = () => {
      const changed = new Set<Announced>()
      while (changed.size < Math.min(others.length, perSecond / 2 * told / 1000)) {
        const one = pick(others)
        if (one !== undefined) changed.add(one)
      }
      for (const one of changed) {
        const before = announced.get(one.id)
        if (before !== undefined && next() < 0.3) announced.delete(one.id)
        else announced.set(one.id, { ...one, weight: 1 + (before?.weight ?? 0) % 9 })
      }
      made += changed.size
      announce("dc4", registry(...announced.values()))
    }

    yield* Effect.acquireRelease(
      Effect.sync(() => [setInterval(operator, 50), setInterval(source, told)]),
      (timers) => Effect.sync(() => timers.forEach((timer) => clearInterval(timer)))
    )
    return { made: () => made }
  })
