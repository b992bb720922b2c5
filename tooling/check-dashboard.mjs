/**
 * Checks the types and the markup of the dashboard. Two mistakes are planted in a component of their own, for TypeScript 6
 * has been seen to say nothing at all: they must be told, and nothing else.
 */
import { spawnSync } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const dashboard = fileURLToPath(new URL("../apps/dashboard/", import.meta.url))
const command = join(dirname(createRequire(dashboard).resolve("svelte-check/package.json")), "bin/svelte-check")
const { stderr, stdout } = spawnSync(
  process.execPath,
  [command, "--tsconfig", "canary/tsconfig.json", "--output", "machine-verbose"],
  { cwd: dashboard, encoding: "utf8" }
)

const found = stdout.split("\n").flatMap((line) => {
  const json = /^\d+ (\{.*\})$/.exec(line)?.[1]
  return json === undefined ? [] : [JSON.parse(json)]
})
const isPlanted = ({ filename }) => filename.endsWith("canary/Canary.svelte")
const planted = found.filter(isPlanted)
for (const { filename, message, start, type } of found.filter((each) => !isPlanted(each))) {
  console.error(
    `apps/dashboard/${filename}:${start.line + 1}:${start.character + 1}: ${type.toLowerCase()}: ${message}`
  )
}
if (planted.length !== 2) console.error(`of 2 planted mistakes ${planted.length} were found\n${stdout}${stderr}`)
process.exit(planted.length === 2 && found.length === 2 ? 0 : 1)
