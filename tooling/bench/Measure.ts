/**
 * What benchmarks share: statistics that show the noise, tables, and child processes that end with the benchmark.
 */
import { spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { createServer } from "node:net"

/** Median and spread of several rounds. */
export interface Summary {
  readonly median: number
  /** A quarter is below. */
  readonly quarter: number
  readonly min: number
  readonly max: number
}

export const summarize = (rounds: ReadonlyArray<number>): Summary => {
  const sorted = rounds.toSorted((a, b) => a - b)
  return {
    median: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
    quarter: sorted[Math.floor(sorted.length / 4)] ?? Number.NaN,
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN
  }
}

/** `median (min … max)`, rounded to what three digits show. */
export const show = ({ max, median, min }: Summary, unit = ""): string => {
  const round = (value: number) => value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3)
  return `${round(median)}${unit} (${round(min)} … ${round(max)})`
}

export const table = (title: string, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  console.log(`\n${title}`)
  for (const row of rows) {
    console.log(
      `  ${
        row.map((cell, column) => column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)).join(
          "  "
        )
      }`
    )
  }
}

/** A Node process that ends when this one does or when it is stopped; `line` is the first line it printed. */
export const start = async (
  args: ReadonlyArray<string>,
  options: {
    readonly line: boolean
    readonly env?: Readonly<Record<string, string>>
    readonly quiet?: boolean
  } = { line: true }
) => {
  const child = spawn(process.execPath, args, {
    stdio: ["pipe", options.line ? "pipe" : "ignore", options.quiet === true ? "ignore" : "inherit"],
    env: { ...process.env, ...options.env }
  })
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  child.once("exit", () => process.off("exit", kill))
  const line = child.stdout === null ? "" : await new Promise<string>((resolve, reject) => {
    let text = ""
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      const end = text.indexOf("\n")
      if (end !== -1) resolve(text.slice(0, end))
    })
    child.once("exit", (code) => reject(new Error(`${args[0]} exited with ${code} before it printed a line`)))
  })
  const stop = () =>
    new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve()
      child.once("exit", () => resolve())
      child.kill("SIGTERM")
      child.stdin?.end()
    })
  return { line, stop, pid: child.pid ?? 0 }
}

/** A port that is free now. */
export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** Resident memory of a process in MiB (Linux). */
export const residentMemory = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN) / 1024

/** Processor time that the threads of a process have taken, ms (Linux, in ns). */
export const processorTime = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
    const [taken = "0"] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")
    return sum + Number(taken) / 1_000_000
  }, 0)
