import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as TaskSupport from "../src/catalog/TaskSupport.ts"
import type { Fields, Reply } from "../src/JsonRpc.ts"
import * as Translation from "../src/relay/calls/Translation.ts"
import type { ServerProfile, UpstreamRequest } from "../src/upstream/Upstream.ts"
import { harness, instance, profile, scripted } from "./Catalogs.ts"

const old: ServerProfile = {
  ...profile,
  era: "handshake",
  capabilities: { tools: {}, tasks: { requests: { tools: { call: {} } } } }
}
const fresh: ServerProfile = {
  ...profile,
  era: "stateless",
  protocolVersion: "2026-07-28",
  capabilities: { tools: {}, extensions: { [TaskSupport.extension]: {} } }
}
const tool = (name: string, taskSupport?: string): Fields => ({
  name,
  inputSchema: { type: "object" },
  ...(taskSupport === undefined ? {} : { execution: { taskSupport } })
})
const all = [tool("no"), tool("never", "forbidden"), tool("may", "optional"), tool("must", "required")]

/** What a catalog of one server says of its tools. */
const supports = (given: ServerProfile) =>
  Effect.gen(function*() {
    const { catalog, open } = yield* harness({ naming: { naming: "none" } })
    const answer = ({ method }: UpstreamRequest): Effect.Effect<Reply> =>
      Effect.succeed({ result: method === "tools/list" ? { tools: all } : {} })
    yield* open(scripted(instance("a1", "a"), answer, given).upstream)
    return {
      catalog,
      told: Object.fromEntries(
        catalog.list("tools").map(({ definition, publicName }) => [publicName, TaskSupport.of(definition)])
      )
    }
  })

describe("which tools run as tasks", () => {
  it.effect("a server of the handshake era says for each", () =>
    Effect.gen(function*() {
      const { catalog, told } = yield* supports(old)
      assert.deepStrictEqual(told, { no: undefined, never: undefined, may: "optional", must: "required" })
      assert.deepStrictEqual(catalog.hidden(), [])
      // Whoever waits for the result of a call can't make one of it.
      assert.lengthOf(catalog.named("tools", "may"), 1)
      assert.lengthOf(catalog.named("tools", "must"), 0)
    }))

  it.effect("none of a server that runs no tasks", () =>
    Effect.gen(function*() {
      for (const era of ["handshake", "stateless"] as const) {
        const { told } = yield* supports({ ...old, era, capabilities: { tools: {}, tasks: { requests: {} } } })
        assert.deepStrictEqual(told, { no: undefined, never: undefined, may: undefined, must: undefined })
      }
    }))

  it.effect("all of a server of the stateless era with the extension, which decides for each call", () =>
    Effect.gen(function*() {
      const { told } = yield* supports(fresh)
      assert.deepStrictEqual(told, { no: "optional", never: "optional", may: "optional", must: "optional" })
    }))

  it("is told to clients of version 2025-11-25 alone", () => {
    const listed = (dialect: Translation.Dialect) => all.map((each) => Translation.definition(dialect, "tools", each))
    const [no, never, may, must] = all
    assert.deepStrictEqual(listed("tasks"), [no, never, may, must])
    for (const dialect of ["earlier", "stateless"] as const) {
      assert.deepStrictEqual(listed(dialect), [tool("no"), tool("never"), tool("may"), tool("must")])
    }
    const more = { ...tool("more"), execution: { taskSupport: "optional", other: 1 } }
    assert.deepStrictEqual(TaskSupport.without(more), { ...tool("more"), execution: { other: 1 } })
  })
})
