/**
 * Every check that isn't a test: types of the tests, lint, format, dead code, the import rules. Quiet when all is well; each
 * failing check prints its own output.
 */
import { spawnSync } from "node:child_process"
import { globSync } from "node:fs"

const checks = [
  ["types", "tsc", [
    "-b",
    ...globSync(["{packages,apps,apps/examples}/*/tsconfig.test.json", "docs/tsconfig.test.json"]),
    "tooling/tsconfig.json"
  ]],
  ["lint", "oxlint", ["--quiet"]],
  ["format", "dprint", ["check"]],
  ["dead code", "knip", ["--no-progress"]],
  ["imports", "node", ["tooling/check-imports.mjs"]],
  ["dashboard", "node", ["tooling/check-dashboard.mjs"]]
]

let failed = 0
for (const [name, command, args] of checks) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" })
  if (status === 0) continue
  failed++
  console.error(`${name}: failed (${command} ${args.join(" ")})`)
  process.stderr.write(error === undefined ? stdout + stderr : `${error.message}\n`)
}
console.log(failed === 0 ? `checks: ${checks.map(([name]) => name).join(", ")}: all well` : `checks: ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
