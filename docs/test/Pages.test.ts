/**
 * Everything that the pages show is run: programs, configurations, commands with their output. See `Snippets`.
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Program from "@portolan/tooling/Program"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { adapters } from "../../apps/portolan/src/adapters.ts"
import * as Snippets from "../src/Snippets.ts"
import * as Backends from "./backends.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const portolan = path.join(root, "apps/portolan/bin/portolan.js")
/** Where programs are written: what they import is found from here. */
const programs = path.join(root, "docs/dist-test/snippets")

const pages = fs.globSync(["*.md", "docs/*.md", "{packages,apps,apps/examples}/*/README.md"], { cwd: root }).sort().map(
  (page) => ({ page, snippets: Snippets.read(path.join(root, page)) })
)

const folder = (page: string) => page.replace(/\W/g, "-")

/** Where a program is type-checked, under `programs`. */
const typed = (page: string, { language, line }: Snippets.Snippet) => `types/${folder(page)}/line${line}.${language}`

let checked: Promise<(program: string) => string> | undefined
/** What is wrong with the types of a program; all pages' are checked at once, as most of the work is what they import. */
const typeErrors = () =>
  checked ??= Snippets.typeErrors(
    programs,
    new Map(pages.flatMap(({ page, snippets }) =>
      snippets.filter((snippet) => Snippets.isProgram(snippet) && snippet.file === undefined).map((snippet) => [
        typed(page, snippet),
        snippet.language === "ts" && snippet.notRun !== undefined ? Snippets.whole(snippets, snippet) : snippet.code
      ])
    ))
  )

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

interface Services {
  readonly items: ReadonlyArray<{ readonly tools: number }>
}

/**
 * Waits until the gateway at this port is what its reader has before them once it has started: it answers, and all that it
 * announces offers tools. Its readiness doesn't wait for servers, and one that `npx` starts takes its time.
 */
const served = async (port: number): Promise<void> => {
  const at = `http://127.0.0.1:${port}`
  const offers = async () => {
    if (!(await fetch(`${at}/readyz`)).ok) return false
    const services: Services = JSON.parse(await fetch(`${at}/api/v1/services`).then((answer) => answer.text()))
    return services.items.every(({ tools }) => tools > 0)
  }
  for (const end = performance.now() + 60_000; !(await offers().catch(() => false));) {
    assert.isBelow(performance.now(), end, "nobody answers, or no tools are there")
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** As it is typed at a terminal, for a shell here. */
const shell = (command: string, port: number, start: string) =>
  command
    .replace(/^npm start\b/, start)
    .replace(/^npm run -s portolan --|^npx portolan\b|^portolan\b/, `node ${portolan}`)
    .replace(/(portolan\.js (?:up|register)\b(?!.*--port).*)/, (line) =>
      /\bup\b/.test(line) ? `${line} --port ${port}` : line)
    .replaceAll(":7420", `:${port}`)

for (const { page, snippets } of pages) {
  const isTested = (snippet: Snippets.Snippet) =>
    Snippets.isProgram(snippet) || snippet.notRun === undefined && snippet.language !== "text"
  if (!snippets.some(isTested)) continue
  // What is started here is a fleet of processes, and the machine has other things to do.
  describe(page, { timeout: 90_000, retry: 1 }, () => {
    const home = path.dirname(path.join(root, page))
    const at = path.join(programs, folder(page))
    const sandbox = fs.mkdtempSync(path.join(tmpdir(), "portolan-page-"))
    // What is installed in the folder of a reader.
    fs.symlinkSync(path.join(root, "docs/node_modules"), path.join(sandbox, "node_modules"))
    const servers: Array<Program.Program> = []
    let port = 0
    beforeAll(async () => {
      port = await freePort()
      fs.rmSync(at, { recursive: true, force: true })
      fs.mkdirSync(at, { recursive: true })
    })
    afterAll(async () => {
      await Backends.end()
      for (const server of servers) await server.ended("SIGTERM")
      fs.rmSync(sandbox, { recursive: true, force: true })
    })
    const env = () => ({ PORTOLAN_URL: `http://127.0.0.1:${port}`, PORTOLAN_TOKEN: "secret", PORT: String(port) })

    for (const snippet of snippets) {
      const { code, file, language, line, mistaken, notRun, output } = snippet
      const lacks = Backends.missing(code)
      if (Snippets.isProgram(snippet) && file === undefined) {
        it(`line ${line}: the program has no type errors`, async () => {
          assert.strictEqual((await typeErrors())(typed(page, snippet)), "")
        })
        if (notRun !== undefined) continue
        it.skipIf(lacks !== undefined)(`line ${line}: the program does what is shown`, async () => {
          const here = (await Backends.real(code)).replaceAll("7420", String(port))
          await Snippets.run({ ...snippet, code: here, output }, at, sandbox, env())
        })
      } else if (notRun !== undefined || language === "text") {
        continue
      } else if (file !== undefined || language === "yaml" || language === "json") {
        const name = file ?? `line${line}.${language}`
        it(`line ${line}: ${name} is ${mistaken ? "what is wrong" : "valid"}`, async () => {
          fs.writeFileSync(path.join(sandbox, name), code)
          if (mistaken || language === "js") return
          const content: unknown = language === "json" ? JSON.parse(code) : undefined
          if (typeof content === "object" && content !== null && "services" in content) {
            assert.isArray(content.services)
            if (Array.isArray(content.services)) content.services.forEach((record) => ServiceInstance.make(record))
            return
          }
          // As `portolan validate` does.
          const file = path.join(sandbox, name)
          const read = Configuration.load(file, { adapters, env: { ...process.env, ...env() } })
          const mistakes = await Effect.runPromise(Effect.match(read, { onSuccess: () => "", onFailure: String }))
          assert.strictEqual(mistakes, "")
        })
      } else if (Snippets.isConsole(snippet)) {
        for (const { command, output } of Snippets.commands(snippet)) {
          it(`line ${line}: ${command}`, async () => {
            const isExample = page.startsWith("apps/examples/")
            const start = isExample
              ? JSON.parse(fs.readFileSync(path.join(home, "package.json"), "utf8")).scripts.start
              : "portolan up"
            const isServer = /^(npm start|node |portolan up)/.test(command)
            const line = shell(shell(command, port, start), port, start)
            const program = Program.start("sh", ["-c", `exec ${line}`], {
              cwd: isExample ? home : sandbox,
              env: { ...env(), ...(command.startsWith("npm ") ? { PORTOLAN_COMMAND: "npm run -s portolan --" } : {}) }
            })
            if (isServer) servers.push(program)
            if (output === "" && !isServer) {
              const end = await program.ended()
              return assert.strictEqual(end, 0, program.printed())
            }
            if (isServer && output === "") return served(port)
            await Snippets.prints(program, output.replaceAll("7420", String(port)))
            if (!isServer) await program.ended()
          })
        }
      } else if (language !== "") {
        it(`line ${line}: a block of ${language} is run, or says why not`, () => {
          assert.fail(`put <!-- not run: REASON --> on the line before it`)
        })
      }
    }
  })
}
