/**
 * Figures of what is done for calls on their way: retries, hedges, queues, circuits.
 */
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import { Router } from "@portolan/core/Router"
import type { Efforts, RoutingReport } from "@portolan/core/RoutingReport"
import * as Instruments from "@portolan/mcp/telemetry/Instruments"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import type { Reading } from "../telemetry/Metrics.ts"

/** Services, and instances, that get series of their own. */
const MaxNames = 500

const circuits = { closed: 0, "half-open": 1, open: 2 } as const

/** The figures of the router. */
export const readings = Effect.gen(function*() {
  const router = yield* Router
  const discovery = yield* Discovery
  const health = yield* Health

  // One report for all that read in one turn.
  let known: RoutingReport | undefined
  const report = (): RoutingReport => {
    if (known === undefined) {
      known = router.report({ top: MaxNames })
      queueMicrotask(() => {
        known = undefined
      })
    }
    return known
  }

  function* services(): Iterable<readonly [Instruments.Labels, Efforts]> {
    const { rest, top } = report().services
    for (const each of top) yield [{ "portolan.service": each.service }, each]
    if (rest !== undefined) yield [{ "portolan.service": Instruments.other }, rest]
  }

  function* byService(value: (efforts: Efforts) => number | undefined) {
    for (const [labels, efforts] of services()) {
      const found = value(efforts)
      if (found !== undefined) yield [labels, found] as const
    }
  }

  function* byOutcome(outcomes: Readonly<Record<string, (efforts: Efforts) => number>>) {
    for (const [labels, efforts] of services()) {
      for (const [outcome, value] of Object.entries(outcomes)) yield [{ ...labels, outcome }, value(efforts)] as const
    }
  }

  function* byInstance(value: (key: Parameters<Health["Service"]["circuit"]>[0]) => number) {
    let named = 0
    for (const { instance, key } of HashMap.values(discovery.catalog().entries)) {
      if (named++ >= MaxNames) return
      yield [{ "portolan.service": instance.service, "portolan.instance": instance.id }, value(key)] as const
    }
  }

  const all: ReadonlyArray<Reading> = [
    {
      name: "portolan_retries_total",
      type: "counter",
      help: "Retries of calls to the service, made or denied by its retry budget.",
      read: () => byOutcome({ made: ({ retries }) => retries.made, denied: ({ retries }) => retries.denied })
    },
    {
      name: "portolan_retry_budget_balance",
      type: "gauge",
      help: "Retries that the budget of the service has left.",
      read: () => byService(({ retries }) => retries.balance)
    },
    {
      name: "portolan_hedges_total",
      type: "counter",
      help: "Second attempts of calls that take long, sent or denied by their budget.",
      read: () => byOutcome({ sent: ({ hedges }) => hedges.sent, denied: ({ hedges }) => hedges.denied })
    },
    {
      name: "portolan_hedges_won_total",
      type: "counter",
      help: "Second attempts whose answer came first.",
      read: () => byService(({ hedges }) => hedges.won)
    },
    {
      name: "portolan_queue_length",
      type: "gauge",
      help: "Calls that wait for room at the service.",
      read: () => byService(({ queue }) => queue.waiting)
    },
    {
      name: "portolan_queued_calls_total",
      type: "counter",
      help: "Calls that had to wait for room at the service.",
      read: () => byService(({ queue }) => queue.queued)
    },
    {
      name: "portolan_shed_calls_total",
      type: "counter",
      help: "Calls that waited in vain, or found the queue of the service full.",
      read: () => byService(({ queue }) => queue.shed)
    },
    {
      name: "portolan_instance_circuit_state",
      type: "gauge",
      help: "Circuit breaker of the instance: 0 closed, 1 half-open, 2 open.",
      read: () => byInstance((key) => circuits[health.circuit(key)?.state ?? "closed"])
    },
    {
      name: "portolan_instance_ejections_total",
      type: "counter",
      help: "How often calls took the instance out of traffic.",
      read: () => byInstance(health.ejections)
    }
  ]
  return all
})
