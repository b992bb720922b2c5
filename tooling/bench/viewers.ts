/**
 * What viewers of the dashboard cost the gateway: 2,000 instances in 60 services, 200 calls a second that change the figures
 * of as many instances, and nobody, one or twenty who watch. All take turns in one run.
 */
import { client, startGatewayOf, statelessCall } from "./Gateway.ts"
import { processorTime, residentMemory, show, start, summarize, type Summary, table } from "./Measure.ts"

const Instances = 2_000
const Services = 60
const Updates = 200
const Rounds = 12
/** In which rounds as many calls are made as there can be; in each of them another number of viewers comes first. */
const FullEvery = 4
const Viewers = [0, 1, 20] as const
/**
 * Times of one measurement, ms: called so often, and as often as it can be. Short ones that take turns often: a machine that
 * others use too is now faster and now slower, for seconds at a time. All of it takes five minutes.
 */
const Time = { paced: 4_000, full: 3_000 }
const Callers = 16

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
// Callers take one service after the other: hardly ever are two at the same one.
const connections = tools.map(({ headers }) => client(`${gateway.url}/mcp`, 2, headers))

/** Calls one service after the other. */
const call = async () => {
  const at = id++ % Services
  const { body } = tools[at] ?? { body: {} }
  const answer = await connections[at]?.post({ ...body, id })
  if (answer?.status !== 200 || !answer.text.includes("xxxx")) throw new Error(`${answer?.status}: ${answer?.text}`)
}

/** As many calls a second as there can be; answers how many, how long they took, and the processor time of each, ms. */
const full = async () => {
  const latencies: Array<number> = []
  const since = performance.now()
  const before = processorTime(gateway.pid)
  const caller = async () => {
    while (performance.now() - since < Time.full) {
      const begun = performance.now()
      await call()
      latencies.push(performance.now() - begun)
    }
  }
  await Promise.all(Array.from({ length: Callers }, caller))
  const cost = (processorTime(gateway.pid) - before) / latencies.length
  const rate = latencies.length / (performance.now() - since) * 1_000
  return { cost, rate, p99: latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length * 0.99)] ?? Number.NaN }
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
  for (let tries = 0; tries < 240; tries++) {
    const connected = new Set<string>()
    let cursor = ""
    do {
      const page = JSON.parse(await (await fetch(`${gateway.url}/api/v1/instances?limit=1000${cursor}`)).text())
      for (const { id, upstream } of page.items) if (upstream?.state === "connected") connected.add(id)
      cursor = page.nextCursor === undefined ? "" : `&cursor=${page.nextCursor}`
    } while (cursor !== "")
    if (connected.size === Instances) return
    if (tries % 20 === 19) console.log(`  ${connected.size} of ${Instances} instances are connected`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  throw new Error("the instances are not connected within two minutes")
}

interface Round {
  /** Share of a core while it is called 200 times a second, %. */
  readonly processor: number
  /** Processor time of one call where there are as many as there can be, ms; and how many that are a second. */
  readonly full: { readonly cost: number; readonly rate: number; readonly p99: number } | undefined
}

const measured = new Map<number, Array<Round>>(Viewers.map((viewers) => [viewers, []]))
let snapshot = 0

const measure = async (viewers: number, round: number): Promise<Round> => {
  const watching = viewers === 0 ? undefined : await start([`${here}/watch.ts`, gateway.url, String(viewers)])
  if (watching !== undefined) snapshot = Number(watching.line)
  await paced(1_000)
  const before = processorTime(gateway.pid)
  const since = performance.now()
  await paced(Time.paced)
  const processor = 100 * (processorTime(gateway.pid) - before) / (performance.now() - since)
  const most = round % FullEvery === 0 ? await full() : undefined
  await watching?.stop()
  const called = most === undefined ? "" : `, ${Math.round(most.rate)} calls/s of ${most.cost.toFixed(3)} ms each`
  console.log(`  ${viewers} viewers: ${processor.toFixed(1)} % of a core${called}`)
  return { processor, full: most }
}

console.log(`  the gateway was ready after ${Math.round(gateway.readyAfter)} ms`)
await untilConnected()
await full()
for (let round = 0; round < Rounds; round++) {
  // In turns, each time from another one on.
  for (let turn = 0; turn < Viewers.length; turn++) {
    const viewers = Viewers[(turn + round) % Viewers.length] ?? 0
    measured.get(viewers)?.push(await measure(viewers, round))
  }
}

const rounds = (viewers: number): ReadonlyArray<Round> => measured.get(viewers) ?? []
const fullOf = (viewers: number) => rounds(viewers).flatMap(({ full }) => full ?? [])
/** Compared with nobody, round by round. */
const against = <A>(
  of: (viewers: number) => ReadonlyArray<A>,
  viewers: number,
  compare: (one: A, nobody: A) => number
) =>
  summarize(
    of(viewers).flatMap((one, at) => {
      const nobody = of(0)[at]
      return nobody === undefined ? [] : [compare(one, nobody)]
    })
  )

/**
 * By the quiet quarter of the rounds: what others on the machine do makes the same work take up to twice the time, and never
 * less. Beside it the median of the rounds compared one by one, with its spread.
 */
const quietly = (viewers: number): string => {
  const of = (viewers: number) => summarize(rounds(viewers).map(({ processor }) => processor)).quarter
  return `${(of(viewers) - of(0)).toFixed(2)} %, median ${show(more(viewers), " %")}`
}
const more = (viewers: number): Summary => against(rounds, viewers, (one, nobody) => one.processor - nobody.processor)
/** By processor time, which others on the machine change least: the gateway is one thread, and what it has is what it gives. */
const dearer = (viewers: number): Summary =>
  against(fullOf, viewers, (one, nobody) => 100 * (1 - nobody.cost / one.cost))

table(`${Instances} instances, ${Updates} updates a second, ${Rounds} rounds: median (min … max)`, [
  ["viewers", "of a core", "more than without", `calls/s at ${Callers} callers`, "more for each call", "p99 ms"],
  ...Viewers.map((viewers) => [
    String(viewers),
    show(summarize(rounds(viewers).map(({ processor }) => processor)), " %"),
    viewers === 0 ? "" : show(more(viewers), " %"),
    show(summarize(fullOf(viewers).map(({ rate }) => rate))),
    viewers === 0 ? "" : show(dearer(viewers), " %"),
    summarize(fullOf(viewers).map(({ p99 }) => p99)).median.toFixed(1)
  ])
])
table("goals", [
  ["", "measured", "goal"],
  ["one viewer, of a core", quietly(1), "1 % at most"],
  ["one viewer, of the calls", show(dearer(1), " %"), "1 % at most"],
  ["20 viewers, of a core", quietly(20), "5 % at most"],
  ["20 viewers, of the calls", show(dearer(20), " %"), "5 % at most"],
  ["snapshot, compressed", `${Math.round(snapshot / 1_000)} kB`, "250 kB at most"],
  ["memory of the gateway", `${Math.round(residentMemory(gateway.pid))} MiB`, ""]
])

for (const connection of connections) await connection.close()
for (const child of [gateway, server]) await child.stop()
