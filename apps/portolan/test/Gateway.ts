/**
 * The command of this package, started for a test on a free port.
 */
import { spawn } from "node:child_process"

const binary = new URL("../bin/portolan.js", import.meta.url).pathname

export interface Running {
  /** Address of its MCP endpoint. */
  readonly mcp: string
  /** Address without a path. */
  readonly url: string
  readonly pid: number
  /** Asks it to end, waits, and answers its exit code. */
  readonly stop: () => Promise<number | null>
}

/** Starts `portolan up` with further arguments; waits until it says where it listens. */
export const start = async (args: ReadonlyArray<string>): Promise<Running> => {
  const child = spawn(process.execPath, [binary, "up", "--port", "0", "--json", ...args], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  const kill = () => child.kill("SIGKILL")
  process.once("exit", kill)
  let errors = ""
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors = (errors + chunk).slice(-4_000)
  })
  const ended = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => {
      process.off("exit", kill)
      resolve(code)
    })
  })
  const said = await new Promise<string>((resolve, reject) => {
    let text = ""
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      const end = text.indexOf("\n")
      if (end !== -1) resolve(text.slice(0, end))
    })
    void ended.then((code) => reject(new Error(`portolan up ended with ${code}: ${errors}`)))
  })
  const { mcp }: { readonly mcp: string } = JSON.parse(said)
  return {
    mcp,
    url: new URL(mcp).origin,
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill("SIGTERM")
      return await ended
    }
  }
}
