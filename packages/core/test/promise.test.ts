import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { setImmediate } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { announce, type InstanceInput, memoryRegistry, type RegistryOption } from "../src/promise.ts"
import * as Registry from "../src/Registry.ts"
import type * as ServiceInstance from "../src/ServiceInstance.ts"

const weather: InstanceInput = {
  service: "weather",
  endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }
}

const listed = (registry: RegistryOption): Promise<ReadonlyArray<ServiceInstance.ServiceInstance>> =>
  Effect.runPromise(Effect.scoped(Effect.flatMap(registry.open, ({ list }) => list))).then(({ instances }) => instances)

const rejection = (promise: Promise<unknown>) =>
  promise.then(() => assert.fail("it was taken"), (error: unknown) => String(error))

describe("announce", () => {
  it("announces until it is closed", async () => {
    const registry = memoryRegistry()
    const announced = await announce(registry, weather, { drain: 50 })
    assert.deepStrictEqual(announced.state(), { announced: true, lastError: undefined })
    assert.deepStrictEqual(await listed(registry), [announced.instance()])
    const closing = announced.close()
    // The drain is long enough for the record to be read in between.
    let status: string | undefined = "up"
    while (status === "up") {
      await setImmediate()
      status = (await listed(registry))[0]?.status
    }
    assert.strictEqual(status, "draining")
    await Promise.all([closing, announced.close()])
    assert.deepStrictEqual(await listed(registry), [])
  })

  it("closes with its block", async () => {
    const registry = memoryRegistry()
    {
      await using announced = await announce(registry, weather, { drain: 0 })
      assert.lengthOf(await listed(registry), 1)
      assert.isTrue(announced.state().announced)
    }
    assert.lengthOf(await listed(registry), 0)
  })

  it("gives each endpoint of a service an id of its own, the same each time", async () => {
    const idOf = async (input: InstanceInput) => {
      await using announced = await announce(memoryRegistry(), input, { drain: 0 })
      return announced.instance().id
    }
    const id = await idOf(weather)
    assert.match(id, /^weather-[a-z0-9]+$/)
    assert.strictEqual(await idOf({ ...weather, version: "2.0.0" }), id)
    assert.notStrictEqual(await idOf({ ...weather, endpoint: { ...weather.endpoint, url: "http://10.0.0.8/mcp" } }), id)
    assert.strictEqual(await idOf({ ...weather, id: "mine" }), "mine")
  })

  it("announces what changed, under the same id", async () => {
    const registry = memoryRegistry()
    await using announced = await announce(registry, { ...weather, note: "kept" }, { drain: 0 })
    const { id } = announced.instance()
    announced.update({ id: "other", weight: 0 })
    while (!announced.state().announced) await setImmediate()
    const [instance] = await listed(registry)
    assert.deepInclude(instance, { id, weight: 0, note: "kept" })
    assert.throws(() => announced.update({ weight: -1 }), /weight: expected a value greater than or equal to 0/)
    assert.strictEqual(announced.instance().weight, 0)
  })

  it("refuses what can't be announced, and leaves nothing behind", async () => {
    const before = process.listenerCount("SIGTERM")
    const wrong = { ...weather, endpoint: { transport: "streamable-http", url: "weather" } } as const
    assert.match(await rejection(announce(memoryRegistry(), wrong)), /endpoint\.url: expected an http\(s\) URL/)
    const readOnly: RegistryOption = {
      name: "listing",
      open: Registry.fromPoll({ name: "listing", every: 1000, poll: Effect.succeed([]) })
    }
    assert.match(await rejection(announce(readOnly, weather)), /listing: put: nothing can be announced here/)
    assert.strictEqual(process.listenerCount("SIGTERM"), before)
  })

  it("goes on trying where the registry is down, and says so", async () => {
    const full = memoryRegistry({ capacity: 1, instances: [{ ...weather, id: "other" }] })
    await using announced = await announce(full, weather, { drain: 0 })
    assert.deepStrictEqual(announced.state(), {
      announced: false,
      lastError: "memory: put: it is full: 1 instances"
    })
  })

  it("listens to signals once for all announcements, and no longer than they last", async () => {
    const before = process.listenerCount("SIGTERM")
    const registry = memoryRegistry()
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, n) => announce(registry, { ...weather, id: `w${n}` }, { drain: 0 }))
    )
    assert.strictEqual(process.listenerCount("SIGTERM"), before + 1)
    await Promise.all(all.map((announced) => announced.close()))
    assert.strictEqual(process.listenerCount("SIGTERM"), before)
    await using _ = await announce(registry, weather, { drain: 0, untilExit: false })
    assert.strictEqual(process.listenerCount("SIGTERM"), before)
  })
})

/** Runs the program and sends the signal once it serves; what it printed and how it ended. */
const run = (what: string, signal?: NodeJS.Signals) =>
  new Promise<{ readonly printed: ReadonlyArray<string>; readonly end: number | string | null }>((resolve, reject) => {
    const program = fileURLToPath(new URL("./fixtures/announcer.ts", import.meta.url))
    const child = spawn(process.execPath, [program, what], { stdio: ["ignore", "pipe", "inherit"] })
    let printed = ""
    child.stdout.on("data", (chunk) => {
      printed += String(chunk)
      if (signal !== undefined && String(chunk).includes("listening")) child.kill(signal)
    })
    const alarm = setTimeout(() => child.kill("SIGKILL"), 20_000)
    child.on("error", reject)
    child.on("close", (code, killedBy) => {
      clearTimeout(alarm)
      resolve({ printed: printed.trimEnd().split("\n"), end: code ?? killedBy })
    })
  })

describe("a process that announces itself", () => {
  it("isn't kept alive, and withdraws when it has nothing more to do", async () => {
    assert.deepStrictEqual(await run("nothing"), { printed: ["put up", "put draining", "remove"], end: 0 })
  })

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`withdraws on ${signal}, and dies of it`, async () => {
      const { end, printed } = await run("serve", signal)
      assert.deepStrictEqual(printed, ["put up", "listening", "put draining", "remove"])
      assert.strictEqual(end, signal)
    })
  }

  it("leaves the end to the program's own handler", async () => {
    const { end, printed } = await run("handle", "SIGTERM")
    assert.sameMembers([...printed], ["put up", "listening", "handled", "put draining", "remove"])
    assert.strictEqual(end, 0)
  })
})
