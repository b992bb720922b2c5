import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Catalog from "../src/Catalog.ts"
import { HealthTable } from "../src/internal/health/healthTable.ts"
import { Candidates, type Sources } from "../src/internal/routing/candidates.ts"
import { pick } from "../src/internal/routing/pick.ts"
import { settingsOf } from "../src/internal/routing/settings.ts"
import type { View } from "../src/internal/routing/view.ts"
import type * as Router from "../src/Router.ts"
import { instance, key } from "./fixtures/Fleet.ts"

const settings = {
  interval: 30_000,
  unhealthyInterval: 1_000,
  idleInterval: Infinity,
  jitter: 0,
  rise: 1,
  fall: 3,
  ejection: {
    consecutiveFailures: 3,
    baseTime: 1_000,
    maxTime: 60_000,
    maxShare: 1,
    interval: 10_000,
    minInstances: 5,
    minRequests: 100,
    deviations: 1.9,
    trials: 3,
    readmitOnCheck: true
  },
  weights: { success: 0.7, latency: 0.3 }
}

const routing: ReadonlyArray<Router.RouterOptions> = [
  {},
  { panicThreshold: 0 },
  { panicThreshold: 1 },
  { rules: [{ match: { service: "weather" }, preferRegions: ["eu", "us"] }] },
  { rules: [{ match: {}, minHealthScore: 0.6, preferRegions: ["us"] }] },
  { rules: [{ match: {}, require: { tags: ["prod"] }, strategy: "round-robin" }] }
]

/** Catalog, health and balancer of a gateway whose parts hear of changes when they are told to. */
class World implements Sources {
  now = 0
  catalog = Catalog.empty
  settings = settingsOf({})
  accepted = 0
  readonly #pending: Array<Catalog.CatalogChange> = []
  readonly table = new HealthTable({
    settings,
    now: () => this.now,
    wall: () => this.now,
    random: () => 0.5,
    stalled: () => false,
    publish: () => {},
    wake: () => {}
  })
  readonly discovery = { catalog: () => this.catalog }
  readonly health = {
    get: (key: Catalog.InstanceKey) => this.table.get(key),
    status: (key: Catalog.InstanceKey) => this.table.status(key),
    revision: (service: string) => this.table.revision(service),
    changedSince: (service: string, revision: number) => this.table.changedSince(service, revision),
    circuit: (key: Catalog.InstanceKey) => this.table.circuit(key),
    admit: (key: Catalog.InstanceKey, at: number) => this.table.admit(key, at)
  }
  readonly balancer: Balancer.Balancer["Service"]

  constructor(balancer: Balancer.Balancer["Service"]) {
    this.balancer = { ...balancer, now: () => this.now }
  }

  change(changes: ReadonlyArray<Catalog.CatalogChange>): void {
    if (changes.length === 0) return
    this.catalog = Catalog.apply(this.catalog, changes)
    this.#pending.push(...changes)
    // Until health hears that an instance is of another service, it tells changes to those who look at the one before.
    const moves = changes.some(({ entry }) => {
      const tracked = this.table.find(entry.key)
      return tracked !== undefined && tracked.instance.service !== entry.instance.service
    })
    if (moves) this.hear()
  }

  put(records: ReadonlyArray<readonly [string, NonNullable<Parameters<typeof instance>[1]>]>): void {
    this.change(Array.from(new Map(records), ([id, fields]): Catalog.CatalogChange => {
      const previous = Option.getOrUndefined(HashMap.get(this.catalog.entries, key(id)))
      const entry: Catalog.CatalogEntry = {
        key: key(id),
        instance: instance(id, fields),
        source: "test",
        alsoIn: [],
        firstSeen: 0,
        changedAt: 0,
        missingSince: undefined
      }
      return previous === undefined ? { _tag: "Added", entry } : { _tag: "Updated", entry, previous }
    }))
  }

