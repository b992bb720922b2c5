import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Balancer, Knowledge, Node, Picker, StrategyName } from "../Balancer.ts"
import { type Catalog, type CatalogEntry, type InstanceKey, staleSince } from "../Catalog.ts"
import type { Discovery } from "../Discovery.ts"
import type { Health, HealthStatus } from "../Health.ts"
import * as Query from "../Query.ts"
import type { RouteRequest, Target } from "../Router.ts"
import type { CompiledRule } from "../RoutingRule.ts"
import * as ServiceInstance from "../ServiceInstance.ts"
import type { Routes } from "./routes.ts"
import type { Settings } from "./settings.ts"
import { pattern } from "./queryPredicates.ts"

/**
 * Nodes that are equally welcome: of one health tier and one priority.
 *
 * @internal
 */
export interface Group {
  readonly nodes: ReadonlyArray<Node>
  readonly picker: Picker
  /** Why one of these is picked; the same for each, so it is written once. */
  readonly why: string
}

/**
 * What one kind of caller can be routed to, best group first.
 *
 * @internal
 */
export interface View {
  readonly strategy: StrategyName
  readonly tenant: string | undefined
  version: number
  groups: ReadonlyArray<Group>
  /** Nodes in all groups. */
  routable: number
  /** Nodes whose circuit isn't closed, in none of the groups but in panic. */
  ejected: ReadonlyArray<Node>
  /** When the first of `ejected` is due for a trial call, as far as it is known; `Infinity` where nobody is ejected. */
  due: number
  /** Which of `ejected` is looked at next, and when the first of those looked at in this round is due. */
  next: number
  dueNext: number
  /** Instances that match, routable or not, of those the tenant may see. */
  visible: ReadonlyArray<Match>
  pickers: Map<string, Picker>
  /** `visible` by key, made when a call is bound to an instance. */
  byKey: Map<InstanceKey, Node> | undefined
}

interface Match {
  readonly node: Node
  readonly endpoint: string
}

// Tiers of health; the last is for panic and trial calls alone. Draining and down are in none.
const tiers: Readonly<Record<HealthStatus, 0 | 1 | 2 | undefined>> = {
  healthy: 0,
  degraded: 1,
  unknown: 1,
  unhealthy: 2,
  draining: undefined,
  down: undefined
}

// In a smaller pool the few that fail are probably gone: most of the calls would be thrown at them.
const panicAtLeast = 5

// Views kept per target; only tenants make more than a handful.
const viewsKept = 64

// A query may ask for the score, which changes with every call: so often it is asked again, ms.
const queryHolds = 1_000

const everybody = "*"

/**
 * The node of an instance that the view shows.
 *
 * @internal
 */
export const nodeOf = (view: View, key: InstanceKey): Node | undefined => {
  view.byKey ??= new Map(view.visible.map(({ node }) => [node.key, node]))
  return view.byKey.get(key)
}

/**
 * The candidates of one target, kept from call to call.
 *
 * **Details**: what matches is found again when the catalog changed in a way that concerns the target; who of them is
 * routable when a status did. In between, a call compares a few numbers, whatever the number of instances.
 *
 * @internal
 */
export class Candidates {
  readonly #target: Target
  readonly #routes: Routes
  readonly #discovery: Discovery["Service"]
  readonly #health: Health["Service"]
  readonly #balancer: Balancer["Service"]
  /** Why nothing can match: the query is wrong. */
  readonly problem: string | undefined
  readonly #query: ((subject: Query.QuerySubject) => boolean) | undefined
  readonly #patterns: ReadonlyArray<(text: string) => boolean>
  readonly #views = new Map<string, View>()
  #catalog: Catalog | undefined
  #catalogRevision = -1
  #targetRevision = -1
  #asked = -Infinity
  #matches: ReadonlyArray<Match> = []
  #services: ReadonlyArray<string> = []
  #healthRevisions: ReadonlyArray<number> = []
  // Whether any match is for some tenants only, and whether any two share an endpoint: mostly neither.
  #restricted = false
  #shared = false
  #version = 0
  #last: View | undefined
  #settings: Settings | undefined
  #rule: CompiledRule | undefined

