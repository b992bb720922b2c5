/**
 * What a real gateway answers and tells is what the dashboard was written for: it decodes by the gateway's own schemas, and
 * what the dashboard's model makes of it is what the gateway says of itself.
 */
import { assert, describe, it } from "@effect/vitest"
import { Change } from "@portolan/gateway/rest/Changes"
import * as Events from "@portolan/gateway/rest/Events"
import { ExplanationView } from "@portolan/gateway/rest/ExplanationView"
import { FleetHealth } from "@portolan/gateway/rest/FleetHealth"
import { InstanceHealth } from "@portolan/gateway/rest/InstanceHealth"
import { ReportView } from "@portolan/gateway/rest/ReportView"
import {
  AccessView,
  ConfigurationView,
  HealthDetail,
  InstanceView,
  ServiceHealth,
  ServiceView,
  StatusView,
  ToolView,
  ValidationView
} from "@portolan/gateway/rest/Representations"
import { Report } from "@portolan/gateway/rest/Series"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { MessageReader } from "../../../dashboard/src/fleet/eventStream.ts"
import { Model } from "../../../dashboard/src/fleet/model.ts"
import type { Frame } from "../../../dashboard/src/fleet/rows.ts"
import { empty, type View, withFrame } from "../../../dashboard/src/fleet/view.ts"
import { record, registry } from "../fleet.ts"
import { directory, until } from "../process.ts"
import { replica } from "../replicas.ts"
import { broken, scene, settled, traffic } from "./scenes.ts"

const decoded = <S extends Schema.Top & { readonly DecodingServices: never }>(schema: S) =>
  Schema.decodeUnknownSync(schema, { onExcessProperty: "error" })

const event = decoded(Events.Sent)
const list = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.optionalKey(Schema.String) })

/** A page of the dashboard without its pixels: the model, and what its frames come to. */
const watching = async (url: string, signal: AbortSignal, lastEventId?: string) => {
  const model = new Model()
  let view: View = empty
  const faults: Array<string> = []
  const seen = new Set<string>()
  let last: string | undefined
  const take = (frame: Frame | undefined) => {
    if (frame !== undefined) view = withFrame(view, frame)
  }
  const headers = lastEventId === undefined ? {} : { "last-event-id": lastEventId }
  const { body } = await fetch(`${url}/api/v1/events`, { headers, signal })
  const read = async () => {
    const messages = new MessageReader()
    for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      for (const { id, ...message } of messages.read(piece)) {
        const told = event(id === undefined ? message : { ...message, id })
        seen.add(told.event)
        last = id ?? last
        if (told.event !== "resync" && !model.apply(told, Date.parse(told.data.at))) {
          faults.push(`${id} is no next event`)
        }
        const frame = model.take(Date.now(), 0)
        if (view.ready) take(frame)
        else model.whole(Date.now(), 0).forEach(take)
      }
    }
  }
  read().catch((cause) => {
    if (!signal.aborted) faults.push(String(cause))
  })
  return { faults, last: () => last, model, seen, take: () => take(model.take(Date.now(), 0)), view: () => view }
}

const get = async <S extends Schema.Top & { readonly DecodingServices: never }>(
  url: string,
  path: string,
  schema: S
) => {
  const answer = await fetch(`${url}/api/v1/${path}`)
  assert.strictEqual(answer.status, 200, path)
  return decoded(schema)(await answer.json())
}