  remove(ids: ReadonlyArray<string>): void {
    this.change(ids.flatMap((id): ReadonlyArray<Catalog.CatalogChange> => {
      const entry = Option.getOrUndefined(HashMap.get(this.catalog.entries, key(id)))
      return entry === undefined ? [] : [{ _tag: "Removed", entry }]
    }))
  }

  /** Health and router hear of what changed. */
  hear(): void {
    for (const { _tag, entry } of this.#pending.splice(0)) {
      if (_tag !== "Removed") this.table.put(entry.key, entry.instance)
      else {
        this.table.remove(entry.key)
        if (!HashMap.has(this.catalog.entries, entry.key)) this.balancer.forget(entry.key)
      }
    }
  }
}

const described = (view: View) => ({
  groups: view.groups.map(({ nodes, priority, rank, tier, why }) => ({
    tier,
    rank,
    priority,
    why,
    nodes: nodes.map(({ key }) => key)
  })),
  routable: view.routable,
  ejected: view.ejected.map(({ key }) => key).toSorted(),
  visible: view.visible.map(({ endpoint, entry, node, rank, tier }) => ({
    key: node.key,
    endpoint,
    record: entry.instance,
    tier,
    rank,
    priority: entry.instance.priority
  }))
})

// Most that happens happens to the first few; all of them are changed in one go.
const ids = Array.from({ length: 40 }, (_, index) => `n${(index * 7 % 40).toString().padStart(2, "0")}`)

const record = fc.record({
  weight: fc.constantFrom(1, 1, 1, 0, 3),
  priority: fc.constantFrom(0, 0, 1),
  region: fc.constantFrom("eu", "us", "asia"),
  tenants: fc.constantFrom(["*"], ["*"], ["acme"], ["acme", "other"]),
  status: fc.constantFrom("up", "up", "up", "draining", "down"),
  tags: fc.constantFrom(["prod"], ["prod"], []),
  capabilities: fc.constantFrom(["a.read"], ["a.read", "b.read"], ["b.read"]),
  service: fc.constantFrom("weather", "weather", "weather", "stock"),
  shared: fc.option(fc.constantFrom("http://one.test/mcp", "http://two.test/mcp"), { freq: 3, nil: undefined })
}).map(({ shared, ...fields }) =>
  shared === undefined ? fields : { ...fields, endpoint: { transport: "streamable-http", url: shared } as const }
)

const id = fc.constantFrom(...ids.slice(0, 12))
const command: fc.Arbitrary<(world: World) => void> = fc.oneof(
  fc.array(fc.tuple(id, record), { minLength: 1, maxLength: 3 }).map((records) => (world: World) => world.put(records)),
  fc.array(record, { minLength: 1, maxLength: 12 }).map((records) => (world: World) => {
    world.put(ids.map((id, index) => [id, records[index % records.length]!]))
  }),
  fc.array(fc.constantFrom(...ids), { minLength: 1, maxLength: 80 }).map((ids) => (world: World) =>
    world.remove(Array.from(new Set(ids)))
  ),
  fc.uniqueArray(id, { minLength: 1, maxLength: 12 }).map((ids) => (world: World) => world.remove(ids)),
  fc.constant((world: World) => world.hear()),
  fc.tuple(id, fc.constantFrom("up", "draining", "down", undefined)).map(([id, status]) => (world: World) =>
    world.table.override(key(id), status, "test")
  ),
  fc.tuple(id, fc.integer({ min: 1, max: 12 })).map(([id, times]) => (world: World) => {
    for (let time = 0; time < times; time++) {
      world.table.record(key(id), { _tag: "failure", latency: 0, reason: "refused" })
    }
  }),
  fc.tuple(id, fc.integer({ min: 1, max: 12 })).map(([id, times]) => (world: World) => {
    for (let time = 0; time < times; time++) world.table.record(key(id), { _tag: "success", latency: 0 })
  }),
  fc.tuple(id, fc.integer({ min: 1, max: 5_000 })).map(([id, retryAfter]) => (world: World) =>
    world.table.record(key(id), { _tag: "failure", latency: 0, reason: "busy", retryAfter })
  ),
  fc.tuple(id, fc.constantFrom("Pass", "Degraded", "Fail")).map(([id, result]) => (world: World) => {
    const tracked = world.table.find(key(id))
    if (tracked === undefined) return
    world.table.checked(tracked, result === "Pass" ? { _tag: result } : { _tag: result, reason: "so", fatal: false }, 0)
  }),
  fc.integer({ min: 1, max: 3_000 }).map((ms) => (world: World) => {
    world.now += ms
  }),
  fc.constantFrom(...routing).map((options) => (world: World) => {
    world.settings = settingsOf(options)
  }),
  fc.constant((world: World) => {
    world.accepted++
  })
)