  constructor(target: Target, routes: Routes) {
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
      this.#version++
      const rule = settings.rules.find((rule) => rule.matches(this.#target))
      if (rule !== this.#rule) {
        this.#rule = rule
        this.#catalogRevision = -1
        this.#catalog = undefined
      }
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
    const strategy = request.strategy ?? rule?.strategy ?? this.#balancer.strategy()
    const scope = this.#restricted ? request.caller?.tenant : undefined
    let view = this.#last
    if (view === undefined || view.strategy !== strategy || view.tenant !== scope) {
      view = this.#named(strategy, scope)
      this.#last = view
    }
    if (view.version !== this.#version) this.#group(view)
    return view
  }

  #named(strategy: StrategyName, tenant: string | undefined): View {
    const name = `${strategy} ${tenant ?? ""}`
    const known = this.#views.get(name)
    if (known !== undefined && known.tenant === tenant) return known
    const view: View = {
      strategy,
      tenant,
      version: -1,
      groups: [],
      routable: 0,
      ejected: [],
      due: Infinity,
      next: 0,
      dueNext: Infinity,
      visible: [],
      pickers: new Map(),
      byKey: undefined
    }
    if (this.#views.size >= viewsKept) {
      for (const oldest of this.#views.keys()) {
        this.#views.delete(oldest)
        break
      }
    }
    this.#views.set(name, view)
    return view
  }

  #refresh(): void {
    const catalog = this.#discovery.catalog()
    const targetRevision = this.#target.revision === undefined ? 0 : this.#target.revision()
    const timed = this.#query !== undefined || this.#rule?.timed === true
    const asksAgain = timed && this.#balancer.now() - this.#asked >= queryHolds
    if (catalog !== this.#catalog || targetRevision !== this.#targetRevision || asksAgain) {
      const revision = this.#revisionOf(catalog)
      if (revision !== this.#catalogRevision || targetRevision !== this.#targetRevision || asksAgain) {
        this.#select(catalog)
        if (timed) this.#asked = this.#balancer.now()
        this.#catalogRevision = revision
        this.#targetRevision = targetRevision
        this.#healthRevisions = this.#services.map(this.#health.revision)
        this.#version++
      }
      this.#catalog = catalog
    }
    const services = this.#services
    for (let index = 0; index < services.length; index++) {
      if (this.#health.revision(services[index]!) !== this.#healthRevisions[index]) {
        this.#healthRevisions = services.map(this.#health.revision)
        this.#version++
        return
      }
    }
  }

  // Of a target that names its service, only changes of that service matter.
  #revisionOf(catalog: Catalog): number {
    const service = this.#target.service
    if (service === undefined) return catalog.revision
    const entries = HashMap.get(catalog.services, service)
    return Option.isSome(entries) ? entries.value.revision : 0
  }

