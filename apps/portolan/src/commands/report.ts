import type {
  CallerCounts,
  InstanceCounts,
  ReportView,
  ServiceCounts,
  ToolCounts
} from "@portolan/gateway/rest/ReportView"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { age, type Column, latency, stateStyle, table } from "../table.ts"
import { paint, plain } from "../terminal.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

type Counts = Pick<ServiceCounts, "calls" | "successes" | "failures" | "interrupted" | "latency">

const others = "(others)"

const number = (value: number): string => value.toLocaleString("en")

const share = (part: number, of: number): string =>
  of === 0 ? "" : `${(100 * part / of).toFixed(part === of ? 0 : 1)} %`

const failed = ({ failures }: Counts): number =>
  failures.failed + failures.refused + failures.unavailable + failures.shed

const right = <A>(title: string, text: (row: A) => string): Column<A> => ({ title, text, align: "right" })

/** What a narrow terminal can do without. */
const spare = <A>(title: string, text: (row: A) => string): Column<A> => ({ ...right(title, text), spare: true })

const latencies = <A extends { readonly latency?: Counts["latency"] }>(): ReadonlyArray<Column<A>> =>
  (["p50", "p95", "p99"] as const).map((name) => ({
    ...right<A>(name.toUpperCase(), (row) => row.latency === undefined ? "" : latency(row.latency[name])),
    spare: name !== "p95"
  }))

const counts = <A extends Counts>(): ReadonlyArray<Column<A>> => [
  right<A>("CALLS", (row) => number(row.calls)),
  right<A>("OK", (row) => share(row.successes, row.calls)),
  {
    ...right<A>("FAILED", (row) => number(failed(row))),
    style: (row) => failed(row) > 0 ? "yellow" : undefined
  },
  ...latencies<A>()
]

const serviceTable = (services: ReadonlyArray<Counts & Partial<ServiceCounts>>): string =>
  table<Counts & Partial<ServiceCounts>>([
    { title: "SERVICE", text: ({ service }) => service ?? others },
    ...counts(),
    spare("RETRIES", ({ retries }) => retries === undefined ? "" : number(retries.made)),
    right("SHED", ({ failures }) => number(failures.shed)),
    {
      ...right("EJECTED", ({ ejected }) => ejected === undefined ? "" : String(ejected)),
      style: ({ ejected = 0 }) => ejected > 0 ? "red" : undefined
    },
    spare("IN FLIGHT", ({ inFlight }) => inFlight === undefined ? "" : String(inFlight))
  ], services)

type InstanceRow = Partial<InstanceCounts> & Pick<InstanceCounts, "attempts" | "failures" | "inFlight" | "ejections">

const instanceTable = (instances: ReadonlyArray<InstanceRow>): string =>
  table<InstanceRow>([
    { title: "INSTANCE", text: ({ instance }) => instance ?? others },
    { title: "SERVICE", text: ({ service }) => service ?? "", spare: true },
    { title: "HEALTH", text: ({ status }) => status ?? "", style: ({ status }) => stateStyle[status ?? ""] },
    right("ATTEMPTS", ({ attempts }) => number(attempts)),
    {
      ...right("FAILED", ({ failures }) => number(failures)),
      style: ({ failures }) => failures > 0 ? "yellow" : undefined
    },
    ...latencies<InstanceRow>(),
    spare("EJECTIONS", ({ ejections }) => number(ejections)),
    spare("IN FLIGHT", ({ inFlight }) => number(inFlight))
  ], instances)

const named = <A extends Counts>(title: string, name: (row: A) => string | undefined, rows: ReadonlyArray<A>): string =>
  table<A>([{ title, text: (row) => name(row) ?? others }, ...counts<A>()], rows)

const withRest = <A, R>({ rest, top }: { readonly top: ReadonlyArray<A>; readonly rest?: R }): ReadonlyArray<A | R> =>
  rest === undefined ? top : [...top, rest]