const targetsOf = (world: World): ReadonlyArray<Router.Target> => [
  { service: "weather" },
  { capabilities: ["a.*"] },
  { query: { tags: ["prod"], score: { $gte: 0.5 } } },
  {
    service: "weather",
    accepts: ({ key }) => (key.charCodeAt(key.length - 1) + world.accepted) % 3 > 0,
    revision: () => world.accepted
  }
]

const callers: ReadonlyArray<Router.Caller | undefined> = [undefined, { tenant: "acme" }, { tenant: "other" }]

describe("a view that follows changes", () => {
  it.effect("equals one made from nothing, whatever changes", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.array(command, { minLength: 1, maxLength: 4 }), fc.nat(3), fc.nat(2), fc.boolean()), {
            maxLength: 25
          }),
          (steps) => {
            const world = new World(balancer)
            for (const id of ids) balancer.forget(key(id))
            const targets = targetsOf(world)
            const followers = targets.map((target) => new Candidates(target, world, 16))
            for (const [commands, which, who, picks] of steps) {
              for (const command of commands) command(world)
              // What a query or a rule asks of scores is asked again after a second.
              world.now += 1_000
              const target = targets[which]!
              const caller = callers[who]
              const request: Router.RouteRequest = {
                target,
                repeatable: true,
                ...(caller === undefined ? {} : { caller }),
                ...(who === 1 ? { strategy: "weighted-round-robin" } : {})
              }
              const view = followers[which]!.view(request)
              const fresh = new Candidates(target, world).view(request)
              assert.deepStrictEqual(described(view), described(fresh))
              if (!picks) continue
              const picked = pick(view, request, world, [], world.now)
              const known = new Set(fresh.groups.flatMap(({ nodes }) => nodes).concat(fresh.ejected))
              if (picked === undefined) assert.strictEqual(fresh.routable, 0)
              else assert.isTrue(known.has(picked.node))
              if (picked?.trial === true) {
                world.table.record(picked.node.key, { _tag: "success", latency: 0, trial: true })
              }
            }
          }
        ),
        { numRuns: 500 }
      )
    }))

  it.effect("finds every ejected node that is due, however its time changed", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      fc.assert(
        fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
          const world = new World(balancer)
          for (const id of ids) balancer.forget(key(id))
          const request: Router.RouteRequest = { target: { service: "weather" }, repeatable: true }
          const candidates = new Candidates(request.target, world)
          const look = () => pick(candidates.view(request), request, world, [], world.now)
          const settle = (node: Balancer.Node) =>
            world.table.record(node.key, { _tag: "ignored", latency: 0, trial: true })
          for (const command of commands) {
            command(world)
            const picked = look()
            if (picked?.trial === true) settle(picked.node)
          }
          world.hear()
          // Longer than any is ejected for.
          world.now += 300_001
          const due = new Set(candidates.view(request).ejected.filter(({ key }) => world.table.admits(key, world.now)))
          for (let times = 0; times < 4 * ids.length && due.size > 0; times++) {
            world.now += 1
            const picked = look()
            if (picked?.trial !== true) continue
            due.delete(picked.node)
            settle(picked.node)
          }
          assert.strictEqual(due.size, 0)
        }),
        { numRuns: 200 }
      )
    }))
})