  #select(catalog: Catalog): void {
    const { accepts, service } = this.#target
    const found = service === undefined ? undefined : HashMap.get(catalog.services, service)
    const entries = service === undefined
      ? catalog.entries
      : found !== undefined && Option.isSome(found)
      ? found.value.entries
      : undefined
    const matches: Array<Match> = []
    const services = new Set<string>()
    const endpoints = new Set<string>()
    this.#restricted = false
    if (entries !== undefined) {
      for (const entry of HashMap.values(entries)) {
        if (!this.#offers(entry, catalog) || (accepts !== undefined && !accepts(entry))) continue
        const endpoint = endpointOf(entry)
        endpoints.add(endpoint)
        services.add(entry.instance.service)
        if (!entry.instance.tenants.includes(everybody)) this.#restricted = true
        matches.push({ node: this.#balancer.node(entry.key, entry.instance), endpoint })
      }
    }
    // A fixed order, so that round robin means something after a change.
    matches.sort((left, right) => left.node.key < right.node.key ? -1 : left.node.key > right.node.key ? 1 : 0)
    this.#matches = matches
    this.#services = Array.from(services)
    this.#shared = endpoints.size < matches.length
  }

  #offers(entry: CatalogEntry, catalog: Catalog): boolean {
    if (this.problem !== undefined) return false
    if (!this.#patterns.every((pattern) => entry.instance.capabilities.some(pattern))) return false
    const required = this.#rule?.required
    if (this.#query === undefined && required === undefined) return true
    const { score, status } = this.#health.get(entry.key)
    const subject = { entry, health: status, score, stale: Option.isSome(staleSince(catalog, entry)) }
    return (this.#query === undefined || this.#query(subject)) && (required === undefined || required(subject))
  }

  #group(view: View): void {
    const visible = this.#restricted
      ? this.#matches.filter(({ node: { instance: { tenants } } }) =>
        tenants.includes(everybody) || (view.tenant !== undefined && tenants.includes(view.tenant))
      )
      : this.#matches
    const rule = this.#rule
    const ejected: Array<Node> = []
    const welcomed: Array<Node> = []
    const candidates: Array<{ readonly node: Node; readonly tier: 0 | 1 | 2 }> = []
    let due = Infinity
    let sick = 0
    let left = 0
    for (const { node } of this.#shared ? this.#oncePerEndpoint(visible) : visible) {
      const tier = this.#tier(node)
      if (tier !== 0 && tier !== 1) node.routable = false
      else if (!node.routable) welcomed.push(node)
      if (tier === undefined) continue
      if (tier === 2) {
        sick++
        const circuit = this.#health.circuit(node.key)
        if (circuit !== undefined) {
          ejected.push(node)
          due = Math.min(due, circuit.until)
          // Asked to leave it alone, we do.
          if (circuit.cause === "pushback") {
            left++
            continue
          }
        }
      }
      candidates.push({ node, tier })
    }
    const all = candidates.length + left
    const routable = all - sick
    const share = this.#routes.settings.panicThreshold
    const panic = sick > left && (routable === 0 || (all >= panicAtLeast && routable < share * all))
    const groups: Array<{ tier: number; rank: number; priority: number; nodes: Array<Node> }> = []
    for (const { node, tier: own } of candidates) {
      if (own === 2 && !panic) continue
      const tier = panic ? 0 : own
      const priority = node.instance.priority
      const rank = rule === undefined ? 0 : rule.rank(node.instance, this.#score(node))
      const group = groups.find((group) => group.tier === tier && group.rank === rank && group.priority === priority)
      if (group === undefined) groups.push({ tier, rank, priority, nodes: [node] })
      else group.nodes.push(node)
    }
    groups.sort((left, right) => left.tier - right.tier || left.rank - right.rank || left.priority - right.priority)
    // Where all are new, nobody is there to take the place of one that starts slowly.
    const at = welcomed.length > 0 && welcomed.length < routable ? this.#balancer.now() : undefined
    for (const node of welcomed) {
      node.routable = true
      if (at !== undefined) this.#balancer.welcome(node, at)
    }
    const pickers = new Map<string, Picker>()
    const count = groups.reduce((sum, group) => sum + group.nodes.length, 0)
    view.groups = groups.map((group): Group => {
      const name = `${group.tier} ${group.rank} ${group.priority}`
      const picker = view.pickers.get(name) ?? this.#balancer.picker(view.strategy, this.#knowledge)
      picker.update(group.nodes)
      pickers.set(name, picker)
      const of = group.nodes.length
      const reason = panic
        ? routable === 0 ? `panic: none of ${all} is healthy` : `panic: only ${routable} of ${all} are healthy`
        : count === 1
        ? "the only one"
        : of === 1
        ? `the best of ${count}`
        : `${view.strategy} of ${of}`
      const why = rule === undefined ? reason : `rule ${JSON.stringify(rule.name)}: ${reason}`
      return { nodes: group.nodes, picker, why }
    })
    view.ejected = ejected
    view.due = due
    view.next = 0
    view.dueNext = Infinity
    view.pickers = pickers
    view.routable = count
    view.visible = visible
    view.byKey = undefined
    view.version = this.#version
  }

  readonly #score = (node: Node): number => this.#health.get(node.key).score

  // Of its capabilities, the share that was asked for.
  readonly #match = (node: Node): number => {
    const { capabilities } = node.instance
    if (capabilities.length === 0 || this.#patterns.length === 0) return 0
    return capabilities.filter((text) => this.#patterns.some((pattern) => pattern(text))).length / capabilities.length
  }

  readonly #knowledge: Knowledge = { score: this.#score, match: this.#match }

  #tier(node: Node): 0 | 1 | 2 | undefined {
    return node.weight > 0 ? tiers[this.#health.status(node.key)] : undefined
  }

  // Two announcements of one endpoint are one place to go to: the one in better health speaks for it, else the first.
  #oncePerEndpoint(matches: ReadonlyArray<Match>): ReadonlyArray<Match> {
    const best = new Map<string, Match>()
    for (const match of matches) {
      const known = best.get(match.endpoint)
      if (known === undefined || (this.#tier(match.node) ?? 3) < (this.#tier(known.node) ?? 3)) {
        best.set(match.endpoint, match)
      }
    }
    return Array.from(best.values())
  }
}

const endpoints = new WeakMap<ServiceInstance.ServiceInstance, string>()

// Records are immutable, so the text is made once for each.
const endpointOf = ({ instance }: CatalogEntry): string => {
  let key = endpoints.get(instance)
  if (key === undefined) endpoints.set(instance, key = ServiceInstance.endpointKey(instance))
  return key
}
