/**
 * Runs every benchmark, each in a process of its own, or those that are named: `npm run bench -- route call`.
 */
import { spawnSync } from "node:child_process"
import { availableParallelism, cpus } from "node:os"
import { join } from "node:path"

const all = [
  "pick",
  "peers",
  "route",
  "change",
  "memory",
  "call",
  "footprint",
  "lifetime",
  "registries",
  "kubernetes",
  "scan",
  "documents",
  "viewers"
]
const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !all.includes(name))
if (unknown.length > 0) {
  console.error(`unknown benchmark ${unknown.join(", ")}: expected ${all.join(", ")}`)
  process.exit(2)
}

console.log(`Node ${process.version}, ${availableParallelism()} × ${cpus()[0]?.model ?? "unknown processor"}`)
for (const name of wanted.length === 0 ? all : wanted) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, `${name}.ts`)], { stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}
