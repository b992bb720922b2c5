/** What the simulator tells: tables for a terminal, and the page of the documentation with its charts. */
import type { StrategyName } from "@portolan/core/Balancer"
import * as Chart from "./Chart.ts"
import { capacity, type Outcome, percentile, type Scenario, type Series, usual } from "./Simulation.ts"

/** A scenario, and what became of it with each strategy. */
export interface Played {
  readonly scenario: Scenario
  readonly outcomes: ReadonlyArray<Outcome>
}

/** The strategy that is used where nobody names one. */
const byDefault: StrategyName = "peak-ewma"

const percent = (share: number): string =>
  share === 0 ? "0" : share < 0.0001 ? "< 0.01 %" : `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`

const ms = (value: number | undefined): string =>
  value === undefined ? "–" : value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en")

const failed = ({ calls, succeeded }: Outcome): number => calls === 0 ? 0 : (calls - succeeded) / calls

interface Column {
  readonly title: string
  readonly cell: (outcome: Outcome) => string
}

const columns = ({ queues, special }: Scenario): ReadonlyArray<Column> => [
  { title: "strategy", cell: ({ strategy }) => strategy },
  { title: "p50, ms", cell: ({ latencies }) => ms(percentile(latencies, 0.5)) },
  { title: "p95", cell: ({ latencies }) => ms(percentile(latencies, 0.95)) },
  { title: "p99", cell: ({ latencies }) => ms(percentile(latencies, 0.99)) },
  { title: queues === true ? "turned away" : "failed", cell: (outcome) => percent(failed(outcome)) },
  ...special === undefined ? [] : [{ title: special.called, cell: ({ share }: Outcome) => percent(share) }],
  ...queues !== true ? [] : [
    { title: "wait p99, ms", cell: ({ waits }: Outcome) => ms(percentile(waits, 0.99)) },
    { title: "longest", cell: ({ waits }: Outcome) => ms(percentile(waits, 1)) }
  ],
  { title: "retries", cell: ({ calls, retries }) => percent(calls === 0 ? 0 : retries / calls) },
  { title: "goodput, /s", cell: ({ goodput }) => Math.round(goodput).toLocaleString("en") }
]

/** Lines of cells, the titles first. */
const cells = ({ outcomes, scenario }: Played): ReadonlyArray<ReadonlyArray<string>> => {
  const all = columns(scenario)
  return [all.map(({ title }) => title), ...outcomes.map((outcome) => all.map(({ cell }) => cell(outcome)))]
}

/** A table for a terminal. */
export const table = (played: Played): string => {
  const lines = cells(played)
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const text = lines.map((line) =>
    `  ${line.map((cell, at) => at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)).join("  ")}`
  )
  return [`${played.scenario.title} (${played.scenario.name})`, ...text].join("\n")
}

const markdown = (played: Played): string => {
  const [titles, ...lines] = cells(played)
  const row = (line: ReadonlyArray<string>) => `| ${line.join(" | ")} |`
  const strong = (line: ReadonlyArray<string>) => line[0] === byDefault ? line.map((cell) => `**${cell}**`) : line
  return [
    row(titles!),
    row(titles!.map((_, at) => at === 0 ? "---" : "---:")),
    ...lines.map((line) => row(strong(line)))
  ]
    .join("\n")
}

const seriesTitles: Readonly<Record<Series, string>> = {
  share: "share of calls to",
  failed: "failed calls, each second",
  retries: "retries, each second",
  succeeded: "calls that succeeded, each second"
}

const chart = ({ outcomes, scenario }: Played): string => {
  const { series, special } = scenario
  const value = (second: Outcome["seconds"][number]) =>
    series === "share" ? second.special / Math.max(second.attempts, 1) : second[series]
  const most = Math.max(...outcomes.flatMap(({ seconds }) => seconds.map(value)))
  const top = series === "share" ? Math.max(Math.ceil(most * 20) / 20, 0.05) : Math.max(most, 10)
  return Chart.draw({
    title: scenario.title,
    lines: outcomes.map((outcome) => ({
      name: outcome.strategy,
      marked: outcome.strategy === byDefault,
      p50: percentile(outcome.latencies, 0.5),
      p95: percentile(outcome.latencies, 0.95),
      p99: percentile(outcome.latencies, 0.99),
      series: outcome.seconds.map(value),
      figure: series === "share"
        ? percent(outcome.share)
        : series === "succeeded"
        ? Math.round(outcome.goodput).toLocaleString("en")
        : percent(series === "retries" ? outcome.retries / Math.max(outcome.calls, 1) : failed(outcome))
    })),
    seriesTitle: series === "share" ? `${seriesTitles.share} ${special?.called}` : seriesTitles[series],
    figureTitle: series === "share" ? "share" : series === "succeeded" ? "a second" : "of all",
    top,
    topLabel: `height: ${series === "share" ? percent(top) : Math.round(top).toLocaleString("en")}`,
    marks: scenario.marks ?? []
  })
}

/** Files of the documentation, by their path in `docs/`. The page isn't formatted yet. */
export const files = (all: ReadonlyArray<Played>, seed: string): ReadonlyMap<string, string> => {
  const names = all.filter(({ scenario: { name } }) => name !== "control")
  const page = [
    beginning(seed),
    ...names.map((played) => {
      const { about, name, title } = played.scenario
      return `## ${title}\n\n${about}\n\n![${title}: latency and what happens over time, for each strategy](simulation/${name}.svg)\n\n${
        markdown(played)
      }\n`
    })
  ].join("\n")
  return new Map([
    ["simulation.md", page],
    ...names.map((played): [string, string] => [`simulation/${played.scenario.name}.svg`, chart(played)])
  ])
}

const beginning = (seed: string): string =>
  `# What the balancing does when something breaks

<!-- Written by \`npm run simulate -- --write\`: change tooling/simulator instead. -->

The real router, balancer and health, with simulated servers and simulated time: a minute of a fleet takes a second, and the
same seed gives the same numbers (here it is \`${seed}\`). Each scenario is played with every strategy.

\`npm run simulate\` prints these tables, \`npm run simulate -- slow overload --seed 7\` those of some scenarios from another
seed; \`npm run simulate -- --write\` writes this page anew, in half a minute.

Unless a scenario says otherwise:

- ${usual.servers} servers, each of which runs ${usual.slots} calls at a time and lets the others wait; a call takes ${usual.median} ms (median
  of a log-normal distribution with σ = ${usual.sigma}, so that one in a hundred takes three times as long), and 1 ms on the network.
  Together they can do ${Math.round(capacity * usual.servers).toLocaleString("en")} calls a second.
- ${usual.rate} calls a second come at random (Poisson), from ${usual.callers} callers, whether or not the calls before them have
  ended. Half of them may be repeated (\`readOnlyHint\`); the other half says nothing of itself, so a call that may have run isn't
  tried again. A call may take ${usual.timeout / 1_000} s.
- What a registry is told the router hears ${usual.discovery} ms later. Servers are pinged as the gateway does by default. Router,
  balancer and health have their default settings.
- Percentiles are those of the calls that succeeded. All instances have the same weight and cost and offer the same, so
  \`capability-match\` and \`lowest-cost\` come down to the fewest calls in flight, and the weighted strategies to their plain
  ones.

What is required of these numbers is checked by \`tooling/test/Simulation.test.ts\`.
`
