/**
 * Figures of this process, under the names that other exporters use for them.
 */
import type * as Instruments from "@portolan/mcp/telemetry/Instruments"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import type { Reading } from "../telemetry/Metrics.ts"

const one = (value: number) => [[{}, value] as const]

/** Open files; Linux alone tells. */
const openFiles = (): number | undefined => {
  try {
    return Fs.readdirSync("/proc/self/fd").length
  } catch {
    return undefined
  }
}

export const readings: ReadonlyArray<Reading> = [
  {
    name: "process_cpu_seconds_total",
    type: "counter",
    unit: "s",
    help: "Time on processors, user and system.",
    read: () => {
      const { system, user } = process.cpuUsage()
      return one((system + user) / 1e6)
    }
  },
  {
    name: "process_start_time_seconds",
    type: "gauge",
    unit: "s",
    help: "When the process started, in seconds since 1970.",
    read: () => one(performance.timeOrigin / 1_000)
  },
  {
    name: "process_resident_memory_bytes",
    type: "gauge",
    unit: "By",
    help: "Resident memory.",
    read: () => one(process.memoryUsage.rss())
  },
  {
    name: "process_open_fds",
    type: "gauge",
    help: "Open file descriptors.",
    read: () => {
      const open = openFiles()
      return open === undefined ? [] : one(open)
    }
  },
  {
    name: "nodejs_heap_size_used_bytes",
    type: "gauge",
    unit: "By",
    help: "Heap in use.",
    read: () => one(process.memoryUsage().heapUsed)
  },
  {
    name: "nodejs_heap_size_total_bytes",
    type: "gauge",
    unit: "By",
    help: "Heap, used and free.",
    read: () => one(process.memoryUsage().heapTotal)
  },
  {
    name: "nodejs_external_memory_bytes",
    type: "gauge",
    unit: "By",
    help: "Memory of buffers and of native code, outside the heap.",
    read: () => one(process.memoryUsage().external)
  },
  {
    name: "nodejs_active_resources",
    type: "gauge",
    help: "Handles and requests that keep the process alive.",
    read: () => one(process.getActiveResourcesInfo().length)
  }
]

const eventLoopLag: Instruments.Family = {
  name: "portolan_event_loop_lag_seconds",
  help: "How much later than wanted the event loop runs what is due, twice a second.",
  unit: "s"
}

/** ms */
const Interval = 500

/** Measures the event loop for the life of the scope. */
export const eventLoop = (instruments: Instruments.Instruments) =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const { record } = instruments.histogram(eventLoopLag, {}, [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5])
    const measure = Effect.suspend(() => {
      const due = clock.monotonicTimeNanosUnsafe() + BigInt(Interval * 1e6)
      return Effect.map(
        Effect.sleep(Interval),
        () => record(Math.max(Number(clock.monotonicTimeNanosUnsafe() - due) / 1e9, 0))
      )
    })
    yield* Effect.forkScoped(Effect.forever(measure))
  })
