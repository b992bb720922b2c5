import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Balancer, Knowledge, Node, StrategyName } from "../../Balancer.ts"
import {
  type Catalog,
  type CatalogEntry,
  changedSince,
  type InstanceKey,
  type ServiceEntries,
  staleSince
} from "../../Catalog.ts"
import type { Discovery } from "../../Discovery.ts"
import type { Health, HealthStatus } from "../../Health.ts"
import * as Query from "../../Query.ts"
import type { RouteRequest, Target } from "../../Router.ts"
import type { CompiledRule } from "../../RoutingRule.ts"
import * as ServiceInstance from "../../ServiceInstance.ts"
import { pattern } from "../query/queryPredicates.ts"
import { byKey, type Change, Matches } from "./matches.ts"
import type { Settings } from "./settings.ts"
import { type Match, type Sights, View } from "./view.ts"

// Tiers of health; the last is for panic and trial calls alone. Draining and down are in none.
const tiers: Readonly<Record<HealthStatus, Match["tier"]>> = {
  healthy: 0,
  degraded: 1,
  unknown: 1,
  unhealthy: 2,
  draining: undefined,
  down: undefined
}

// Views kept per target; only tenants make more than a handful.
const viewsKept = 64

// A query may ask for the score, which changes with every call: so often it is asked again, ms.
const queryHolds = 1_000

const everybody = "*"

// More changes than this are cheaper made in one go: one by itself moves half of a list, all of them look at each.
const manyChanges = 128

/**
 * What candidates are made of; `Routes` is.
 *
 * @internal
 */
export interface Sources {
  readonly discovery: Pick<Discovery["Service"], "catalog">
  readonly health: Pick<Health["Service"], "changedSince" | "circuit" | "get" | "revision" | "status">
  readonly balancer: Balancer["Service"]
  readonly settings: Settings
}

/**
 * The candidates of one target, kept from call to call.
 *
 * **Details**: between changes, a call compares a few numbers, whatever the number of instances. A change of the catalog or
 * of a status costs what it touches: who was it is read from their logs, and the views that there are take it over.
 *
 * @internal
 */
export class Candidates {
  readonly #target: Target
  readonly #routes: Sources
  readonly #discovery: Sources["discovery"]
  readonly #health: Sources["health"]
  readonly #balancer: Balancer["Service"]
  /** Why nothing can match: the query is wrong. */
  readonly problem: string | undefined
  readonly #query: ((subject: Query.QuerySubject) => boolean) | undefined
  readonly #patterns: ReadonlyArray<(text: string) => boolean>
  readonly #matches = new Matches()
  readonly #views = new Map<string, View>()
  #last: View | undefined
  #catalog: Catalog | undefined
  #catalogRevision = -1
  #targetRevision = -1
  #asked = -Infinity
  // Of the services, at the same places.
  #services: ReadonlyArray<string> = []
  #healthRevisions: Array<number> = []
  #settings: Settings | undefined
  #rule: CompiledRule | undefined
  // Whether the views know of the settings.
  #settled = true
  readonly #many: number

  constructor(target: Target, routes: Sources, many = manyChanges) {
    this.#many = many
    this.#target = target
    this.#routes = routes
    this.#discovery = routes.discovery
    this.#health = routes.health
    this.#balancer = routes.balancer
    this.#patterns = (target.capabilities ?? []).map(pattern)
    if (target.query !== undefined) {
      const compiled = Query.compile(target.query)
      if (Result.isSuccess(compiled)) this.#query = compiled.success
      else this.problem = compiled.failure.message
    }
  }

