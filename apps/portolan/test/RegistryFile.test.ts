/**
 * A registry file is changed in every way in which files are, and clients of both eras hear of it: once, and in time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { gateway, metric, record, registry, status } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { until } from "./process.ts"

const stdioServer = fileURLToPath(new URL("server.mjs", import.meta.url))
const echo = [{ name: "echo" }]

/** ms from the write within which clients hear of it, and find it in their list. */
const Bound = 500

const servicesOf = (tools: ReadonlyArray<Peers.Tool>) =>
  Array.from(new Set(tools.map(({ name }) => name.split("__")[0] ?? ""))).toSorted()

/** Clients of all kinds, listening; and what is asserted of each change. */
const audience = (url: string) =>
  Effect.gen(function*() {
    const peers = yield* Peers.all(url)
    yield* until(Effect.map(metric({ url }, "portolan_mcp_streams"), (open) => open === peers.length), 10_000)
    yield* Effect.forEach(peers, (peer) => Effect.promise(peer.tools))
    const times: Array<number> = []
    let changes = 0

    const summary = () => {
      const sorted = times.toSorted((a, b) => a - b)
      return `median ${sorted[sorted.length >> 1]?.toFixed(0)} ms, max ${sorted.at(-1)?.toFixed(0)} ms`
    }

    /** Does it, and expects one notice for each client, after which its list has these services. */
    const change = (what: string, write: () => void, services: ReadonlyArray<string>) =>
      Effect.gen(function*() {
        const start = performance.now()
        write()
        changes++
        const took = yield* Effect.forEach(peers, (peer) =>
          Effect.gen(function*() {
            yield* Effect.promise(async () => {
              while (peer.notices.length < changes && performance.now() - start < 10_000) await sleep(1)
            })
            assert.strictEqual(peer.notices.length, changes, `${what}: notices to ${peer.name}`)
            const tools = yield* Effect.promise(peer.tools)
            assert.deepStrictEqual(servicesOf(tools), services.toSorted(), `${what}: list of ${peer.name}`)
            return performance.now() - start
          }), { concurrency: "unbounded" })
        times.push(...took)
        assert.isBelow(Math.max(...took), Bound, `${what}: ${summary()}`)
        yield* silence(what)
      })

    /** Nobody hears anything for longer than a change takes. */
    const silence = (what: string) =>
      Effect.gen(function*() {
        yield* Effect.promise(() => sleep(Bound))
        for (const peer of peers) assert.strictEqual(peer.notices.length, changes, `${what}: notices to ${peer.name}`)
      })

    return { change, silence }
  })

const byRename = (file: string, text: string) => {
  Fs.writeFileSync(`${file}.new`, text)
  Fs.renameSync(`${file}.new`, file)
}

const linkTo = (target: string, link: string) => {
  Fs.symlinkSync(target, `${link}.new`)
  Fs.renameSync(`${link}.new`, link)
}

const sourceState = (running: { readonly url: string }) =>
  Effect.map(status(running), ({ sources }) => sources.find(({ name }) => name.includes("services.json")))

