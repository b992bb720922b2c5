import type { Edit, Node, Picker, StrategyName } from "../../Balancer.ts"
import type { CatalogEntry, InstanceKey } from "../../Catalog.ts"

/**
 * An instance that matches a target, and how welcome it is there.
 *
 * @internal
 */
export interface Match {
  readonly key: InstanceKey
  readonly node: Node
  entry: CatalogEntry
  endpoint: string
  /** Whose it is, where it isn't everybody's. */
  tenants: ReadonlyArray<string> | undefined
  /** 0 and 1 are routable, 2 is unhealthy; nothing for one that drains, is down or of weight 0. */
  tier: 0 | 1 | 2 | undefined
  rank: number
  /** When its circuit takes trial calls; nothing where that is closed. */
  until: number | undefined
  /** Whether it asked to be left alone. */
  left: boolean
  /** The next one with the same endpoint. */
  twin: Match | undefined
}

/**
 * Nodes that are equally welcome: of one tier, rank and priority.
 *
 * @internal
 */
export interface Group {
  readonly tier: number
  readonly rank: number
  readonly priority: number
  /** By key. The picker has the same list, and is told of each change. */
  readonly nodes: Array<Node>
  readonly picker: Picker
  /** Whether the picker has to be given the list anew. */
  stale: boolean
  /** Why one of these is picked; the same for each, so it is written once. */
  why: string
}

/**
 * What all views of a target share.
 *
 * @internal
 */
export interface Sights {
  /** By key. */
  readonly matches: () => ReadonlyArray<Match>
  /** The one of those with its endpoint that speaks for it in a view. */
  readonly speaks: (view: View, match: Match) => boolean
  /** Whether any match isn't everybody's. */
  readonly restricted: () => boolean
  readonly find: (key: InstanceKey) => Match | undefined
  readonly picker: (strategy: StrategyName) => Picker
  readonly panicThreshold: () => number
  /** The name of the routing rule, where one holds. */
  readonly rule: () => string | undefined
}

// In a smaller pool the few that fail are probably gone: most of the calls would be thrown at them.
const poolAtLeast = 5

/**
 * What one kind of caller can be routed to, best group first.
 *
 * **Details**: `add` and `remove` cost what a change costs in a sorted list; `rebuild` makes the same from all matches.
 * After any of them, `settle`.
 *
 * @internal
 */
export class View {
  readonly strategy: StrategyName
  readonly tenant: string | undefined
  groups: Array<Group> = []
  /** Nodes in all groups. */
  routable = 0
  /** Nodes whose circuit isn't closed, in none of the groups but in panic. */
  ejected: Array<Node> = []
  /** When the first of `ejected` is due for a trial call, as far as it is known; `Infinity` where nobody is ejected. */
  due = Infinity
  /** Which of `ejected` is looked at next, and when the first of those looked at in this round is due. */
  next = 0
  dueNext = Infinity
  readonly #sights: Sights
  // Candidates: all but those that drain, are down or of weight 0. Of these the healthy ones, the unhealthy ones, and of
  // the latter those to leave alone.
  #all = 0
  #healthy = 0
  #unhealthy = 0
  #left = 0
  // Up to which tier all are equally welcome: 0 as a rule; 1 where few are healthy, so that those aren't overrun by the
  // calls of all; 2 in panic, where few are routable.
  #merged = 0

  constructor(strategy: StrategyName, tenant: string | undefined, sights: Sights) {
    this.strategy = strategy
    this.tenant = tenant
    this.#sights = sights
    this.rebuild()
    this.settle()
  }

  /** Instances that match, routable or not, of those the tenant may see; by key. */
  get visible(): ReadonlyArray<Match> {
    const matches = this.#sights.matches()
    return this.#sights.restricted() ? matches.filter((match) => this.sees(match)) : matches
  }

  /** The node of an instance that it shows. */
  nodeOf(key: InstanceKey): Node | undefined {
    const match = this.#sights.find(key)
    return match !== undefined && this.sees(match) ? match.node : undefined
  }

  sees({ tenants }: Match): boolean {
    return tenants === undefined || (this.tenant !== undefined && tenants.includes(this.tenant))
  }