describe("contract", () => {
  it.live("events and answers decode, and the model says what the gateway says", () =>
    Effect.gen(function*() {
      const folder = yield* directory()
      const [one, two] = yield* Effect.all([replica(`${folder}/log`), replica(`${folder}/log`)], { concurrency: 2 })
      const of = (id: string, url: string) => ({ ...record(id, url), service: "look", region: "eu-west-1" })
      const other = registry({ ...record("far", two.url.replace("127.0.0.1", "localhost")), region: "us-west-2" })
      const { announce, url } = yield* scene(
        { local: registry(of("look-one", one.url), of("look-two", two.url)), other },
        { health: { interval: "500ms", fall: 1, ejection: { baseTime: "1m" } } }
      )
      yield* settled(url, { healthy: 3 })
      const signal = yield* Effect.abortSignal
      const page = yield* Effect.promise(() => watching(url, signal))
      yield* traffic(url, [{ tool: "look__look", rate: 20 }, { tool: "far__look", rate: 5 }])
      const shown = (id: string, state: string) =>
        until(Effect.sync(() => page.view().instances.rows.some((row) => row.id === id && row.state === state)), 20_000)

      yield* shown("look-one", "healthy")
      // Instances come, change, are marked, fail and go; a source is lost and comes back.
      const put = (path: string, body: object) =>
        Effect.promise(() =>
          fetch(`${url}/api/v1/${path}`, {
            method: "PUT",
            headers: { "content-type": "application/json" },
            body: JSON.stringify(body)
          }).then((answer) => assert.isTrue(answer.ok, String(answer.status)))
        )
      yield* put("instances/extra?ttl=1h", of("extra", two.url))
      yield* shown("extra", "healthy")
      yield* put("instances/look-two/mark", { as: "draining", reason: "kernel update" })
      yield* shown("look-two", "draining")
      announce("other", broken)
      yield* shown("far", "stale")
      yield* one.kill
      yield* until(
        Effect.sync(() => page.view().instances.rows.some(({ id, routable }) => id === "look-one" && !routable)),
        20_000
      )
      announce(
        "local",
        registry(of("look-one", one.url), { ...of("look-two", two.url), region: "eu-north-1", weight: 2 })
      )
      yield* until(Effect.sync(() => page.view().regions.includes("eu-north-1")), 20_000)
      announce("other", other)
      yield* shown("far", "healthy")
      yield* until(
        Effect.sync(() => (page.view().totals?.calls ?? 0) > 20 && (page.view().totals?.rate ?? 0) > 1),
        20_000
      )

      yield* Effect.promise(async () => {
        const report = await get(url, "report?top=11", ReportView)
        page.model.report(report)
        page.model.status(await get(url, "status", StatusView))
        page.model.seed(await get(url, "reports/series?window=1m", Report))
        const { items } = await get(url, "changes?limit=200", list(Change))
        page.model.changes(items)
        page.take()
        const { callers, changes, instances, services, status, totals } = page.view()
        assert.deepStrictEqual(callers.map(({ caller }) => caller), ["anonymous"])
        assert.strictEqual(status?.tools, 4)
        assert.deepStrictEqual(changes.map(({ id }) => id), items.map(({ id }) => id))
        for (const to of ["added", "draining", "stale", "updated"]) {
          assert.isTrue(changes.some((change) => change.to === to), `nothing became ${to}`)
        }

        const announced = await get(url, "instances?limit=1000", list(InstanceView))
        assert.deepStrictEqual(
          instances.rows.map(({ id, region, service, source, since }) => [service, id, source, region, since]),
          announced.items.map((
            { health, id, region, service, source }
          ) => [service, id, source, region ?? "", Date.parse(health.changedAt)])
        )
        const health = await get(url, "health", FleetHealth)
        assert.deepStrictEqual([totals?.instances, totals?.routable], [health.instances, health.available])
        assert.strictEqual(totals?.states.draining, health.statuses.draining)
        assert.strictEqual((totals?.states.unhealthy ?? 0) + (totals?.states.ejected ?? 0), health.statuses.unhealthy)
        const summaries = await get(url, "services?limit=1000", list(ServiceView))
        assert.deepStrictEqual(
          services.rows.map(({ instances, kind, name, routable, sources, tags, versions }) => ({
            name,
            kind,
            instances,
            available: routable,
            sources,
            tags,
            versions
          })),
          summaries.items.map(({ available, instances, kind, name, sources, tags, versions }) => ({
            name,
            kind,
            instances,
            available,
            sources,
            tags,
            versions
          }))
        )
      })
      yield* Effect.promise(async () => {
        const { items: tools } = await get(url, "tools?limit=1000", list(ToolView))
        assert.strictEqual(tools.length, 4)
        const tool = await get(url, "tools/look__look", ToolView)
        assert.deepStrictEqual(tool, tools.find(({ name }) => name === "look__look"))
        const own = await get(url, "services/look/tools?limit=1000", list(ToolView))
        assert.deepStrictEqual(own.items, tools.filter(({ service }) => service === "look"))

        const marked = await get(url, "instances/look-two/health?source=local", InstanceHealth)
        assert.strictEqual(marked.mark?.reason, "kernel update")
        assert.isAbove(marked.history.checks.length, 0)
        const { instances } = await get(url, "services/look/health", ServiceHealth)
        assert.sameMembers(instances.map(({ id }) => id), ["extra", "look-one", "look-two"])
        const checked = await fetch(`${url}/api/v1/instances/extra/check`, { method: "POST" })
        assert.strictEqual(decoded(HealthDetail)(await checked.json()).id, "extra")

        const why = await get(url, "explain?tool=look__look", ExplanationView)
        assert.deepStrictEqual(why.leftOut.map(({ instance }) => instance).sort(), ["look-one", "look-two"])
        const { settings } = await get(url, "configuration", ConfigurationView)
        assert.isTrue(settings.some(({ origin, path }) => path === "health.interval" && origin === "file"))
        const page = encodeURIComponent(url)
        assert.strictEqual((await get(url, `access?origin=${page}`, AccessView)).writes, "allowed")
        const verdict = await fetch(`${url}/api/v1/configuration/validate`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ text: "health: { intervall: 3s }" })
        })
        const { mistakes } = decoded(ValidationView)(await verdict.json())
        assert.deepStrictEqual(mistakes.map(({ path }) => path), ["health.intervall"])
      })
      yield* until(Effect.sync(() => page.seen.has("beat")), 10_000)
      assert.deepStrictEqual(page.faults, [])
      assert.deepStrictEqual(Array.from(page.seen).sort(), [
        "beat",
        "catalog",
        "figures",
        "health",
        "snapshot",
        "sources"
      ])

      // Who was away for a moment misses nothing, and gets no snapshot.
      const again = yield* Effect.promise(() => watching(url, signal, page.last()))
      yield* put("instances/look-two/mark", { as: "up" })
      yield* until(Effect.sync(() => again.seen.has("health")), 20_000)
      assert.isFalse(again.seen.has("snapshot"))
      assert.deepStrictEqual(again.faults, [])
    }).pipe(Effect.scoped), 90_000)
})