describe("a registry file", () => {
  it.live("is followed within 500 ms, with exactly one notice for each change", () =>
    Effect.gen(function*() {
      const servers = yield* Effect.all({
        a: served({ tools: echo }),
        b: served({ tools: echo }),
        c: served({ tools: [...echo, { name: "more" }] })
      })
      const of = (id: keyof typeof servers) => record(id, servers[id].url)
      const running = yield* gateway({
        registries: [
          { type: "file", path: "services.json" },
          { type: "file", path: "linked.json" },
          { type: "file", path: "mounted/linked-too.json" }
        ]
      }, {
        "services.json": registry(of("a")),
        "one.json": registry(),
        "two.json": registry(record("l", servers.c.url))
      })
      const { cwd } = running
      const file = join(cwd, "services.json")
      // As a ConfigMap is mounted: the file is a link through a link to a directory.
      for (const [name, services] of [["v1", []], ["v2", [record("m", servers.b.url)]]] as const) {
        Fs.mkdirSync(join(cwd, "mounted", name), { recursive: true })
        Fs.writeFileSync(join(cwd, "mounted", name, "linked-too.json"), registry(...services))
      }
      Fs.symlinkSync("v1", join(cwd, "mounted", "..data"))
      Fs.symlinkSync("..data/linked-too.json", join(cwd, "mounted", "linked-too.json"))
      Fs.symlinkSync("one.json", join(cwd, "linked.json"))
      yield* until(
        Effect.map(status(running), ({ sources }) => sources.every(({ state }) => state === "connected")),
        10_000
      )

      const { change, silence } = yield* audience(running.url)
      const write = (text: string) => () => Fs.writeFileSync(file, text)
      yield* change("added", write(registry(of("a"), of("b"))), ["a", "b"])
      yield* change("removed", write(registry(of("b"))), ["b"])
      yield* change("one with more tools", write(registry(of("b"), of("c"))), ["b", "c"])
      yield* change("removed again", write(registry(of("c"))), ["c"])
      yield* change("added again", write(registry(of("a"), of("c"))), ["a", "c"])
      yield* change("replaced by rename", () => byRename(file, registry(of("a"))), ["a"])
      yield* change("another link", () => linkTo("two.json", join(cwd, "linked.json")), ["a", "l"])
      yield* change("another directory", () => linkTo("v2", join(cwd, "mounted", "..data")), ["a", "l", "m"])
      yield* change("back", () => linkTo("one.json", join(cwd, "linked.json")), ["a", "m"])
      yield* change(
        "a process",
        write(registry(of("a"), {
          id: "p",
          service: "p",
          endpoint: { transport: "stdio", command: process.execPath, args: [stdioServer] }
        })),
        ["a", "m", "p"]
      )
      yield* change("its end", write(registry(of("a"))), ["a", "m"])

      for (const again of [write(registry(of("a"))), () => byRename(file, registry(of("a")))]) {
        again()
        yield* silence("the same content")
      }
      Fs.utimesSync(file, new Date(), new Date())
      yield* silence("touched")
      // It is still followed.
      yield* change("emptied", write("{\"services\": []}"), ["m"])
    }), 60_000)

  it.live("that is half-written, broken or gone keeps its tools, and says why", () =>
    Effect.gen(function*() {
      const { url } = yield* served({ tools: echo })
      const one = registry(record("a", url))
      const two = registry(record("a", url), record("b", url))
      const running = yield* gateway({ registries: [{ type: "file", path: "services.json" }] }, {
        "services.json": one
      })
      const file = join(running.cwd, "services.json")
      const { change, silence } = yield* audience(running.url)
      const caller = yield* Peers.stateless(running.url)
      const stale = (what: string, reason: RegExp) =>
        Effect.gen(function*() {
          yield* until(Effect.map(sourceState(running), (source) => source?.state === "stale"), 10_000)
          const source = yield* sourceState(running)
          assert.match(source?.error ?? "", reason, what)
          yield* silence(what)
          assert.strictEqual(Peers.textOf(yield* Effect.promise(() => caller.call("a__echo", {}))), "echo", what)
        })
      const half = two.slice(0, two.length >> 1)

      Fs.writeFileSync(file, half)
      yield* Effect.promise(() => sleep(15))
      yield* change("the rest at once", () => Fs.appendFileSync(file, two.slice(half.length)), ["a", "b"])
      assert.strictEqual((yield* sourceState(running))?.state, "connected")

      Fs.writeFileSync(file, half)
      yield* stale("half a file", /services\.json: .*line \d+.*column \d+/)
      yield* change("the rest at last", () => Fs.writeFileSync(file, one), ["a"])
      yield* until(Effect.map(sourceState(running), (source) => source?.state === "connected"), 10_000)

      Fs.writeFileSync(file, "{\n  \"services\": [\n    { \"id\": \"a\" \"service\": 1 }\n  ]\n}\n")
      yield* stale("a broken file", /services\.json: .*line 3.*column 17/)
      Fs.rmSync(file)
      yield* until(Effect.map(sourceState(running), (source) => /isn't there/.test(source?.error ?? "")), 10_000)
      yield* stale("a deleted file", /services\.json isn't there/)
      Fs.writeFileSync(file, one)
      yield* until(Effect.map(sourceState(running), (source) => source?.state === "connected"), 10_000)
      yield* silence("there again as it was")
      Fs.rmSync(file)
      yield* stale("deleted again", /services\.json isn't there/)
      yield* change("there again with more", () => Fs.writeFileSync(file, two), ["a", "b"])
    }), 60_000)

  it.live("may begin with a byte order mark; a wrong record in it is named", () =>
    Effect.gen(function*() {
      const { url } = yield* served({ tools: echo })
      const running = yield* gateway({ registries: [{ type: "file", path: "services.json" }] }, {
        "services.json": `\uFEFF${
          registry(record("a", url), { ...record("heavy", url), weight: "much" }, record("b", url))
        }`
      })
      assert.strictEqual(running.found.tools, 2)
      const source = yield* sourceState(running)
      assert.strictEqual(source?.state, "connected")
      assert.deepStrictEqual(source?.rejected.map(({ id }) => id), ["heavy"])
      assert.match(source?.rejected[0]?.reason ?? "", /^weight: /)
    }), 30_000)
})
