/**
 * Plays scenarios with every strategy and prints tables: `npm run simulate -- [scenario …] [--seed text] [--write]`.
 * `--write` writes the page of the documentation and its charts.
 */
import { strategyNames } from "@portolan/core/Balancer"
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { parseArgs } from "node:util"
import * as Report from "./Report.ts"
import { scenarios } from "./Scenarios.ts"
import { play } from "./Simulation.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: "string", default: "portolan" }, write: { type: "boolean", default: false } }
})
const names = scenarios.map(({ name }) => name)
const unknown = positionals.filter((name) => !names.includes(name))
if (unknown.length > 0) {
  console.error(`unknown scenario ${unknown.join(", ")}: expected ${names.join(", ")}`)
  process.exit(2)
}
if (values.write && positionals.length > 0) {
  console.error("--write plays all scenarios: name none")
  process.exit(2)
}

const played = scenarios.filter(({ name }) => positionals.length === 0 || positionals.includes(name)).map(
  (scenario) => {
    const result = { scenario, outcomes: strategyNames.map((strategy) => play(scenario, strategy, values.seed)) }
    console.log(`${Report.table(result)}\n`)
    return result
  }
)

if (values.write) {
  const root = join(import.meta.dirname, "../..")
  for (const [path, text] of Report.files(played, values.seed)) {
    const file = join(root, "docs", path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  execFileSync("dprint", ["fmt", "docs/simulation.md"], { cwd: root, stdio: "inherit" })
}