const summary = ({ at, decisions, since, total }: ReportView): ReadonlyArray<readonly [string, string]> => {
  const { failures, hedges, interrupted, latency: times, queue, retries, successes } = total
  const failed = (["failed", "refused", "unavailable", "shed"] as const)
    .filter((kind) => failures[kind] > 0).map((kind) => `${number(failures[kind])} ${kind}`)
  const some = (...parts: ReadonlyArray<readonly [number, string]>): string =>
    parts.flatMap(([value, what], index) => value > 0 || index === 0 ? [`${number(value)} ${what}`] : []).join(", ")
  return [
    [
      "calls",
      [
        `${number(total.calls)} ${total.calls === 1 ? "call" : "calls"} in ${age(Date.parse(at) - Date.parse(since))}`,
        ...total.calls === 0 ? [] : [`${share(successes, total.calls)} answered`],
        ...failed,
        ...interrupted > 0 ? [`${number(interrupted)} given up`] : [],
        `${number(total.inFlight)} in flight`
      ].join(", ")
    ],
    ...times === undefined ? [] : [
      [
        "latency",
        `average ${latency(times.average)}, p50 ${latency(times.p50)}, p95 ${latency(times.p95)}, p99 ${
          latency(times.p99)
        }`
      ] as const
    ],
    ["picks", decisions.strategies.map(({ picks, strategy }) => `${number(picks)} ${strategy}`).join(", ")],
    ["rules", decisions.rules.map(({ picks, rule }) => `${number(picks)} ${JSON.stringify(rule)}`).join(", ")],
    [
      "retries",
      retries.made + retries.denied === 0
        ? ""
        : some([retries.made, "made"], [retries.denied, "denied by the budget"])
    ],
    [
      "hedges",
      hedges.sent + hedges.denied === 0
        ? ""
        : some([hedges.sent, "sent"], [hedges.won, "won"], [hedges.denied, "denied by the budget"])
    ],
    [
      "queue",
      queue.queued + queue.waiting === 0 ? "" : [
        some([queue.queued, "queued"], [queue.shed, "shed"], [queue.waiting, "waiting"]),
        ...queue.wait === undefined ? [] : [`p95 ${latency(queue.wait.p95)}`]
      ].join(", ")
    ],
    ["ejections", total.ejections === 0 ? "" : some([total.ejections, "so far"], [total.ejected, "out now"])]
  ]
}

/** The report for a terminal. */
export const reportText = (report: ReportView): string => {
  const lines = summary(report).filter(([, text]) => text !== "")
  const width = Math.max(...lines.map(([label]) => label.length))
  return [
    lines.map(([label, text]) => `${paint("dim", label.padEnd(width))}  ${plain(text)}`).join("\n"),
    ...report.services.top.length === 0 ? [] : [serviceTable(withRest(report.services))],
    ...report.instances.top.length === 0 ? [] : [instanceTable(withRest(report.instances))],
    ...report.tools.top.length === 0
      ? []
      : [named<Counts & Partial<ToolCounts>>("TOOL", ({ tool }) => tool, withRest(report.tools))],
    ...report.callers.top.length === 0
      ? []
      : [named<Counts & Partial<CallerCounts>>("CALLER", ({ caller }) => caller, withRest(report.callers))]
  ].join("\n\n")
}

export const report = Command.make(
  "report",
  {
    target: gatewayFlags,
    service: Flag.String("service").pipe(Flag.withDescription("Only the calls of this service"), Flag.optional),
    top: Flag.Int("top").pipe(
      Flag.withDescription("Most rows of each table; the rest is added up"),
      Flag.withDefault(10)
    )
  },
  Effect.fnUntraced(function*({ service, target, top }) {
    const { client, gateway, json } = yield* asking(target)
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/ReportView"))
    const parameters = new URLSearchParams({
      top: String(top),
      ...Option.isSome(service) ? { service: service.value } : {}
    })
    const found = yield* client.get(gateway, `/api/v1/report?${parameters}`, views.ReportView)
    if (json) return yield* printJson(found)
    yield* print(reportText(found))
  })
).pipe(
  Command.withDescription("Show what became of the calls: by service, instance, tool and caller"),
  Command.withExamples([{ command: "portolan report --service weather" }])
)
