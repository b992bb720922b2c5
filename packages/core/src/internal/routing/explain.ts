import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Node } from "../../Balancer.ts"
import { type CatalogEntry, type InstanceKey, staleSince } from "../../Catalog.ts"
import type { Candidate, ExplainOptions, Explanation } from "../../Explanation.ts"
import * as Query from "../../Query.ts"
import type { RouteRequest } from "../../Router.ts"
import { pattern } from "../query/queryPredicates.ts"
import type { Candidates } from "./candidates.ts"
import { atLimit } from "./choice.ts"
import { leftOut, withReason } from "./leftOut.ts"
import { nameOf, noInstance, type Pick, pick } from "./pick.ts"
import type { Routes } from "./routes.ts"
import type { View } from "./view.ts"

/**
 * Says where a request would go now, and why.
 *
 * @internal
 */
export const explain = (
  candidates: Candidates,
  request: RouteRequest,
  routes: Routes,
  options: ExplainOptions = {}
): Explanation => {
  const { health } = routes
  const catalog = routes.discovery.catalog()
  const most = options.most ?? 100
  const view = candidates.view(request)
  const rule = candidates.rule()
  const held = isHeld(candidates, view, request, routes)
  const picked = held ? undefined : rehearse(view, request, candidates.services, routes)

  const describe = (entry: CatalogEntry, node: Node | undefined, reason: string): Candidate => {
    const { instance, key, source } = entry
    const { score, status } = health.get(key)
    return {
      key,
      instance: instance.id,
      service: instance.service,
      source,
      version: instance.version,
      region: instance.region,
      status,
      score,
      latency: node === undefined || node.latency === 0 ? undefined : node.latency,
      inFlight: node?.inFlight ?? 0,
      weight: instance.weight,
      circuit: health.circuit(key)?.state ?? "closed",
      stale: Option.isSome(staleSince(catalog, entry)),
      reason
    }
  }
  const ofNode = (node: Node, reason: string): ReadonlyArray<Candidate> => {
    const entry = Option.getOrUndefined(HashMap.get(catalog.entries, node.key))
    return entry === undefined ? [] : [describe(entry, node, reason)]
  }

  const considered: Array<Candidate> = []
  const left: Array<Candidate> = []
  const more = { considered: 0, leftOut: 0 }
  const why = leftOut(view, request, rule, picked, routes)
  for (const { node } of view.visible) {
    if (node === picked?.node) continue
    const reason = why(node)
    const [list, name] = reason === undefined ? [considered, "considered" as const] : [left, "leftOut" as const]
    if (list.length < most) {
      list.push(...ofNode(node, reason ?? (node.easing ? "takes less than its share for now" : "")))
    } else more[name]++
  }
  const visible = new Set(view.visible.map(({ node }) => node.key))
  const unfit: Array<readonly [CatalogEntry, string]> = []
  const unfitness = unfitnessOf(candidates, request, routes)
  for (const entry of concerned(request, routes)) {
    if (visible.has(entry.key)) continue
    const reason = unfitness(entry)
    if (reason === undefined) continue
    if (left.length + unfit.length < most) unfit.push([entry, reason])
    else more.leftOut++
  }
  const nodes = nodesOf(unfit.map(([{ key }]) => key), routes)
  for (const [entry, reason] of unfit) left.push(describe(entry, nodes.get(entry.key), reason))

  return {
    requested: nameOf(request),
    rule: rule === undefined
      ? undefined
      : { number: routes.settings.rules.indexOf(rule) + 1, name: rule.name, text: rule.text },
    strategy: view.strategy,
    picked: picked === undefined ? undefined : ofNode(picked.node, picked.why)[0],
    considered,
    leftOut: left,
    more,
    failure: picked === undefined ? failureOf(candidates, view, request, held, routes) : undefined
  }
}

/** Picks as the next call would, and puts back everything that picking changes. */
const rehearse = (
  view: View,
  request: RouteRequest,
  services: ReadonlyArray<string>,
  { admission, balancer, health }: Routes
): Pick | undefined => {
  const { due, dueNext, next } = view
  const restores = [balancer.save(), ...view.groups.map(({ picker }) => picker.save())]
  const advisers = { balancer, health: { admit: health.admits, circuit: health.circuit, status: health.status } }
  const picked = pick(view, request, advisers, atLimit(view, services, admission), balancer.now())
  for (const restore of restores) restore()
  Object.assign(view, { due, dueNext, next })
  return picked
}