  /** The routing rule that holds for the target. */
  rule(): CompiledRule | undefined {
    const { settings } = this.#routes
    if (settings !== this.#settings) {
      this.#settings = settings
      const rule = settings.rules.find((rule) => rule.matches(this.#target))
      if (rule !== this.#rule) {
        this.#rule = rule
        // Who matches may be others.
        this.#catalog = undefined
        this.#catalogRevision = -1
      }
      this.#settled = false
    }
    return this.#rule
  }

  /** The services whose instances match, as of the last `view`. */
  get services(): ReadonlyArray<string> {
    return this.#services
  }

  view(request: RouteRequest): View {
    const rule = this.rule()
    this.#refresh()
    if (!this.#settled) this.#settle()
    const strategy = request.strategy ?? rule?.strategy ?? this.#balancer.strategy()
    const tenant = this.#matches.restricted > 0 ? request.caller?.tenant : undefined
    let view = this.#last
    if (view === undefined || view.strategy !== strategy || view.tenant !== tenant) {
      view = this.#view(strategy, tenant)
      this.#last = view
    }
    return view
  }

  #view(strategy: StrategyName, tenant: string | undefined): View {
    const name = tenant === undefined ? strategy : `${strategy} ${tenant}`
    const known = this.#views.get(name)
    if (known !== undefined) return known
    const view = new View(strategy, tenant, this.#sights)
    if (this.#views.size >= viewsKept) {
      for (const oldest of this.#views.keys()) {
        this.#views.delete(oldest)
        break
      }
    }
    this.#views.set(name, view)
    return view
  }

  #settle(): void {
    for (const view of this.#views.values()) view.settle()
    this.#settled = true
  }

  #refresh(): void {
    const catalog = this.#discovery.catalog()
    const targetRevision = this.#target.revision === undefined ? 0 : this.#target.revision()
    const timed = this.#query !== undefined || this.#rule?.timed === true
    const asksAgain = timed && this.#balancer.now() - this.#asked >= queryHolds
    if (catalog !== this.#catalog || targetRevision !== this.#targetRevision || asksAgain) {
      const source = this.#sourceOf(catalog)
      const revision = source?.revision ?? 0
      const other = targetRevision !== this.#targetRevision || asksAgain
      if (revision !== this.#catalogRevision || other) {
        const since = source === undefined || other ? undefined : changedSince(source, this.#catalogRevision)
        this.#apply(this.#selected(catalog, source, since))
        if (timed) this.#asked = this.#balancer.now()
        this.#catalogRevision = revision
        this.#targetRevision = targetRevision
      }
      this.#catalog = catalog
    }
    for (let index = 0; index < this.#services.length; index++) {
      const service = this.#services[index]!
      const known = this.#healthRevisions[index]!
      const revision = this.#health.revision(service)
      if (revision === known) continue
      this.#healthRevisions[index] = revision
      this.#apply(this.#judged(service, this.#health.changedSince(service, known)))
    }
  }

  // Of a target that names its service, only changes of that service matter.
  #sourceOf(catalog: Catalog): Catalog | ServiceEntries | undefined {
    const { service } = this.#target
    return service === undefined ? catalog : Option.getOrUndefined(HashMap.get(catalog.services, service))
  }

  // What changes by what is announced; among these keys, else among all.
  #selected(
    catalog: Catalog,
    source: Catalog | ServiceEntries | undefined,
    keys: ReadonlyArray<InstanceKey> | undefined
  ): ReadonlyArray<Change> {
    const changes: Array<Change> = []
    const entries = source?.entries ?? HashMap.empty()
    if (keys === undefined) {
      const all = Array.from(HashMap.values(entries))
      // What comes together in memory is looked at together: their order there is that of their hashes.
      if (this.#matches.sorted.length === 0) all.sort(byKey)
      for (const entry of all) this.#look(entry.key, entry, catalog, changes)
      for (const { key } of this.#matches.sorted) {
        if (!HashMap.has(entries, key)) this.#look(key, undefined, catalog, changes)
      }
    } else {
      for (const key of new Set(keys)) {
        this.#look(key, Option.getOrUndefined(HashMap.get(entries, key)), catalog, changes)
      }
    }
    return changes
  }

  #look(key: InstanceKey, entry: CatalogEntry | undefined, catalog: Catalog, changes: Array<Change>): void {
    const before = this.#matches.find(key)
    if (entry === undefined || !this.#offers(entry, catalog)) {
      if (before !== undefined) changes.push({ before, after: undefined })
      return
    }
    const same = before !== undefined && before.entry === entry
    const node = same ? before.node : this.#balancer.node(key, entry.instance)
    this.#judge(before, node, entry, changes)
  }

  // What changes by the health of these, else of all of a service.
  #judged(service: string, keys: ReadonlyArray<InstanceKey> | undefined): ReadonlyArray<Change> {
    const changes: Array<Change> = []
    if (keys === undefined) {
      for (const match of this.#matches.sorted) {
        if (match.entry.instance.service === service) this.#judge(match, match.node, match.entry, changes)
      }
    } else {
      for (const key of new Set(keys)) {
        const match = this.#matches.find(key)
        if (match !== undefined) this.#judge(match, match.node, match.entry, changes)
      }
    }
    return changes
  }

