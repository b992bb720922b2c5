import { capacity, idOf, type Scenario, usual, type World } from "./Simulation.ts"
import { uniform } from "./VirtualTime.ts"

/** The server to which it happens. */
const one = idOf(0)
/** The same with three servers, which share as many calls each. */
export const withThree = (scenario: Scenario): Scenario => ({
  ...scenario,
  name: `${scenario.name}-of-three`,
  servers: 3,
  load: { rate: usual.rate * 3 / usual.servers }
})

const seconds = (count: number): number => count * 1_000

/** Ten servers that are as fast as each other, but for one thing that happens. */
const scenario = (fields: Scenario): Scenario => fields

/** Does something every so often, with 0, 1, 2, … */
const every = ({ time }: World, millis: number, times: number, run: (round: number) => void): void => {
  for (let round = 0; round < times; round++) time.after((round + 1) * millis, () => run(round))
}

/** SIGTERM of a server that registers itself: announced as draining, gone once what is under way has ended. */
const leave = ({ announce, servers, time, withdraw }: World, id: string, then: () => void = () => {}): void => {
  announce(id, "draining")
  // It goes on taking calls until its callers have heard of it.
  time.after(seconds(1), () =>
    servers.get(id)?.stop(() => {
      withdraw(id)
      then()
    }))
}

/** Nine good servers: what `slow` is compared with. */
export const control = scenario({
  name: "control",
  title: "Nine good ones",
  about: "Nine servers, and nothing happens.",
  duration: seconds(60),
  series: "failed",
  servers: usual.servers - 1
})

const heterogeneous = scenario({
  name: "heterogeneous",
  title: "Servers of different speed",
  about: "Five servers of the usual speed, three that take twice as long, two that take four times as long. " +
    "Nobody told the router: all have the same weight.",
  duration: seconds(30),
  series: "share",
  special: { ids: [idOf(8), idOf(9)], called: "the two slowest" },
  play: ({ servers }) => {
    for (const index of [5, 6, 7]) servers.get(idOf(index))!.factor = () => 2
    for (const index of [8, 9]) servers.get(idOf(index))!.factor = () => 4
  }
})

export const slow = scenario({
  name: "slow",
  title: "One slow server of ten",
  about:
    "One server takes ten times as long for each call. It fails none, so that no check and no circuit tells of it.",
  duration: seconds(60),
  series: "share",
  special: { ids: [one], called: "the slow one" },
  play: ({ servers }) => {
    servers.get(one)!.factor = () => 10
  }
})

/** The same where every thousandth call of every server fails, as calls do. */
export const slowWithFailures = scenario({
  ...slow,
  name: "slow-with-failures",
  repeatable: 1,
  play: (world) => {
    slow.play?.(world)
    for (const [id, server] of world.servers) {
      const next = uniform(`${id} fails`)
      server.fails = () => next() < 0.001
    }
  }
})

export const failing = scenario({
  name: "failing",
  title: "A server that is gone",
  about:
    "After 10 s one process is killed, and its registry doesn't notice: every connection to it is refused. The share is " +
    "told from 5 s after that.",
  duration: seconds(60),
  series: "share",
  marks: [10],
  special: { ids: [one], called: "the dead one" },
  shareFrom: seconds(15),
  play: ({ servers, time }) => void time.after(seconds(10), () => servers.get(one)!.kill())
})

export const flapping = scenario({
  name: "flapping",
  title: "A server that comes and goes",
  about: "One process is killed every 10 s and is back 5 s later. Its registry doesn't notice.",
  duration: seconds(60),
  series: "share",
  marks: [10, 20, 30, 40, 50],
  special: { ids: [one], called: "the flapping one" },
  play: (world) =>
    every(world, seconds(10), 5, () => {
      const server = world.servers.get(one)!
      server.kill()
      world.time.after(seconds(5), () => server.start())
    })
})

export const blackHole = scenario({
  name: "black-hole",
  title: "A black hole",
  about:
    "After 10 s one server answers every call with an error, within a millisecond, and every ping as if all were well: " +
    "the fastest of all, with nothing in flight. What may not be repeated and got there has failed. The share is told from " +
    "5 s after that.",
  duration: seconds(60),
  series: "share",
  marks: [10],
  special: { ids: [one], called: "the black hole" },
  shareFrom: seconds(15),
  play: ({ servers, time }) =>
    void time.after(seconds(10), () => {
      servers.get(one)!.fails = () => true
    })
})

const pause = scenario({
  name: "pause",
  title: "A server that stands still",
  about:
    "After 10 s one process is stopped (SIGSTOP) for 5 s: it takes connections and answers nothing. Then it goes on and " +
    "answers all it was sent.",
  duration: seconds(60),
  series: "share",
  marks: [10, 15],
  special: { ids: [one], called: "the paused one" },
  play: ({ servers, time }) => {
    time.after(seconds(10), () => servers.get(one)!.pause())
    time.after(seconds(15), () => servers.get(one)!.resume())
  }
})

