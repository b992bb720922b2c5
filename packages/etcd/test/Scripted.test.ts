import { assert, describe, it } from "@effect/vitest"
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as EtcdBackend from "./EtcdBackend.ts"
import * as ScriptedEtcd from "./ScriptedEtcd.ts"
import { eventually, failure, instance } from "./Watched.ts"

const { header, put } = ScriptedEtcd

describe("a scripted etcd", () => {
  it.live("the pages of a list are of one revision, that of the first", () =>
    Effect.gen(function*() {
      const etcd = yield* ScriptedEtcd.make({
        list: { header: header(5), kvs: [put(instance(1), 3).kv], more: true },
        page: { header: header(9), kvs: [put(instance(2), 4).kv] }
      })
      const { said } = yield* failure({ endpoints: [etcd.url] })
      assert.deepStrictEqual(said.flatMap((event) => event._tag === "Snapshot" ? event.instances : []), [
        instance(1),
        instance(2)
      ])
      assert.deepStrictEqual(
        etcd.asked.map(({ body }) => [body["revision"], body["start_revision"]]),
        [[undefined, undefined], [5, undefined], [undefined, 6]]
      )
    }))

  it.live("E3 the fragments of one answer are one batch", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedEtcd.make({
        list: { header: header(5) },
        watches: [[
          { header: header(5), created: true },
          { header: header(6), fragment: true, events: [put(instance(1), 6)] },
          { header: header(6), events: [put(instance(2), 6)] }
        ]]
      })
      const { reason, said } = yield* failure({ endpoints: [url] })
      assert.deepStrictEqual(said.flatMap((event) => event._tag === "Delta" ? [event.changes.length] : []), [2])
      assert.include(reason, "etcd ended the watch")
    }))

  it.live("E3 fragments that were cut off come again as a whole", () =>
    Effect.gen(function*() {
      const created = { header: header(5), created: true }
      const half = { header: header(6), fragment: true, events: [put(instance(1), 6)] }
      const etcd = yield* ScriptedEtcd.make({
        list: { header: header(5) },
        watches: [[created, half], [created, half, { header: header(6), events: [put(instance(2), 6)] }]],
        open: true
      })
      const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url], wait: "50 millis" })
      const event = yield* registry.watch.pipe(
        Stream.filter(({ _tag }) => _tag === "Delta"),
        Stream.runHead,
        Effect.flatMap(Effect.fromOption),
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(event._tag === "Delta" && event.changes.length, 2)
      const from = etcd.asked.filter(({ path }) => path === "watch").map(({ body }) => body["start_revision"])
      assert.deepStrictEqual(from, [6, 6])
    }))

  const begun = { list: { header: header(10) }, open: true }
  const cases = [
    ["E1 compacted, with changes of ours", {
      watches: [[{ header: header(0), canceled: true, compact_revision: "12" }]],
      written: { header: header(12), kvs: [put(instance(1), 11).kv], count: "1" }
    }, "revision 11 is gone, etcd compacted its history up to 12"],
    ["E1 compacted, with a removal", {
      list: { header: header(10), kvs: [put(instance(1), 9).kv], count: "1" },
      watches: [[{ header: header(0), canceled: true, compact_revision: "12" }]],
      written: { header: header(12) }
    }, "revision 11 is gone, etcd compacted its history up to 12"],
    ["E4 created and cancelled in one message", {
      watches: [[{ header: header(10), created: true, canceled: true, cancel_reason: "etcdserver: too many" }]]
    }, "etcdserver: too many"],
    ["E9 refused in the watch", {
      watches: [[{
        header: header(10),
        created: true,
        canceled: true,
        cancel_reason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
      }]]
    }, "watch: etcdserver: permission denied: the user needs a role that may read and write the prefix"],
    ["E10 no leader", {
      watches: [[{ header: header(10), created: true, canceled: true, cancel_reason: "etcdserver: no leader" }]]
    }, "no leader"],
    ["E11 the revision went back", {
      now: { header: header(4) },
      watches: [[{ header: header(4), created: true }]]
    }, "the revision went back from 10 to 4"],
    ["E12 another cluster between two watches", {
      now: { header: { ...header(10), cluster_id: "8" } },
      watches: [[{ header: header(10), created: true }]]
    }, "another cluster answers"],
    ["E12 another cluster in the watch", {
      watches: [[{ header: { ...header(10), cluster_id: "8" }, created: true }]]
    }, "another cluster answers"]
  ] as const
  for (const [title, script, expected] of cases) {
    it.live(`${title}: the session fails and says so`, () =>
      Effect.gen(function*() {
        const { url } = yield* ScriptedEtcd.make({ ...begun, ...script })
        const { reason, said } = yield* failure({ endpoints: [url], wait: "50 millis" })
        assert.strictEqual(said[0]?._tag, "Snapshot")
        assert.include(reason, expected)
      }))
  }

  it.live("E9 a token that runs out between two requests is replaced, and the session goes on", () =>
    Effect.gen(function*() {
      const created = { header: header(10), created: true }
      const refused = {
        ...created,
        canceled: true,
        cancel_reason: "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
      }
      const news = (revision: number) => ({ header: header(revision), events: [put(instance(revision), revision)] })
      const etcd = yield* ScriptedEtcd.make({
        ...begun,
        now: { header: header(12) },
        watches: [[refused], [created, news(11)], [refused], [created, news(12)]]
      })
      const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url], wait: "50 millis" })
      const deltas = yield* registry.watch.pipe(
        Stream.filter(({ _tag }) => _tag === "Delta"),
        Stream.take(2),
        Stream.runCollect,
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(deltas.length, 2)
      const from = etcd.asked.filter(({ path }) => path === "watch").map(({ body }) => body["start_revision"])
      assert.deepStrictEqual(from.slice(0, 4), [11, 11, 12, 12])
    }))

  it.live("E2 a watch begins close behind the cluster, however much happens elsewhere", () =>
    Effect.gen(function*() {
      const created = { header: header(9000), created: true }
      const etcd = yield* ScriptedEtcd.make({
        list: { header: header(10) },
        now: { header: header(9000) },
        written: { header: header(9000) },
        watches: [[created]],
        open: true
      })
      const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url], wait: "50 millis" })
      yield* Effect.forkScoped(Stream.runDrain(registry.watch))
      const from = () => etcd.asked.filter(({ path }) => path === "watch").map(({ body }) => body["start_revision"])
      yield* eventually(Effect.sync(() => from().length >= 3))
      assert.deepStrictEqual(from().slice(0, 3), [11, 9001, 9001])
      assert.strictEqual(etcd.asked.filter(({ body }) => "min_mod_revision" in body).length, 1)
    }))

  it.live("how a record went is left open where etcd doesn't say", () =>
    Effect.gen(function*() {
      const gone = (n: number, before?: object) => {
        const { kv } = put(instance(n), 11)
        return { type: "DELETE", kv: { key: kv.key, mod_revision: "11" }, prev_kv: before && { ...kv, ...before } }
      }
      // What it answers to the question about the lease speaks of none.
      const events = [gone(1, { lease: "7" }), gone(2), gone(3, {})]
      const { url } = yield* ScriptedEtcd.make({
        list: { header: header(10), kvs: [1, 2, 3].map((n) => put(instance(n), n).kv) },
        watches: [[{ header: header(10), created: true }, { header: header(11), events }]]
      })
      const { said } = yield* failure({ endpoints: [url] })
      assert.deepStrictEqual(
        said.flatMap((event) => event._tag === "Delta" ? event.changes : []),
        [
          { _tag: "Removed", id: "weather-1", how: "unknown" },
          { _tag: "Removed", id: "weather-2", how: "unknown" },
          { _tag: "Removed", id: "weather-3", how: "deregistered" }
        ]
      )
    }))

  it.live("who has an id next is read as of the moment when it became free", () =>
    Effect.gen(function*() {
      const [first, second] = ["climate", "weather"].map((service, index) => {
        const { kv } = put({ ...instance(1), service }, index + 1)
        return { ...kv, value: EtcdBackend.base64("10.0.0.1:80") }
      })
      const removal = { type: "DELETE", kv: { key: first?.key, mod_revision: "11" }, prev_kv: first }
      const etcd = yield* ScriptedEtcd.make({
        list: { header: header(10), kvs: [first, second] },
        watches: [[{ header: header(10), created: true }, { header: header(20), events: [removal] }]]
      })
      yield* failure({ endpoints: [etcd.url] })
      assert.deepStrictEqual(etcd.asked.flatMap(({ body, path }) => path === "kv/txn" ? body["success"] : []), [
        { request_range: { key: second?.key, revision: 11 } }
      ])
    }))

  it.live("a member that lags behind is not one that was restored", () =>
    Effect.gen(function*() {
      const etcd = yield* ScriptedEtcd.make({
        ...begun,
        watches: [[{ header: header(4), created: true }, { header: header(11), events: [put(instance(1), 11)] }]]
      })
      const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url] })
      const events = yield* registry.watch.pipe(Stream.take(3), Stream.runCollect, Effect.timeout("10 seconds"))
      assert.deepStrictEqual(events.map(({ _tag }) => _tag), ["Snapshot", "Alive", "Delta"])
    }))

  it.live("E11, E12 a session that begins with less than another heard of says that data were lost", () =>
    Effect.gen(function*() {
      const lists = [
        { header: header(10) },
        { header: header(10) },
        { header: header(12) },
        { header: header(11) },
        { header: { ...header(20), cluster_id: "another" } }
      ]
      const lost: Array<boolean | undefined> = []
      const etcd = yield* ScriptedEtcd.make({
        get list() {
          return lists.shift() ?? { header: header(0) }
        }
      })
      const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url] })
      for (const _ of Array.from(lists)) {
        const first = yield* Effect.flatMap(Stream.runHead(registry.watch), Effect.fromOption)
        lost.push(first._tag === "Snapshot" ? first.dataLost : undefined)
      }
      assert.deepStrictEqual(lost, [false, false, false, true, true])
    }))

  for (
    const [title, kv, lost] of [
      ["written before what was heard last, and never seen", put(instance(1), 9).kv, true],
      ["created before that, and written since", { ...put(instance(1), 12).kv, create_revision: "9" }, true],
      ["created since", put(instance(1), 12).kv, false],
      ["written since", { ...put(instance(1), 12).kv, create_revision: "2" }, false],
      ["as it was", put(instance(1), 2).kv, false]
    ] as const
  ) {
    it.live(`E11 a session that begins with a key ${title}: ${lost ? "data were lost" : "nothing was lost"}`, () =>
      Effect.gen(function*() {
        const before = { header: header(10), kvs: [put(instance(1), 2).kv, put(instance(2), 3).kv] }
        const lists = [before, { header: header(12), kvs: [kv] }]
        const etcd = yield* ScriptedEtcd.make({
          get list() {
            return lists.shift() ?? before
          }
        })
        const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url] })
        yield* Stream.runHead(registry.watch)
        const first = yield* Effect.flatMap(Stream.runHead(registry.watch), Effect.fromOption)
        assert.strictEqual(first._tag === "Snapshot" && first.dataLost, lost)
      }))
  }

  it.live("E11 what a session heard of and didn't come to judge is no sign of lost data", () =>
    Effect.gen(function*() {
      const begun = { header: header(10), kvs: [] }
      const lists = [begun, { header: header(12), kvs: [put(instance(1), 11).kv] }]
      const etcd = yield* ScriptedEtcd.make({
        get list() {
          return lists.shift() ?? begun
        },
        watches: [[{ header: header(10), created: true }, { header: header(11), events: [put(instance(1), 11)] }]],
        open: true
      })
      const reading = yield* Deferred.make<void>()
      const { read, write } = RecordFormat.plain
      let reads = 0
      // The first time it takes for ever.
      const format: RecordFormat.RecordFormat = {
        read: (text, place) =>
          ++reads === 1 ? Effect.andThen(Deferred.succeed(reading, undefined), Effect.never) : read(text, place),
        write
      }
      const registry = yield* EtcdRegistry.make({ endpoints: [etcd.url], format })
      const session = yield* Effect.forkChild(Stream.runDrain(registry.watch))
      yield* Deferred.await(reading)
      yield* Fiber.interrupt(session)
      const first = yield* Effect.flatMap(Stream.runHead(registry.watch), Effect.fromOption)
      assert.strictEqual(reads, 2)
      assert.strictEqual(first._tag === "Snapshot" && first.dataLost, false)
    }))

  it.live("refused credentials are told apart, whatever status etcd wraps them in", () =>
    Effect.gen(function*() {
      for (
        const [status, code, error, advice] of [
          [401, 16, "etcdserver: invalid auth token", ""],
          [403, 7, "etcdserver: permission denied", ": the user needs a role that may read and write the prefix"],
          [400, 3, "etcdserver: user name is empty", ": set username and password"]
        ] as const
      ) {
        const { url } = yield* ScriptedEtcd.make({ ...begun, status, list: { error, code } })
        const registry = yield* EtcdRegistry.make({ endpoints: [url] })
        const failed = yield* Effect.flip(registry.list)
        assert.strictEqual(failed.unauthorized, true)
        assert.strictEqual(failed.message, `etcd: list: ${error}${advice}`)
      }
    }))

  it.live("an answer of something else is one clear line", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedEtcd.make({ list: "<html>" })
      const registry = yield* EtcdRegistry.make({ endpoints: [url] })
      assert.include((yield* Effect.flip(registry.list)).message, "etcd: list: etcd's answer to kv/range can't be read")
    }))
})

