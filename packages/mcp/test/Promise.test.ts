/**
 * The client for programs without Effect: nothing of Effect is used here.
 */
import { assert, describe, it } from "@effect/vitest"
import { memoryRegistry, type RegistryOption } from "@portolan/core/promise"
import * as Registry from "@portolan/core/Registry"
import { Effect } from "effect"
import { connect, type Fleet, FleetClosed, type InstanceChange } from "../src/promise.ts"

const rejected = (promise: Promise<unknown>): Promise<Error> =>
  promise.then(() => assert.fail("it should have been rejected"), (error: unknown) => {
    assert.instanceOf(error, Error)
    return error as Error
  })

const tagOf = (error: Error): unknown => "_tag" in error ? error._tag : undefined

const using = async (use: (fleet: Fleet) => Promise<void>) => {
  const fleet = await connect()
  try {
    await use(fleet)
  } finally {
    await fleet.close()
  }
}

describe("promise", () => {
  it("registers, lists, calls and takes away", () =>
    using(async (fleet) => {
      const motd = await fleet.registerTool({ name: "motd", handler: async () => "hello" })
      await fleet.registerTool({
        service: "house",
        name: "add",
        inputSchema: {
          type: "object",
          properties: { a: { type: "number" }, b: { type: "number" } },
          required: ["a", "b"]
        },
        handler: ({ a, b }, { meta, progress }) => {
          progress(1, { total: 1 })
          return { sum: Number(a) + Number(b), meta }
        }
      })
      const { routing, server, value } = await fleet.callTool("motd")
      assert.deepStrictEqual([value, routing.instance, server.source], ["hello", "local", "in-process:local"])
      const progress: Array<number> = []
      const sum = await fleet.callTool("house__add", { a: 1, b: 2 }, {
        meta: { "example.com/a": 1 },
        onProgress: (at) => progress.push(at.progress)
      })
      assert.deepStrictEqual(sum.value, { sum: 3, meta: { "example.com/a": 1 } })
      assert.deepStrictEqual(progress, [1])
      assert.deepStrictEqual((await fleet.listTools()).map(({ name }) => name), ["house__add", "local__motd"])
      assert.deepStrictEqual((await fleet.listTools({ service: "house" })).map(({ tool }) => tool), ["add"])
      await Promise.all([motd.unregister(), motd.unregister()])
      assert.match((await rejected(fleet.callTool("motd"))).message, /^motd: nobody offers this tool/)
      await fleet.registerTool({ name: "motd", handler: () => "again" })
      assert.strictEqual((await fleet.callTool("motd")).value, "again")
      assert.include(
        (await rejected(fleet.registerTool({ name: "motd", handler: () => 1 }))).message,
        "registered already"
      )
    }), 20_000)

  it("registers under the name of a group without a wait", async () => {
    const fleet = await connect({ catalog: { groups: { house: ["local"] } } })
    try {
      const began = performance.now()
      const motd = await fleet.registerTool({ name: "motd", handler: () => "hello" })
      assert.strictEqual((await fleet.callTool("house__motd")).value, "hello")
      await motd.unregister()
      assert.deepStrictEqual(await fleet.listTools(), [])
      assert.isBelow(performance.now() - began, 1_500)
    } finally {
      await fleet.close()
    }
  }, 20_000)

  it("rejects with errors that say what happened", () =>
    using(async (fleet) => {
      await fleet.registerTool({
        name: "fail",
        handler: () => {
          throw new Error("no such place")
        }
      })
      await fleet.registerTool({ name: "odd", handler: () => Promise.reject("just a text") })
      const failed = await rejected(fleet.callTool("fail"))
      assert.strictEqual(failed.message, "fail: no such place")
      assert.deepStrictEqual([tagOf(failed), failed.name], ["ToolFailed", "ToolFailed"])
      assert.strictEqual(String(await rejected(fleet.callTool("x"))), "NoTool: x: nobody offers this tool")
      const taken = await rejected(fleet.registerTool({ name: "odd", handler: () => 1 }))
      assert.strictEqual(String(taken), "RegistrationError: local: odd: it is registered already")
      assert.strictEqual((await rejected(fleet.callTool("odd"))).message, "odd: just a text")
      assert.strictEqual(tagOf(await rejected(fleet.readResource("x://y"))), "NoTool")
      assert.strictEqual(tagOf(await rejected(fleet.getPrompt("nothing"))), "NoTool")
    }), 20_000)

  it("says where a call would go, and what became of those that were made", () =>
    using(async (fleet) => {
      await fleet.registerTool({ name: "motd", handler: () => "hello" })
      const { picked, requested } = await fleet.explain("motd")
      assert.deepStrictEqual([requested, picked?.instance, picked?.reason], ["motd", "local", "the only one"])
      assert.strictEqual((await fleet.report()).total.calls, 0)
      await fleet.callTool("motd", {}, { caller: { principal: "ann" } })
      const { callers, tools } = await fleet.report({ top: 1 })
      assert.deepStrictEqual(callers.top.map(({ caller, calls }) => [caller, calls]), [["principal:ann", 1]])
      assert.deepStrictEqual(tools.top.map(({ service, tool }) => [service, tool]), [["local", "motd"]])
      assert.strictEqual(tagOf(await rejected(fleet.explain("nothing"))), "NoTool")
      await fleet.close()
      assert.instanceOf(await rejected(fleet.report()), FleetClosed)
    }), 20_000)

  it("a signal cancels the call at its handler", () =>
    using(async (fleet) => {
      let cancelled: () => void
      const seen = new Promise<void>((resolve) => void (cancelled = resolve))
      let started: () => void
      const running = new Promise<void>((resolve) => void (started = resolve))
      await fleet.registerTool({
        name: "wait",
        handler: (_, { signal }) =>
          new Promise((resolve) => {
            started()
            signal.addEventListener("abort", () => {
              cancelled()
              resolve(undefined)
            })
          })
      })
      const controller = new AbortController()
      const call = rejected(fleet.callTool("wait", {}, { signal: controller.signal }))
      await running
      controller.abort(new Error("enough"))
      assert.strictEqual((await call).message, "enough")
      await seen
      assert.strictEqual(
        (await rejected(fleet.callTool("wait", {}, { signal: AbortSignal.abort() }))).name,
        "AbortError"
      )
    }), 20_000)

  it("tells of changes until it is stopped or closed", async () => {
    const registry = memoryRegistry({
      instances: [{ id: "a", service: "a", endpoint: { transport: "streamable-http", url: "http://127.0.0.1:9/mcp" } }]
    })
    const fleet = await connect({ registries: [registry], health: { interval: "1 hour" } })
    const changes: Array<string> = []
    const first = (async () => {
      for await (const { instance, type } of fleet.changes()) {
        changes.push(`${type} ${instance.id}`)
        if (instance.id === "house") break
      }
    })()
    const all: Array<InstanceChange> = []
    const second = (async () => {
      for await (const change of fleet.changes()) all.push(change)
    })()
    const { unregister } = await fleet.registerTool({ service: "house", name: "x", handler: () => 1 })
    await first
    assert.include(changes, "added house")
    await unregister()
    await Promise.all([fleet.close(), fleet.close()])
    await second
    assert.isAbove(all.length, 0)
    for await (const change of fleet.changes()) assert.fail(`a change of a closed fleet: ${change.type}`)
    for (const late of [fleet.callTool("x"), fleet.listTools(), fleet.registerTool({ name: "y", handler: () => 1 })]) {
      assert.instanceOf(await rejected(late), FleetClosed)
    }
  }, 20_000)

  it("a call under way when the fleet is closed is rejected", async () => {
    const fleet = await connect()
    let started: () => void
    const running = new Promise<void>((resolve) => void (started = resolve))
    await fleet.registerTool({
      name: "wait",
      handler: (_, { signal }) =>
        new Promise((resolve) => {
          started()
          signal.addEventListener("abort", resolve)
        })
    })
    const call = rejected(fleet.callTool("wait"))
    await running
    await fleet.close()
    assert.instanceOf(await call, FleetClosed)
  }, 20_000)

  it("rejects where a registry can't be opened, and closes the others", async () => {
    let closed = false
    const good: RegistryOption = {
      name: "good",
      open: Effect.flatMap(
        memoryRegistry().open,
        (registry) =>
          Effect.as(Effect.addFinalizer(() => Effect.sync(() => void (closed = true))), { ...registry, name: "good" })
      )
    }
    const bad: RegistryOption = {
      name: "bad",
      open: Effect.fail(new Registry.RegistryError({ registry: "bad", operation: "open", reason: "no such file" }))
    }
    assert.strictEqual((await rejected(connect({ registries: [good, bad] }))).message, "bad: open: no such file")
    assert.isTrue(closed)
  }, 20_000)
})