/** Whether the call would wait without a look at its candidates, as others do that are as welcome. */
const isHeld = ({ services }: Candidates, view: View, { affinity }: RouteRequest, { admission }: Routes): boolean =>
  admission.mustWait(services) && admission.holds(affinity === undefined ? view : undefined, services)

const failureOf = (
  candidates: Candidates,
  view: View,
  request: RouteRequest,
  held: boolean,
  routes: Routes
): NonNullable<Explanation["failure"]> => {
  const failure = held ? heldBy(candidates, routes) : refusedBy(candidates, view, request, routes)
  if (failure.kind !== "overloaded" || failure.retryAfter !== undefined) return failure
  const { principal, tenant } = request.caller ?? {}
  const refusal = routes.admission.refusal(candidates.services, principal ?? tenant ?? "")
  return refusal === undefined ? { ...failure, waits: true } : { ...failure, ...refusal }
}

const heldBy = ({ services }: Candidates, { admission }: Routes): NonNullable<Explanation["failure"]> => {
  const waiting = services.reduce((sum, service) => sum + admission.waiting(service), 0)
  const reason = waiting === 0
    ? "as many calls as may are under way"
    : waiting === 1
    ? "a call waits already"
    : `${waiting} calls wait already`
  return { kind: "overloaded", reason, waits: false, retryAfter: undefined }
}

const refusedBy = (
  candidates: Candidates,
  view: View,
  request: RouteRequest,
  routes: Routes
): NonNullable<Explanation["failure"]> => {
  const error = noInstance(candidates, view, request, routes)
  return error._tag === "SessionLost"
    ? { kind: "lost", reason: error.reason, waits: false, retryAfter: undefined }
    : { kind: error.kind, reason: error.reason, waits: false, retryAfter: error.retryAfter }
}

/** The nodes of instances that have one: asking for one would make it. */
const nodesOf = (keys: ReadonlyArray<InstanceKey>, { balancer }: Routes): ReadonlyMap<InstanceKey, Node> => {
  const found = new Map<InstanceKey, Node>()
  if (keys.length === 0) return found
  const wanted = new Set(keys)
  for (const node of balancer.nodes()) if (wanted.has(node.key)) found.set(node.key, node)
  return found
}

/** The instances that somebody who reads of the target may expect to find: those of its services, else all. */
function* concerned({ target }: RouteRequest, { discovery }: Routes): Iterable<CatalogEntry> {
  const { entries, services } = discovery.catalog()
  const names = target.service === undefined ? target.services ?? [] : [target.service]
  if (names.length === 0) return yield* HashMap.values(entries)
  for (const name of names) {
    const found = HashMap.get(services, name)
    if (Option.isSome(found)) yield* HashMap.values(found.value.entries)
  }
}

/** Why an instance doesn't match; nothing of those that nobody expects to. */
const unfitnessOf = (
  candidates: Candidates,
  { caller, target }: RouteRequest,
  { discovery, health }: Routes
): (entry: CatalogEntry) => string | undefined => {
  const patterns = (target.capabilities ?? []).map((text) => [text, pattern(text)] as const)
  const compiled = target.query === undefined ? undefined : Query.compile(target.query)
  const query = compiled !== undefined && Result.isSuccess(compiled) ? compiled.success : undefined
  const rule = candidates.rule()
  const named = target.service !== undefined || (target.services ?? []).length > 0
  return (entry) => {
    const { capabilities, tenants } = entry.instance
    const lacking = patterns.find(([, matches]) => !capabilities.some(matches))
    if (lacking !== undefined) return named ? `lacks the capability ${lacking[0]}` : undefined
    const { reason, score, status } = health.get(entry.key)
    if (target.accepts?.(entry) === false) {
      if (!named) return undefined
      // What one offers that can't be reached is mostly not known.
      return status === "unhealthy" || status === "down"
        ? `does not offer it (${withReason(status, reason)})`
        : "does not offer it"
    }
    const subject = { entry, health: status, score, stale: Option.isSome(staleSince(discovery.catalog(), entry)) }
    if (query !== undefined && !query(subject)) return "does not meet the query"
    if (rule?.required !== undefined && !rule.required(subject)) return "does not meet what the rule requires"
    if (!tenants.includes("*") && (caller?.tenant === undefined || !tenants.includes(caller.tenant))) {
      return caller?.tenant === undefined ? "for some tenants alone" : `not for the tenant ${caller.tenant}`
    }
    return candidates.problem
  }
}
