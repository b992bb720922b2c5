import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Registry from "../src/Registry.ts"
import { adding, ids, instance, live, put, scripted, state } from "./fixtures/scripted.ts"

const { delta, snapshot } = Registry

const refusal = (
  allow: Registry.AllowList,
  more: Parameters<typeof instance>[1],
  trust: "full" | "limited" = "limited"
) => Registry.refusal({ ...scripted({ name: "partners", trust }).registry, allow }, instance("x", more))

describe("AllowList", () => {
  const table: ReadonlyArray<
    readonly [allow: Registry.AllowList, record: Parameters<typeof instance>[1], reason: RegExp | undefined]
  > = [
    [{}, { service: "anything", capabilities: ["any"], tools: ["all"] }, undefined],
    [{ services: ["weather"] }, { service: "weather", capabilities: ["any"] }, undefined],
    [{ services: ["weather"] }, { service: "weather2" }, /^service: registry "partners" may not announce "weather2"/],
    [{ services: ["news", "weather.*"] }, { service: "weather.eu" }, undefined],
    [{ services: ["weather.*"] }, { service: "weather" }, /`allow\.services` of this registry$/],
    [{ services: ["*.eu"] }, { service: "weather.eu" }, undefined],
    [{ services: ["Weather"] }, { service: "weather" }, /^service: /],
    [{ services: [] }, { service: "weather" }, /^service: /],
    [{ capabilities: ["forecast"] }, {}, undefined],
    [
      { capabilities: ["forecast"] },
      { capabilities: ["forecast", "pay"] },
      /^capabilities: .* announce "pay"; add it to `allow\.capabilities`/
    ],
    [{ capabilities: ["weather.*"] }, { capabilities: ["weather.read"] }, undefined],
    [{ tools: ["get_*"] }, {}, undefined],
    [{ tools: ["get_*"] }, { tools: ["get_forecast", "get_alerts"] }, undefined],
    [{ tools: ["get_*"] }, { tools: ["get_forecast", "pay"] }, /^tools: .* announce "pay"; add it to `allow\.tools`/],
    [{ tools: [] }, { tools: ["pay"] }, /^tools: /],
    // Each part judges its own: a capability may be called what no tool may, and the other way round.
    [{ capabilities: ["weather.*"] }, { capabilities: ["weather.read"], tools: ["pay"] }, undefined],
    [{ tools: ["get_*"] }, { capabilities: ["pay"], tools: ["get_forecast"] }, undefined]
  ]
  for (const [allow, record, reason] of table) {
    it(`${JSON.stringify(allow)}: ${JSON.stringify(record)} is ${reason === undefined ? "taken" : "rejected"}`, () => {
      for (const trust of ["limited", "full"] as const) {
        const told = refusal(allow, record, trust)
        if (reason === undefined) assert.isUndefined(told)
        else assert.match(told ?? "", reason)
      }
    })
  }

  it("says of a tool that a server lists where it would have to be named", () => {
    const refusal = (allow: Registry.AllowList | undefined, trust: "full" | "limited" = "limited") =>
      Registry.toolRefusal({ ...scripted({ name: "partners", trust }).registry, allow }, "pay")
    for (const allow of [undefined, {}, { services: [], capabilities: [] }, { tools: ["get_*", "pay"] }]) {
      assert.isUndefined(refusal(allow))
    }
    for (const trust of ["limited", "full"] as const) {
      for (const tools of [[], ["get_*"], ["pay_*", "Pay"]]) {
        assert.strictEqual(refusal({ tools }, trust), "not in `allow.tools` of registry \"partners\"")
      }
    }
  })

  it.effect("what isn't allowed is rejected with its reason, the rest goes on, and no other registry is concerned", () =>
    Effect.gen(function*() {
      const [partners, ours] = [scripted({ name: "partners" }), scripted({ name: "ours" })]
      const bad = instance("b", { service: "payments" })
      const allow = { services: ["weather"] }
      partners.first = ours.first = Effect.succeed([snapshot([instance("a"), bad])])
      const discovery = yield* adding({ ...partners, registry: { ...partners.registry, allow } }, ours)
      assert.deepStrictEqual(ids(discovery.catalog()), ["ours/b", "partners/a"])
      assert.deepStrictEqual(state(discovery, "partners").rejected.map(({ id }) => id), ["b"])
      assert.isEmpty(state(discovery, "ours").rejected)
      // What is taken once can't be made into something else.
      yield* partners.emit(delta([put(instance("a", { service: "payments" }))]))
      assert.deepStrictEqual(state(discovery, "partners").rejected.map(({ id }) => id), ["b", "a"])
      assert.isUndefined(discovery.catalog().sources.get("partners")?.lastError)
      assert.deepStrictEqual(ids(discovery.catalog()), ["ours/b", "partners/a"])
    }).pipe(Effect.provide(live())))
})
