import { assert, describe, it } from "@effect/vitest"
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as FileRegistry from "@portolan/file/FileRegistry"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { statSync } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as Directory from "./directory.ts"

const { json, record, save } = Directory

const run = <A>(promise: () => Promise<A>): Effect.Effect<A> => Effect.promise(promise)

/** Waits for what must come; how long it took, in ms. */
const until = (what: string, holds: () => boolean): Effect.Effect<number> =>
  run(async () => {
    const started = performance.now()
    while (!holds()) {
      if (performance.now() - started > 15_000) assert.fail(`never came: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    return performance.now() - started
  })

/** The registry as the catalog shows it, and the number of updates that changed an instance. */
const open = Effect.fnUntraced(function*(file: string, options?: Partial<FileRegistry.FileRegistryOptions>) {
  let sessions = 0
  const made = Effect.map(FileRegistry.make({ path: file, name: "file", ...options }), (registry) => ({
    ...registry,
    watch: Stream.suspend(() => (sessions++, registry.watch))
  }))
  const Live = Discovery.layer({ debounce: "1 millis" }).pipe(
    Layer.provideMerge(Registries.layerOf(made)),
    Layer.provideMerge(Registries.layer)
  )
  const discovery = Context.get(yield* Layer.build(Live), Discovery.Discovery)
  let updates = 0
  yield* Effect.forkScoped(Stream.runForEach(discovery.updates, ({ changes }) =>
    Effect.sync(() => {
      if (changes.length > 0) updates++
    })))
  const source = () => discovery.catalog().sources.get("file")
  return {
    ids: () => Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance.id).sort().join(),
    ports: () =>
      Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => JSON.stringify(instance.endpoint))
        .sort().join(),
    state: () => source()?.state,
    error: () => source()?.lastError ?? "",
    rejected: () => source()?.rejected ?? [],
    heard: () => source()?.lastHeard ?? 0,
    updates: () => updates,
    /** Waits until so many sessions were lost that the next one is a second or more away. */
    backedOff: Effect.suspend(() => {
      const from = sessions
      return until("sessions that are lost", () => sessions >= from + 5)
    })
  }
})

const registrarOf = (file: string, options?: Partial<FileRegistry.FileRegistryOptions>) =>
  Effect.map(FileRegistry.make({ path: file, ...options }), ({ registrar }) => Option.getOrThrow(registrar))

const lease = (incarnation: string, ttl: Duration.Input = "1 minute"): Registry.LeaseOptions => ({
  incarnation,
  ttl: Duration.fromInputUnsafe(ttl)
})

/** A process of its own. */
const start = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [path.join(import.meta.dirname, "writer.ts"), ...args], {
        stdio: ["ignore", "pipe", "inherit"]
      })
    ),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )

const visible = 250

describe("FileRegistry", () => {
  it.live("F1 sees a replaced file, within about 100 ms", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      yield* run(() => save(file, json([record("a")])))
      const view = yield* open(file)
      yield* until("a", () => view.ids() === "a")
      yield* run(() => save(file, json([record("a"), record("b")])))
      const took = yield* until("b", () => view.ids() === "a,b")
      assert.isBelow(took, visible)
    }))

  for (
    const [name, parts] of [
      ["services.json", ["{\"services\": [", JSON.stringify(record("a")), ",", JSON.stringify(record("b")), "]}"]],
      [
        "services.yaml",
        [
          "services:\n",
          "  - id: a\n    service: w\n    endpoint: { transport: sse, url: 'http://a/' }\n",
          "  - id: b\n    service: w\n",
          "    endpoint: { transport: sse, url: 'http://b/' }\n"
        ]
      ]
    ] as const
  ) {
    it.live(`F2 never shows half of ${name} while it is written in place`, () =>
      Effect.gen(function*() {
        const file = path.join(yield* Directory.make, name)
        yield* run(() => fs.writeFile(file, parts.join("")))
        const view = yield* open(file)
        yield* until("both", () => view.ids() === "a,b")
        for (let round = 0; round < 5; round++) {
          yield* run(async () => {
            await fs.writeFile(file, "")
            for (const part of parts) {
              await new Promise((resolve) => setTimeout(resolve, 10))
              await fs.appendFile(file, part)
            }
          })
        }
        yield* run(() => save(file, json([record("c")])))
        yield* until("c", () => view.ids() === "c")
        assert.strictEqual(view.updates(), 2, "the first view and the last, none between")
      }))
  }

  it.live("F3 keeps the last state of a broken file and says where it broke", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      yield* run(() => save(file, json([record("a")])))
      const view = yield* open(file)
      yield* until("a", () => view.ids() === "a")
      yield* run(() => save(file, "{\n  \"services\": [\n    { \"id\": \"a\" \"service\": 1 }\n  ]\n}"))
      yield* until("stale", () => view.state() === "stale")
      assert.include(view.error(), "services.json: line 3, column 17: expected \",\" or \"}\"")
      assert.strictEqual(view.ids(), "a")
      // The next session waits; the end of the mistake is seen at once all the same.
      yield* view.backedOff
      yield* run(() => save(file, json([record("a"), record("b")])))
      assert.isBelow(yield* until("b", () => view.ids() === "a,b" && view.state() === "connected"), visible)
      yield* run(() => save(file, "services: [\n"))
      yield* until("stale again", () => view.state() === "stale" && view.ids() === "a,b")
    }))

  it.live("F4 keeps the last state of a deleted file, and empties an emptied one at once", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      yield* run(() => save(file, json([record("a")])))
      const view = yield* open(file)
      yield* until("a", () => view.ids() === "a")
      yield* run(() => fs.rm(file))
      yield* until("stale", () => view.state() === "stale")
      assert.include(view.error(), "services.json isn't there")
      assert.strictEqual(view.ids(), "a")
      yield* view.backedOff
      yield* run(() => save(file, json([])))
      assert.isBelow(yield* until("empty", () => view.ids() === "" && view.state() === "connected"), visible)
    }))

  it.live("F5 follows the symlink swap of a Kubernetes volume, and of a directory above", () =>
    Effect.gen(function*() {
      const directory = yield* Directory.make
      const swap = (target: string, link: string) =>
        run(async () => {
          await fs.symlink(target, `${link}.new`)
          await fs.rename(`${link}.new`, link)
        })
      const version = (name: string, id: string) =>
        run(async () => {
          await fs.mkdir(path.join(directory, "volume", name), { recursive: true })
          await fs.writeFile(path.join(directory, "volume", name, "services.json"), json([record(id)]))
        })
      yield* version("..1", "a")
      yield* swap("..1", path.join(directory, "volume", "..data"))
      yield* swap("..data/services.json", path.join(directory, "volume", "services.json"))
      yield* swap("volume", path.join(directory, "current"))
      const view = yield* open(path.join(directory, "current", "services.json"))
      yield* until("a", () => view.ids() === "a")
      for (const id of ["b", "c"]) {
        yield* version(`..${id}`, id)
        yield* swap(`..${id}`, path.join(directory, "volume", "..data"))
        assert.isBelow(yield* until(id, () => view.ids() === id), visible)
      }
      yield* run(() => fs.mkdir(path.join(directory, "other")))
      yield* run(() => fs.writeFile(path.join(directory, "other", "services.json"), json([record("d")])))
      yield* swap("other", path.join(directory, "current"))
      assert.isBelow(yield* until("d", () => view.ids() === "d"), visible)
    }))

  it.live("F6 waits for a directory that isn't there yet, and for one that comes back", () =>
    Effect.gen(function*() {
      const directory = path.join(yield* Directory.make, "one", "two")
      const file = path.join(directory, "services.json")
      const view = yield* open(file)
      yield* until("its absence", () => view.error().includes("isn't there"))
      yield* view.backedOff
      const write = (id: string) =>
        run(async () => {
          await fs.mkdir(directory, { recursive: true })
          await save(file, json([record(id)]))
        })
      yield* write("a")
      assert.isBelow(yield* until("a", () => view.ids() === "a"), 500)
      yield* run(() => fs.rm(path.dirname(directory), { recursive: true }))
      yield* until("stale", () => view.state() === "stale")
      yield* write("b")
      yield* until("b", () => view.ids() === "b")
    }))

  it.live("F8 heals a lost event at its next reading", () =>
    Effect.gen(function*() {
      const directory = yield* Directory.make
      const file = path.join(directory, "services.json")
      yield* run(() => save(file, json([record("a")])))
      // A hard link elsewhere is written through, and the directory that is followed is told nothing.
      const elsewhere = yield* Directory.make
      yield* run(() => fs.link(file, path.join(elsewhere, "other.json")))
      const view = yield* open(path.join(elsewhere, "other.json"), { every: "300 millis" })
      yield* until("a", () => view.ids() === "a")
      yield* run(() => fs.writeFile(file, json([record("b")])))
      yield* until("b", () => view.ids() === "b")
    }))

  it.live("F9 says nothing of the same content, of heartbeats, or of other files", () =>
    Effect.gen(function*() {
      const directory = yield* Directory.make
      const file = path.join(directory, "services.json")
      yield* run(() => save(file, json([record("a")])))
      const registrar = yield* registrarOf(file)
      const held = yield* registrar.put(ServiceInstance.make(record("b")), lease("1"))
      const view = yield* open(file)
      yield* until("both", () => view.ids() === "a,b")
      for (let round = 0; round < 20; round++) {
        const heard = view.heard()
        yield* run(() => save(file, json([record("a")])))
        assert.deepStrictEqual(yield* registrar.renew([held]), [])
        yield* run(() => fs.writeFile(path.join(directory, "other"), `${round}`))
        yield* until("another look", () => view.heard() > heard)
      }
      yield* run(() => save(file, json([record("a"), record("c")])))
      yield* until("c", () => view.ids() === "a,b,c")
      assert.strictEqual(view.updates(), 2)
    }))

  it.live("F10 an editor's burst is one update", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      yield* run(() => save(file, json([record("a")])))
      const view = yield* open(file)
      yield* until("a", () => view.ids() === "a")
      yield* run(async () => {
        await fs.rename(file, `${file}~`)
        const handle = await fs.open(file, "w")
        const text = json([record("a"), record("b")])
        await handle.write(text.slice(0, 40))
        await new Promise((resolve) => setTimeout(resolve, 10))
        await handle.write(text.slice(40))
        await handle.sync()
        await handle.chmod(0o600)
        await handle.close()
        await fs.rm(`${file}~`)
      })
      yield* until("b", () => view.ids() === "a,b")
      assert.strictEqual(view.updates(), 2)
      assert.strictEqual(view.state(), "connected")
    }))

  it.live("F11 a dangling link is an absent file", () =>
    Effect.gen(function*() {
      const directory = yield* Directory.make
      const file = path.join(directory, "services.json")
      yield* run(() => fs.symlink(path.join(directory, "target", "real.json"), file))
      const view = yield* open(file)
      yield* until("its absence", () => view.error().includes("leads nowhere"))
      yield* view.backedOff
      yield* run(() => fs.mkdir(path.join(directory, "target")))
      yield* run(() => fs.writeFile(path.join(directory, "target", "real.json"), json([record("a")])))
      assert.isBelow(yield* until("a", () => view.ids() === "a"), 500)
    }))

  it.live("F12 lets others have their turn while it decodes a big file", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      const records = 5_000
      yield* run(() => save(file, json(Array.from({ length: records }, (_, index) => record(`i-${index}`)))))
      const { list } = yield* FileRegistry.make({ path: file })
      let turns = 0
      const timer = setInterval(() => turns++, 0)
      const { instances } = yield* list
      clearInterval(timer)
      assert.strictEqual(instances.length, records)
      // At least one for every other slice of a hundred records.
      assert.isAbove(turns, records / 200)
    }))

  it.live("rejects wrong records one by one, and reads a BOM, comments and other keys", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      const services = [
        record("a"),
        { ...record("b"), endpoint: { transport: "sse", url: "no" } },
        { service: "x" },
        7,
        record("a", 1)
      ]
      yield* run(() => save(file, `\uFEFF${JSON.stringify({ team: "x", services })}`))
      const registrar = yield* registrarOf(file)
      yield* registrar.put(ServiceInstance.make(record("a")), lease("1"))
      const view = yield* open(file)
      yield* until("a", () => view.ids() === "a")
      assert.deepStrictEqual(view.rejected().map(({ id }) => id), [
        "b",
        "services[2]",
        "services[3]",
        "services[4]",
        "a"
      ])
      assert.include(view.rejected()[0]?.reason, "endpoint.url: expected an http(s) URL")
      assert.include(view.rejected()[1]?.reason, "id")
      assert.strictEqual(view.rejected()[3]?.reason, "id: \"a\" is taken by an earlier record")
      assert.strictEqual(view.rejected()[4]?.reason, "id: \"a\" is in services.json too")
      const list = (yield* FileRegistry.make({ path: file })).list
      for (
        const [content, reason] of [
          ["", "the file is empty"],
          ["[]", "expected a record"],
          ["{}", "services: expected a list, found nothing"],
          ["{\"services\": {}}", "services: expected a list, found object"],
          ["{\"services\": [", "line 1, column 15: expected a value, found the end of the file"]
        ] as const
      ) {
        yield* run(() => save(file, content))
        assert.include((yield* Effect.flip(list)).message, reason)
      }
      const yaml = path.join(path.dirname(file), "services.yml")
      yield* run(() => save(yaml, "# ours\nservices:\n  - id: a\n   service: x\n"))
      assert.include((yield* Effect.flip((yield* FileRegistry.make({ path: yaml })).list)).message, "line 4")
    }))

  it.live("closes everything when it is interrupted", () =>
    Effect.gen(function*() {
      const file = path.join(yield* Directory.make, "services.json")
      yield* run(() => save(file, json([record("a")])))
      const watchers = () => process.getActiveResourcesInfo().filter((name) => name === "FSEventWrap").length
      const before = watchers()
      const registry = yield* FileRegistry.make({ path: file })
      const seen: Array<Registry.RegistryEvent> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(registry.watch, (event) => Effect.sync(() => void seen.push(event)))
      )
      yield* until("its first snapshot", () => seen.length === 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(watchers(), before)
    }))

  describe("leases", () => {
    it.live("holds any id apart from any other, inside its directory", () =>
      Effect.gen(function*() {
        const file = path.join(yield* Directory.make, "services.json")
        yield* run(() => save(file, json([])))
        const registry = yield* FileRegistry.make({ path: file })
        const registrar = Option.getOrThrow(registry.registrar)
        const ids = [
          "a",
          "A",
          "../../etc/passwd",
          "a/b",
          "a b",
          ".",
          "..",
          ".hidden",
          "é",
          "😀",
          "a%2Fb",
          "x".repeat(5_000),
          "con:1",
          "a\\b",
          "a\u0000b"
        ]
        yield* Effect.forEach(ids, (id) => registrar.put(ServiceInstance.make(record(id)), lease("1")), {
          concurrency: "unbounded"
        })
        const { instances } = yield* registry.list
        assert.deepStrictEqual(instances.map(({ id }) => id).sort(), ids.toSorted())
        assert.strictEqual((yield* run(() => fs.readdir(`${file}.d`))).length, ids.length)
        assert.deepStrictEqual((yield* run(() => fs.readdir(path.dirname(file)))).sort(), [
          "services.json",
          "services.json.d"
        ])
      }))

    it.live("removes and renews only its own, and never writes the operator's file", () =>
      Effect.gen(function*() {
        const file = path.join(yield* Directory.make, "services.json")
        yield* run(() => save(file, json([])))
        const before = yield* run(() => fs.stat(file))
        const registry = yield* FileRegistry.make({ path: file })
        const registrar = Option.getOrThrow(registry.registrar)
        const old = yield* registrar.put(ServiceInstance.make(record("a", 1)), lease("old"))
        const young = yield* registrar.put(ServiceInstance.make(record("a", 2)), lease("young"))
        assert.deepStrictEqual((yield* registrar.renew([old, young])).map(({ reason }) => reason), [
          "another process took its id"
        ])
        yield* registrar.remove(old)
        assert.strictEqual((yield* registry.list).instances.length, 1)
        yield* registrar.remove(young)
        assert.strictEqual((yield* registry.list).instances.length, 0)
        assert.deepStrictEqual((yield* registrar.renew([young])).map(({ reason }) => reason), ["its file is gone"])
        yield* registrar.remove(young)
        assert.strictEqual((yield* run(() => fs.stat(file))).ctimeMs, before.ctimeMs)
      }))

    it.live(
      "a process that is killed is gone when its lease is over, for several readers and on disk",
      () =>
        Effect.gen(function*() {
          const file = path.join(yield* Directory.make, "services.json")
          yield* run(() => save(file, json([record("fixed")])))
          const views = [yield* open(file), yield* open(file)]
          const child = yield* start("announce", file, "mortal", "900")
          for (const view of views) yield* until("mortal", () => view.ids() === "fixed,mortal")
          // Longer than the lease: it lives on its heartbeats.
          const written = Date.now()
          const seen = views.map((view) => view.updates())
          const mark = path.join(`${file}.d`, "mortal.json")
          yield* until("heartbeats", () => (statSync(mark, { throwIfNoEntry: false })?.mtimeMs ?? 0) > written + 1_000)
          for (const view of views) assert.strictEqual(view.ids(), "fixed,mortal")
          assert.deepStrictEqual(views.map((view) => view.updates()), seen)
          child.kill("SIGKILL")
          const took = yield* until("its end", () => views[0]?.ids() === "fixed")
          assert.isAbove(took, 500)
          assert.isBelow(took, 2_500)
          yield* until("its end for the other", () => views[1]?.ids() === "fixed")
          assert.deepStrictEqual(yield* run(() => fs.readdir(`${file}.d`)), [])
        }),
      30_000
    )
  })

  describe("update", () => {
    it.live("loses nothing when several processes write at once", () =>
      Effect.gen(function*() {
        const file = path.join(yield* Directory.make, "services.json")
        yield* run(() => fs.writeFile(file, JSON.stringify({ team: "x", services: [] }), { mode: 0o640 }))
        // A process that died while it held the lock.
        const dead = yield* start("nothing")
        yield* run(() => new Promise((resolve) => dead.kill("SIGKILL") && dead.on("exit", resolve)))
        const { hostname } = yield* run(() => import("node:os"))
        yield* run(() => fs.writeFile(`${file}.lock`, `${hostname()} ${dead.pid} left`))
        const children = yield* Effect.forEach([0, 100, 200, 300], (from) => start("update", file, `${from}`, "15"))
        const codes = yield* Effect.forEach(children, (child) =>
          run(() =>
            new Promise((resolve) =>
              child.exitCode === null ? child.on("exit", resolve) : resolve(child.exitCode)
            )
          ), { concurrency: "unbounded" })
        assert.deepStrictEqual(codes, [0, 0, 0, 0])
        const content = JSON.parse(
          yield* run(() =>
            fs.readFile(file, "utf8")
          )
        )
        assert.strictEqual(content.team, "x")
        assert.strictEqual(new Set(content.services.map(({ id }: { readonly id: string }) => id)).size, 60)
        assert.strictEqual((yield* run(() => fs.stat(file))).mode & 0o777, 0o640)
        assert.deepStrictEqual(yield* run(() => fs.readdir(path.dirname(file))), ["services.json"])
      }), 60_000)

    it.live("makes a file that isn't there, and leaves broken ones and YAML alone", () =>
      Effect.gen(function*() {
        const directory = yield* Directory.make
        const file = path.join(directory, "services.json")
        const add = (content: FileRegistry.RegistryFile) => ({
          ...content,
          services: [...content.services, record("a")]
        })
        yield* FileRegistry.update(file, add)
        assert.deepStrictEqual(JSON.parse(yield* run(() => fs.readFile(file, "utf8"))), { services: [record("a")] })
        yield* run(() => fs.writeFile(file, "{"))
        assert.include((yield* Effect.flip(FileRegistry.update(file, add))).message, "line 1, column 2")
        const yaml = path.join(directory, "services.yaml")
        yield* run(() => fs.writeFile(yaml, "services: []"))
        assert.include((yield* Effect.flip(FileRegistry.update(yaml, add))).message, "comments would be lost")
        assert.strictEqual(yield* run(() => fs.readFile(yaml, "utf8")), "services: []")
        const { message } = yield* Effect.flip(FileRegistry.update(path.join(directory, "no", "where.json"), add))
        assert.include(message, "where.json")
      }))
  })
})