export const outage = scenario({
  name: "outage",
  title: "Everything fails",
  about:
    "After 10 s all ten servers answer every call with an error, for 20 s. Retries don't help anybody then; the budget " +
    "(a fifth of the calls, and 10 a second) keeps them from making it worse.",
  duration: seconds(60),
  series: "retries",
  marks: [10, 30],
  repeatable: 1,
  play: ({ servers, time }) => {
    const fail = (failing: boolean) => () => {
      for (const server of servers.values()) server.fails = () => failing
    }
    time.after(seconds(10), fail(true))
    time.after(seconds(30), fail(false))
  }
})

/** The longest that a call waits in the scenario `overload`. */
export const longestWait = 250

export const overload = scenario({
  name: "overload",
  title: "Half as many calls again as the servers can do",
  about: "Calls come at 1.5 times what ten servers can do together. Limits: " +
    `${usual.slots} calls at a time to an instance, a queue of 500, a wait of ${longestWait / 1_000} s at most. ` +
    "A third of the calls has to be turned away; the rest should fill the servers.",
  duration: seconds(15),
  series: "succeeded",
  load: { rate: 1.5 * capacity * usual.servers },
  queues: true,
  routing: { limits: { perInstance: usual.slots, wait: longestWait } }
})

export const rollingRestart = scenario({
  name: "rolling-restart",
  title: "A rolling restart",
  about:
    "Every 5 s the next server is told to end (SIGTERM): it announces that it drains, takes calls for another second, " +
    "ends what is under way, and is gone; a second later its successor announces itself. Half of the calls may not be " +
    "repeated.",
  duration: seconds(60),
  series: "failed",
  marks: [5, 10, 15, 20, 25, 30, 35, 40, 45, 50],
  play: (world) =>
    every(world, seconds(5), usual.servers, (round) => {
      const id = idOf(round)
      leave(world, id, () => void world.time.after(seconds(1), () => world.join(`${id}-next`)))
    })
})

export const drain = scenario({
  name: "drain",
  title: "Drain, in three ways",
  about:
    "After 10 s an operator marks one instance as draining, after 20 s another one announces it itself, after 30 s a " +
    "third is taken out of its registry. Each process ends a second later, when what is under way has ended. " +
    "The share is told from 2 s after the last.",
  duration: seconds(60),
  series: "share",
  marks: [10, 20, 30],
  special: { ids: [idOf(7), idOf(8), idOf(9)], called: "the drained ones" },
  shareFrom: seconds(32),
  play: (world) => {
    const { mark, servers, time, withdraw } = world
    const end = (id: string) => void time.after(seconds(1), () => servers.get(id)!.stop())
    time.after(seconds(10), () => {
      mark(idOf(9), "draining")
      end(idOf(9))
    })
    time.after(seconds(20), () => leave(world, idOf(8)))
    time.after(seconds(30), () => {
      withdraw(idOf(7))
      end(idOf(7))
    })
  }
})

export const crashes = scenario({
  name: "crashes",
  title: "A kill every second",
  about:
    "Three servers, and sixteen callers, each of which makes its next call when the last has ended; all may be repeated. " +
    "Every second one of the servers is killed, with all it has under way, and is back 500 ms later.",
  duration: seconds(60),
  series: "retries",
  servers: 3,
  load: { closed: 16 },
  repeatable: 1,
  play: (world) => {
    const next = uniform("kills")
    every(world, seconds(1), 58, () => {
      const server = world.servers.get(idOf(Math.floor(next() * 3)))!
      server.kill()
      world.time.after(500, () => server.start())
    })
  }
})

const coldStart = scenario({
  name: "cold-start",
  title: "A replica that starts cold",
  about:
    "Nine servers; after 10 s a tenth joins, whose calls take ten times as long at first and as long as the others' " +
    "after 20 s (caches, connections, a compiler that warms up).",
  duration: seconds(60),
  series: "share",
  marks: [10],
  servers: usual.servers - 1,
  special: { ids: [idOf(9)], called: "the new one" },
  play: ({ join, time }) =>
    void time.after(seconds(10), () => {
      const joined = time.now()
      join(idOf(9)).factor = (at) => Math.max(10 - 9 * (at - joined) / seconds(20), 1)
    })
})

const straggle = ({ servers }: World): void => {
  for (const [id, server] of servers) {
    const next = uniform(`${id} straggles`)
    server.factor = () => next() < 0.02 ? 25 : 1
  }
}

export const stragglers = scenario({
  name: "stragglers",
  title: "Calls that straggle",
  about:
    "On every server two calls in a hundred take 25 times as long as they would (a garbage collection, a cold cache, a " +
    "lock). No server is worse than another, so that no choice among them helps. All calls are read-only.",
  duration: seconds(30),
  repeatable: 1,
  series: "retries",
  play: straggle
})

export const hedging = scenario({
  ...stragglers,
  name: "hedging",
  title: "Calls that straggle, hedged",
  about:
    "The same, with hedging (`calls.hedging`): a read-only call that takes longer than 95 % of its kind is sent to a " +
    "second server, and the first good answer counts. Hedges are counted as retries here; at most 5 % of the calls get one.",
  routing: { hedging: { percentile: 0.95, share: 0.05 } }
})

export const scenarios: ReadonlyArray<Scenario> = [
  heterogeneous,
  slow,
  failing,
  flapping,
  blackHole,
  pause,
  outage,
  overload,
  rollingRestart,
  drain,
  crashes,
  coldStart,
  stragglers,
  hedging
]