describe("settings", () => {
  const cases = [
    [{ endpoints: [] }, "endpoints: expected http(s) URLs of etcd members"],
    [{ endpoints: ["localhost:2379"] }, "endpoints: expected http(s) URLs of etcd members, not \"localhost:2379\""],
    [
      { endpoints: ["http://10.0.0.1:2379", "http://user:secret@10.0.0.2:2379"] },
      "endpoints: the user of 10.0.0.2:2379 belongs in username and password"
    ],
    [{ endpoints: ["ftp://user:secret@h"] }, "endpoints: expected http(s) URLs of etcd members, not \"ftp://h\""],
    [{ endpoints: ["ftp://user:sec/r@t@h"] }, "endpoints: expected http(s) URLs of etcd members, not \"ftp://h\""],
    [
      { endpoints: ["http://10.0.0.1:2379"], tls: {} },
      "tls: expected https endpoints, not http://10.0.0.1:2379"
    ],
    [{ endpoints: ["http://h"], username: "portolan" }, "username and password belong together"]
  ] as const
  for (const [options, expected] of cases) {
    it.effect(`a mistake is named: ${expected}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(EtcdRegistry.make(options))
        assert.strictEqual(error.message, `etcd: open: ${expected}`)
      }))
  }

  it.live("a dead endpoint is named", () =>
    Effect.gen(function*() {
      const registry = yield* EtcdRegistry.make({ endpoints: ["http://127.0.0.1:1"] })
      assert.strictEqual(
        (yield* Effect.flip(registry.list)).message,
        "etcd: list: etcd at http://127.0.0.1:1 can't be reached: connect ECONNREFUSED 127.0.0.1:1"
      )
    }))
})
