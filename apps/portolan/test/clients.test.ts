/**
 * The official clients against the demo: each lists all tools and calls all of them.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { peers, type Tool } from "./peers.ts"
import { type Running, up } from "./process.ts"

/** Arguments for the demo's tools: those that need particular ones, in an order in which each finds what it needs. */
const particular = (files: string): Readonly<Record<string, Record<string, unknown>>> => ({
  filesystem__create_directory: { path: `${files}/made` },
  filesystem__write_file: { path: `${files}/made/a.txt`, content: "one\ntwo\n" },
  filesystem__edit_file: { path: `${files}/made/a.txt`, edits: [{ oldText: "one", newText: "1" }] },
  filesystem__read_file: { path: `${files}/made/a.txt` },
  filesystem__read_text_file: { path: `${files}/made/a.txt` },
  filesystem__read_media_file: { path: `${files}/made/a.txt` },
  filesystem__read_multiple_files: { paths: [`${files}/made/a.txt`] },
  filesystem__list_directory: { path: files },
  filesystem__list_directory_with_sizes: { path: files },
  filesystem__directory_tree: { path: files },
  filesystem__get_file_info: { path: files },
  filesystem__search_files: { path: files, pattern: "*.txt" },
  filesystem__move_file: { source: `${files}/made/a.txt`, destination: `${files}/made/b-${Date.now()}.txt` },
  "everything__trigger-long-running-operation": { duration: 0.2, steps: 2 },
  "everything__simulate-research-query": { topic: "charts", ambiguous: false },
  "everything__gzip-file-as-resource": { name: "a.gz", data: "data:text/plain;base64,YQ==" },
  "everything__get-annotated-message": { messageType: "success", includeImage: false },
  "everything__get-structured-content": { location: "New York" },
  "everything__get-resource-links": { count: 2 },
  "everything__get-resource-reference": { resourceType: "Text", resourceId: 1 },
  "everything__get-sum": { a: 2, b: 3 },
  everything__echo: { message: "ahoy" },
  weather__get_forecast: { city: "Lisbon" },
  weather__get_current: { city: "Lisbon" },
  memory__search_nodes: { query: "harbour" },
  memory__open_nodes: { names: ["harbour"] },
  memory__create_entities: { entities: [{ name: "harbour", entityType: "place", observations: ["deep"] }] },
  memory__create_relations: { relations: [{ from: "harbour", to: "harbour", relationType: "is" }] },
  memory__add_observations: { observations: [{ entityName: "harbour", contents: ["wide"] }] },
  memory__delete_observations: { deletions: [{ entityName: "harbour", observations: ["wide"] }] },
  memory__delete_relations: { relations: [{ from: "harbour", to: "harbour", relationType: "is" }] },
  memory__delete_entities: { entityNames: ["nobody"] }
})

/** A tool that runs as a task only. */
const onlyAsTask = "everything__simulate-research-query"

/** The order in which tools are called: those with particular arguments as they stand, then all others. */
const ordered = (tools: ReadonlyArray<Tool>, args: Readonly<Record<string, unknown>>): ReadonlyArray<string> => {
  const names = new Set(tools.map((tool) => tool.name))
  return [
    ...Object.keys(args).filter((name) => names.has(name)),
    ...Array.from(names).filter((name) => !(name in args))
  ]
}

describe("official clients against the demo", () => {
  const scope = Scope.makeUnsafe()
  let demo: Running
  beforeAll(async () => {
    demo = await Effect.runPromise(Scope.provide(up([]), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const [name, connect] of peers) {
    it(name, async () => {
      const peer = await connect(new URL("/mcp", demo.url))
      try {
        const tools = await peer.tools()
        const services = new Set(tools.map((tool) => tool.name.split("__")[0]))
        assert.deepStrictEqual(Array.from(services).toSorted(), ["everything", "filesystem", "memory", "weather"])
        assert.strictEqual(new Set(tools.map((tool) => tool.name)).size, tools.length)
        const allowed = await peer.call("filesystem__list_allowed_directories", {})
        const files = /\/\S+/.exec(JSON.stringify(allowed.content))?.[0]?.replace(/["\\].*$/, "") ?? ""
        const args = particular(files)
        assert.include(tools.map((tool) => tool.name), onlyAsTask)
        for (const tool of ordered(tools, args)) {
          if (tool === onlyAsTask && peer.task === undefined) {
            // Its generation of the SDK knows no tasks: the error says what it would take.
            const refusal = await peer.call(tool, args[tool] ?? {}).then(() => "called", String)
            assert.match(refusal, /runs as a task only|io\.modelcontextprotocol\/tasks/)
            continue
          }
          const call = (tool === onlyAsTask ? peer.task : undefined) ?? peer.call
          const reply = await call(tool, args[tool] ?? {})
          assert.notStrictEqual(reply.isError, true, `${tool}: ${JSON.stringify(reply.content)}`)
        }
      } finally {
        await peer.close()
      }
    })
  }

  it("@modelcontextprotocol/inspector --cli", async () => {
    const binary = new URL("../node_modules/.bin/mcp-inspector", import.meta.url).pathname
    const inspect = async (args: ReadonlyArray<string>) => {
      const { stdout } = await promisify(execFile)(
        binary,
        ["--cli", `${demo.url}/mcp`, "--transport", "http", ...args],
        {
          encoding: "utf8",
          maxBuffer: 16 * 1024 * 1024
        }
      )
      return JSON.parse(stdout.slice(stdout.indexOf("{")))
    }
    const { tools }: { readonly tools: ReadonlyArray<Tool> } = await inspect(["--method", "tools/list"])
    assert.isAbove(tools.length, 30)
    const called = await inspect([
      "--method",
      "tools/call",
      "--tool-name",
      "weather__get_forecast",
      "--tool-arg",
      "city=Lisbon"
    ])
    assert.include(JSON.stringify(called), "Lisbon")
  }, 60_000)
})