  add(match: Match): void {
    if (!this.#count(match, 1)) return
    const group = this.#group(match)
    const index = placeOf(group.nodes, match.key)
    group.nodes.splice(index, 0, match.node)
    tell(group, "inserted", index, match.node)
    this.routable++
  }

  /** To be called before the match changes. */
  remove(match: Match): void {
    if (!this.#count(match, -1)) return
    const group = this.#group(match)
    const index = placeOf(group.nodes, match.key)
    group.nodes.splice(index, 1)
    tell(group, "removed", index, match.node)
    this.routable--
  }

  /** Its record changed, but not its place. */
  weigh(match: Match): void {
    if (!this.#takes(match)) return
    const group = this.#group(match)
    tell(group, "weighed", placeOf(group.nodes, match.key), match.node)
  }

  /** Begins anew with all matches. Pickers of groups that stay keep their positions. */
  rebuild(): void {
    const before = this.groups
    this.groups = []
    this.ejected = []
    this.due = this.dueNext = Infinity
    this.next =
      this.#all =
      this.#healthy =
      this.#unhealthy =
      this.#left =
      this.routable =
        0
    const seen: Array<Match> = []
    for (const match of this.#sights.matches()) {
      if (!this.sees(match) || !this.#sights.speaks(this, match)) continue
      seen.push(match)
      this.#count(match, 1)
    }
    this.#merged = this.#merges()
    for (const match of seen) {
      if (!this.#takes(match)) continue
      const group = this.#group(match, before)
      group.nodes.push(match.node)
      group.stale = true
      this.routable++
    }
  }

  /** After changes: panic begins or ends, empty groups go. */
  settle(): void {
    if (this.#merged !== this.#merges()) this.rebuild()
    if (this.groups.some(({ nodes }) => nodes.length === 0)) {
      this.groups = this.groups.filter(({ nodes }) => nodes.length > 0)
    }
    const rule = this.#sights.rule()
    for (const group of this.groups) {
      if (group.stale) group.picker.update(group.nodes)
      group.stale = false
      const reason = this.#why(group)
      group.why = rule === undefined ? reason : `rule ${JSON.stringify(rule)}: ${reason}`
    }
  }

  #why({ nodes }: Group): string {
    const well = this.#all - this.#unhealthy
    if (this.#merged === 2) {
      return well === 0
        ? `panic: none of ${this.#all} is healthy`
        : `panic: only ${well} of ${this.#all} ${well === 1 ? "is" : "are"} healthy`
    }
    if (this.routable === 1) return "the only one"
    return nodes.length === 1 ? `the best of ${this.routable}` : `${this.strategy} of ${nodes.length}`
  }

  #merges(): 0 | 1 | 2 {
    const well = this.#all - this.#unhealthy
    const share = this.#sights.panicThreshold()
    // Unless it would add nobody: who asked to be left alone is.
    if (this.#unhealthy > this.#left && (well === 0 || (this.#all >= poolAtLeast && well < share * this.#all))) return 2
    return well >= poolAtLeast && this.#healthy < share * well ? 1 : 0
  }

  // Whether it belongs to a group.
  #takes({ left, tier }: Match): boolean {
    return tier !== undefined && (tier < 2 || (this.#merged === 2 && !left))
  }

  #count(match: Match, by: 1 | -1): boolean {
    const { left, node, tier, until } = match
    if (tier === undefined) return false
    this.#all += by
    if (tier === 0) this.#healthy += by
    if (tier === 2) {
      this.#unhealthy += by
      if (left) this.#left += by
      if (until !== undefined) this.#eject(node, until, by)
    }
    return this.#takes(match)
  }

  #eject(node: Node, until: number, by: 1 | -1): void {
    if (by === 1) {
      this.ejected.push(node)
      this.due = Math.min(this.due, until)
      return
    }
    const place = this.ejected.indexOf(node)
    const last = this.ejected.pop()
    if (last !== undefined && place < this.ejected.length) this.ejected[place] = last
    // Whoever took its place may not have been looked at: another round.
    if (this.next > 0) this.dueNext = -Infinity
    if (this.next >= this.ejected.length) this.next = 0
    if (this.ejected.length === 0) this.due = this.dueNext = Infinity
  }

  // The group of a match, made where there is none; its picker is the one of before, if there is one.
  #group({ entry, rank, tier: own = 0 }: Match, before: ReadonlyArray<Group> = []): Group {
    const { priority } = entry.instance
    const tier = own <= this.#merged ? 0 : own
    let at = 0
    for (; at < this.groups.length; at++) {
      const group = this.groups[at]!
      const order = group.tier - tier || group.rank - rank || group.priority - priority
      if (order === 0) return group
      if (order > 0) break
    }
    const known = before.find((group) => group.tier === tier && group.rank === rank && group.priority === priority)
    const picker = known?.picker ?? this.#sights.picker(this.strategy)
    const group: Group = { tier, rank, priority, nodes: [], picker, stale: true, why: "" }
    this.groups.splice(at, 0, group)
    return group
  }
}

const tell = (group: Group, edit: Edit, index: number, node: Node): void => {
  if (!group.stale) group.picker.edited(edit, index, node)
}

/**
 * Where a key is in a sorted list, or belongs.
 *
 * @internal
 */
export const placeOf = (sorted: ReadonlyArray<{ readonly key: InstanceKey }>, key: InstanceKey): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle]!.key < key) low = middle + 1
    else high = middle
  }
  return low
}
