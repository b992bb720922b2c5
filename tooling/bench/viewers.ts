/**
 * What viewers of the dashboard cost the gateway: 2,000 instances in 60 services, 200 calls a second that change the figures
 * of as many instances, and nobody, one or twenty who watch. All take turns in one run.
 */
import { client, load, startGatewayOf, statelessCall } from "./Gateway.ts"
import { processorTime, residentMemory, show, start, summarize, type Summary, table } from "./Measure.ts"

const Instances = 2_000
const Services = 60
const Updates = 200
const Rounds = 5
const Viewers = [0, 1, 20] as const
/** Time of one measurement of the processor, ms; it is counted in hundredths of a second. */
const Time = 10_000
const Callers = 16
const Calls = 8_000

const here = import.meta.dirname
const server = await start([`${here}/servers/echo.ts`, "1", "3"])
const [port = 0] = JSON.parse(server.line)
const gateway = await startGatewayOf(
  Array.from({ length: Instances }, (_, index) => ({
    id: `service-${index % Services}-${index}`,
    service: `service-${index % Services}`,
    region: `region-${index % 4}`,
    tags: ["bench"],
    endpoint: { transport: "streamable-http", url: `http://127.0.0.1:${port}/mcp?instance=${index}` }
  })),
  // Checks are the same with and without viewers, and would only be noise.
  { configuration: { health: { interval: "10m" } } }
)

let id = 0
const tools = Array.from({ length: Services }, (_, index) => statelessCall(`service-${index}__echo`))
const connections = tools.map(({ headers }) => client(`${gateway.url}/mcp`, Callers, headers))

/** Calls one service after the other. */
const call = async () => {
  const at = id++ % Services
  const { body } = tools[at] ?? { body: {} }
  const answer = await connections[at]?.post({ ...body, id })
  if (answer?.status !== 200 || !answer.text.includes("xxxx")) throw new Error(`${answer?.status}: ${answer?.text}`)
}

/** So many calls a second for as long as it takes, evenly. */
const paced = async (time: number) => {
  const running = new Set<Promise<void>>()
  const since = performance.now()
  let sent = 0
  while (performance.now() - since < time) {
    for (; sent < (performance.now() - since) * Updates / 1_000; sent++) {
      const one = call().finally(() => running.delete(one))
      running.add(one)
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await Promise.all(running)
}

const untilConnected = async () => {
  for (let tries = 0; tries < 1_200; tries++) {
    const connected = new Set<string>()
    let cursor = ""
    do {
      const page = JSON.parse(await (await fetch(`${gateway.url}/api/v1/instances?limit=1000${cursor}`)).text())
      for (const { id, upstream } of page.items) if (upstream?.state === "connected") connected.add(id)
      cursor = page.nextCursor === undefined ? "" : `&cursor=${page.nextCursor}`
    } while (cursor !== "")
    if (connected.size === Instances) return
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  throw new Error("the instances are not connected within ten minutes")
}

interface Round {
  /** Share of a core while it is called 200 times a second, %. */
  readonly processor: number
  /** Calls a second of as many callers as it takes. */
  readonly rate: number
  readonly p99: number
}

const measured = new Map<number, Array<Round>>(Viewers.map((viewers) => [viewers, []]))
let snapshot = 0

const measure = async (viewers: number): Promise<Round> => {
  const watching = viewers === 0 ? undefined : await start([`${here}/watch.ts`, gateway.url, String(viewers)])
  if (watching !== undefined) snapshot = Number(watching.line)
  await paced(1_000)
  const before = processorTime(gateway.pid)
  const since = performance.now()
  await paced(Time)
  const processor = 100 * (processorTime(gateway.pid) - before) / (performance.now() - since)
  const { p99, rate } = await load(Callers, Calls, call)
  await watching?.stop()
  return { processor, rate, p99 }
}

await untilConnected()
await load(Callers, Calls, call)
for (let round = 0; round < Rounds; round++) {
  // In turns, each time from another one on.
  for (let turn = 0; turn < Viewers.length; turn++) {
    const viewers = Viewers[(turn + round) % Viewers.length] ?? 0
    measured.get(viewers)?.push(await measure(viewers))
  }
}

const rounds = (viewers: number): ReadonlyArray<Round> => measured.get(viewers) ?? []
/** Compared with nobody, round by round. */
const against = (viewers: number, compare: (round: Round, nobody: Round) => number): Summary =>
  summarize(
    rounds(viewers).flatMap((round, at) => {
      const nobody = rounds(0)[at]
      return nobody === undefined ? [] : [compare(round, nobody)]
    })
  )

table(`${Instances} instances, ${Updates} updates a second, ${Rounds} rounds: median (min … max)`, [
  ["viewers", "of a core", "more than without", `calls/s at ${Callers} callers`, "less than without", "p99 ms"],
  ...Viewers.map((viewers) => [
    String(viewers),
    show(summarize(rounds(viewers).map(({ processor }) => processor)), " %"),
    viewers === 0 ? "" : show(against(viewers, (round, nobody) => round.processor - nobody.processor), " %"),
    show(summarize(rounds(viewers).map(({ rate }) => rate))),
    viewers === 0 ? "" : show(against(viewers, (round, nobody) => 100 * (1 - round.rate / nobody.rate)), " %"),
    summarize(rounds(viewers).map(({ p99 }) => p99)).median.toFixed(1)
  ])
])
table("goals", [
  ["", "measured", "goal"],
  ["one viewer, of a core", `${against(1, (a, b) => a.processor - b.processor).median.toFixed(2)} %`, "1 % at most"],
  [
    "one viewer, of the calls",
    `${against(1, (a, b) => 100 * (1 - a.rate / b.rate)).median.toFixed(1)} %`,
    "1 % at most"
  ],
  ["20 viewers, of a core", `${against(20, (a, b) => a.processor - b.processor).median.toFixed(2)} %`, "5 % at most"],
  [
    "20 viewers, of the calls",
    `${against(20, (a, b) => 100 * (1 - a.rate / b.rate)).median.toFixed(1)} %`,
    "5 % at most"
  ],
  ["snapshot, compressed", `${Math.round(snapshot / 1_000)} kB`, "250 kB at most"],
  ["memory of the gateway", `${Math.round(residentMemory(gateway.pid))} MiB`, ""]
])

for (const connection of connections) await connection.close()
for (const child of [gateway, server]) await child.stop()
