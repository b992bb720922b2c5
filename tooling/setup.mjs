/**
 * Runs a task of the workspace on a machine that has only Node 20 and npm: brings pnpm, installs what the lockfile says
 * (Node 24 among it), puts that Node first, and runs the task.
 *
 *   node tooling/setup.mjs <start|test|soak|build|docs|bench|simulate|portolan> [arguments for the task]
 */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const Pnpm = "pnpm@12.21.0"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const bin = join(root, "node_modules", ".bin")
const stamp = join(root, "node_modules", ".portolan-setup")

const environment = {
  ...process.env,
  PATH: [bin, dirname(process.execPath), process.env.PATH ?? ""].join(delimiter),
  TURBO_TELEMETRY_DISABLED: "1",
  DO_NOT_TRACK: "1",
  // How the person at this terminal calls the command.
  PORTOLAN_COMMAND: "npm run -s portolan --"
}

/** Turbo runs each package's script through pnpm, so pnpm must be there too. */
const compile = ["npx", "-y", "-p", Pnpm, "-c", "turbo run build --output-logs=errors-only"]

/** The task's steps: each is a command, and the first that fails ends the task with its exit code. */
const tasks = {
  start: [["node", "apps/portolan/bin/portolan.js", "up"]],
  portolan: [["node", "apps/portolan/bin/portolan.js"]],
  build: [compile],
  docs: [["node", "docs/src/configuration.ts"], ["node", "docs/src/api.ts"]],
  test: [
    compile,
    ["node", "tooling/check.mjs"],
    ["vitest", "run"]
  ],
  // What takes many minutes; names files, such as `Pictures`, for a part of it.
  soak: [compile, ["vitest", "run", "--config", "vitest.soak.config.ts"]],
  // What is measured is what an installed package runs.
  bench: [compile, ["node", "tooling/bench/main.ts"]],
  simulate: [["node", "tooling/simulator/main.ts"]]
}

/** Runs a command in the foreground and answers its exit code; signals that end us are passed on. */
const run = (command, args, options = {}) =>
  new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env: environment, stdio: "inherit", ...options })
    // A terminal sends Ctrl-C to the whole group; a supervisor's SIGTERM comes to npm alone, whose shell ends without a
    // word to us: then we have another parent.
    const parent = process.ppid
    const orphaned = setInterval(() => process.ppid !== parent && pass("SIGTERM"), 500)
    const pass = (signal) => {
      clearInterval(orphaned)
      child.kill(signal)
    }
    const interrupt = () => {}
    process.on("SIGTERM", pass)
    process.on("SIGINT", interrupt)
    child.on("error", (error) => {
      console.error(`${command}: ${error.message}`)
      resolve(1)
    })
    child.on("exit", (code, signal) => {
      clearInterval(orphaned)
      process.off("SIGTERM", pass)
      process.off("SIGINT", interrupt)
      resolve(code ?? (signal === "SIGINT" || signal === "SIGTERM" ? 0 : 1))
    })
  })

/** What an install depends on: when it is as it was, nothing is to do. */
const fingerprint = () =>
  ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json"].reduce(
    (hash, file) => hash.update(readFileSync(join(root, file))),
    createHash("sha256")
  ).digest("hex")

const install = async () => {
  const wanted = fingerprint()
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return 0
  console.error("portolan: installing dependencies (once; about half a minute)")
  const code = await run("npx", ["-y", "-p", Pnpm, "-c", "pnpm install --frozen-lockfile --reporter=silent"], {
    stdio: ["ignore", "ignore", "inherit"]
  })
  if (code === 0) writeFileSync(stamp, wanted)
  return code
}

/** Builds the dashboard where it is older than what it is made of: the gateway serves what was built. */
const dashboard = async () => {
  const cwd = join(root, "apps/dashboard")
  const changed = (path) => statSync(join(cwd, path)).mtimeMs
  const built = existsSync(join(cwd, "dist/index.html")) ? changed("dist/index.html") : 0
  const inside = (folder) => readdirSync(join(cwd, folder), { recursive: true }).map((name) => join(folder, name))
  const sources = ["index.html", "vite.config.ts", "bundle.ts", "package.json", ...inside("src"), ...inside("public")]
  if (sources.every((path) => changed(path) <= built)) return 0
  console.error("portolan: building the dashboard (once; a few seconds)")
  return run("node_modules/.bin/vite", ["build", "--logLevel", "error"], { cwd })
}

const [task = "", ...rest] = process.argv.slice(2)
const steps = tasks[task]
if (steps === undefined) {
  console.error(`unknown task ${JSON.stringify(task)}: expected one of ${Object.keys(tasks).join(", ")}`)
  process.exit(2)
}

let code = await install()
if (code === 0 && (task === "start" || task === "portolan" && rest.includes("up"))) code = await dashboard()
for (const [index, [command, ...args]] of steps.entries()) {
  if (code !== 0) break
  code = await run(command, index === steps.length - 1 ? [...args, ...rest] : args)
}
process.exit(code)
