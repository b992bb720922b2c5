import type { Node } from "../../Balancer.ts"
import { isFree } from "../../balancing/Nodes.ts"
import type { RouteRequest } from "../../Router.ts"
import type { Candidates } from "./candidates.ts"
import { isFull, isLeftAlone, type Pick, pick } from "./pick.ts"
import type { Routes } from "./routes.ts"
import type { View } from "./view.ts"

/**
 * The nodes of services at their limit: what may go to others too has to keep away from them.
 *
 * @internal
 */
export const atLimit = (
  { groups }: View,
  services: ReadonlyArray<string>,
  admission: Routes["admission"]
): ReadonlyArray<Node> => {
  const full = admission.full(services)
  return full.length === 0
    ? []
    : groups.flatMap(({ nodes }) => nodes.filter((node) => full.includes(node.instance.service)))
}

/**
 * Where the attempts of one call go: each to an instance that it hasn't been tried at, as long as there is one.
 *
 * @internal
 */
export class Choice {
  readonly #routes: Routes
  readonly #candidates: Candidates
  readonly #request: RouteRequest
  readonly #tried: Array<Node> = []
  /** Whether the next attempt may be at an instance that failed. */
  again = false

  constructor(routes: Routes, candidates: Candidates, request: RouteRequest) {
    this.#routes = routes
    this.#candidates = candidates
    this.#request = request
  }

  /** Where it was tried first, and last. */
  get first(): Node | undefined {
    return this.#tried[0]
  }

  get last(): Node | undefined {
    return this.#tried.at(-1)
  }

  get services(): ReadonlyArray<string> {
    return this.#candidates.services
  }

  view(): View {
    return this.#candidates.view(this.#request)
  }

  /** An attempt begins at it. */
  took(node: Node): void {
    this.#tried.push(node)
  }

  /** For the first attempt, or the next one after all so far have failed. */
  next(view: View, at: number): Pick | undefined {
    const other = this.#other(view, at)
    if (other !== undefined || this.#tried.length === 0) return other
    const ejected = this.#hasRoutable(view) ? undefined : this.#ejected(view)
    if (ejected !== undefined) return { node: ejected, why: "ejected, but the others failed", trial: false }
    if (!this.again) return undefined
    // Only those that failed are there, and one of them said itself when to come again, or may be back.
    // Its affinity may be a getter, which a copy doesn't take along.
    const request = { ...this.#request, affinity: this.#request.affinity, repeatable: true }
    return pick(view, request, this.#routes, this.#tried.slice(-1), at, true) ??
      pick(view, request, this.#routes, [], at)
  }

  /** For an attempt beside the one under way. */
  beside(view: View, at: number): Pick | undefined {
    return this.#hasRoutable(view) ? this.#other(view, at) : undefined
  }

  /** Whether there is one that it hasn't been tried at, be it full. */
  hasOther(view: View): boolean {
    return this.#hasRoutable(view) || this.#ejected(view) !== undefined
  }

  /** Whether all that could take it asked to be left alone. */
  isLeftAlone(view: View): boolean {
    return isLeftAlone(view, this.#request, this.#routes.health)
  }

  /** Where nothing was picked: whether those that could take it have no room. */
  isFull(view: View): boolean {
    if (this.isLeftAlone(view)) return this.again
    return isFull(view, this.#request, this.#routes.health) &&
      (this.#tried.length === 0 || this.again || this.hasOther(view))
  }

  #other(view: View, at: number): Pick | undefined {
    const busy = atLimit(view, this.services, this.#routes.admission)
    const except = busy.length === 0 ? this.#tried : this.#tried.concat(busy)
    return pick(view, this.#request, this.#routes, except, at)
  }

  #hasRoutable(view: View): boolean {
    return this.#request.affinity?.strict !== true &&
      view.groups.some(({ nodes }) => nodes.some((node) => !this.#tried.includes(node)))
  }

  // One that was ejected may be well again; the one that just failed isn't. The one that was to come back first.
  #ejected(view: View): Node | undefined {
    if (this.#request.affinity?.strict === true) return undefined
    const { health } = this.#routes
    let first: Node | undefined
    let earliest = Infinity
    for (const node of view.ejected) {
      const circuit = health.circuit(node.key)
      if (circuit === undefined || circuit.cause === "pushback" || circuit.until >= earliest) continue
      if (!isFree(node) || this.#tried.includes(node)) continue
      first = node
      earliest = circuit.until
    }
    return first
  }
}