  #judge(before: Match | undefined, node: Node, entry: CatalogEntry, changes: Array<Change>): void {
    const { key } = node
    const { instance } = entry
    const rule = this.#rule
    const tier = node.weight > 0 ? tiers[this.#health.status(key)] : undefined
    const circuit = tier === 2 ? this.#health.circuit(key) : undefined
    const until = circuit?.until
    const left = circuit?.cause === "pushback"
    const rank = rule === undefined ? 0 : rule.rank(instance, rule.minimum === undefined ? 1 : this.#score(node))
    if (
      before !== undefined && before.entry === entry && before.node === node && before.tier === tier &&
      before.rank === rank && before.until === until && before.left === left
    ) return
    const { tenants } = instance
    const after: Match = {
      key,
      node,
      entry,
      endpoint: before !== undefined && before.entry === entry
        ? before.endpoint
        : ServiceInstance.endpointKey(instance),
      tenants: tenants.includes(everybody) ? undefined : tenants,
      tier,
      rank,
      until,
      left,
      twin: undefined
    }
    changes.push({ before, after })
  }

  #apply(changes: ReadonlyArray<Change>): void {
    if (changes.length === 0) return
    const views = this.#views.values()
    if (changes.length <= this.#many) {
      for (const change of changes) this.#take(change)
      this.#welcome(changes)
      for (const view of views) view.settle()
    } else {
      this.#matches.changeMany(changes)
      this.#welcome(changes)
      for (const view of views) {
        view.rebuild()
        view.settle()
      }
    }
    const { services } = this.#matches
    if (services === this.#services) return
    this.#healthRevisions = services.map((service) => {
      const known = this.#services.indexOf(service)
      return known < 0 ? this.#health.revision(service) : this.#healthRevisions[known]!
    })
    this.#services = services
  }

  #take(change: Change): void {
    const { after, before } = change
    if (before !== undefined && after !== undefined && isInPlace(before, after)) {
      this.#matches.change(change)
      for (const view of this.#views.values()) if (this.#matches.speaks(view, after)) view.weigh(after)
      return
    }
    const endpoints = new Set<string>()
    if (before !== undefined) endpoints.add(before.endpoint)
    if (after !== undefined) endpoints.add(after.endpoint)
    for (const view of this.#views.values()) {
      for (const endpoint of endpoints) {
        const speaker = this.#matches.speaker(view, endpoint)
        if (speaker !== undefined) view.remove(speaker)
      }
    }
    this.#matches.change(change)
    for (const view of this.#views.values()) {
      for (const endpoint of endpoints) {
        const speaker = this.#matches.speaker(view, endpoint)
        if (speaker !== undefined) view.add(speaker)
      }
    }
  }

  // The node knows whether it was routable, so that it is welcomed once and not by each who sees it. Where all are new,
  // nobody is there to take the place of one that starts slowly.
  #welcome(changes: ReadonlyArray<Change>): void {
    const welcomed: Array<Node> = []
    for (const { after } of changes) {
      if (after === undefined) continue
      const routable = after.tier === 0 || after.tier === 1
      if (routable && !after.node.routable) welcomed.push(after.node)
      after.node.routable = routable
    }
    if (welcomed.length === 0 || welcomed.length === this.#matches.routable) return
    const at = this.#balancer.now()
    for (const node of welcomed) this.#balancer.welcome(node, at)
  }

  #offers(entry: CatalogEntry, catalog: Catalog): boolean {
    if (this.problem !== undefined) return false
    if (!this.#patterns.every((pattern) => entry.instance.capabilities.some(pattern))) return false
    if (this.#target.accepts?.(entry) === false) return false
    const required = this.#rule?.required
    if (this.#query === undefined && required === undefined) return true
    const { score, status } = this.#health.get(entry.key)
    const stale = Option.isSome(staleSince(catalog, entry))
    // One whose ejection is over needs a trial call to be well again, so it is taken for what it may be.
    const subject = status === "unhealthy" && this.#isDue(entry.key)
      ? { entry, health: "unknown" as const, score: 1, stale }
      : { entry, health: status, score, stale }
    return (this.#query === undefined || this.#query(subject)) && (required === undefined || required(subject))
  }

  #isDue(key: InstanceKey): boolean {
    const circuit = this.#health.circuit(key)
    return circuit !== undefined && this.#balancer.now() >= circuit.until
  }

  readonly #score = (node: Node): number => this.#health.get(node.key).score

  // Of its capabilities, the share that was asked for.
  readonly #share = (node: Node): number => {
    const { capabilities } = node.instance
    if (capabilities.length === 0 || this.#patterns.length === 0) return 0
    return capabilities.filter((text) => this.#patterns.some((pattern) => pattern(text))).length / capabilities.length
  }

  readonly #knowledge: Knowledge = { score: this.#score, match: this.#share }

  readonly #sights: Sights = {
    matches: () => this.#matches.sorted,
    speaks: (view, match) => this.#matches.speaks(view, match),
    restricted: () => this.#matches.restricted > 0,
    find: (key) => this.#matches.find(key),
    picker: (strategy) => this.#balancer.picker(strategy, this.#knowledge),
    panicThreshold: () => this.#routes.settings.panicThreshold,
    rule: () => this.#rule?.name
  }
}

const isInPlace = (before: Match, after: Match): boolean =>
  before.node === after.node && before.endpoint === after.endpoint && before.tier === after.tier &&
  before.rank === after.rank && before.entry.instance.priority === after.entry.instance.priority &&
  before.until === after.until &&
  before.left === after.left && isSame(before.tenants, after.tenants)

const isSame = (left: ReadonlyArray<string> | undefined, right: ReadonlyArray<string> | undefined): boolean =>
  left === right ||
  (left !== undefined && right !== undefined && left.length === right.length &&
    left.every((tenant, index) => tenant === right[index]))
