import { assert, describe, it } from "vitest"
import type { ChangeRow } from "../src/fleet/rows.ts"
import { isApart, isAsked, merged, viewOf, views } from "../src/pages/events/views.ts"

const change = (id: string, more: Partial<ChangeRow> = {}): ChangeRow => ({
  id,
  at: 1,
  kind: "instance",
  to: "healthy",
  service: "weather",
  instance: `weather-${id}`,
  source: "consul",
  reason: "check passed",
  ...more
})
const ids = (rows: ReadonlyArray<ChangeRow>) => rows.map(({ id }) => id)

describe("events", () => {
  it("are merged once each, the newest first", () => {
    const known = [change("3"), change("2"), change("1")]
    assert.deepEqual(ids(merged([change("5"), change("4"), change("3")], known)), ["5", "4", "3", "2", "1"])
    assert.strictEqual(merged([change("3"), change("2")], known), known)
    assert.deepEqual(ids(merged([change("1")], [])), ["1"])
    const many = Array.from({ length: 2_000 }, (_, at) => change(String(9_000 - at)))
    assert.strictEqual(merged([change("9001")], many).length, 2_000)
  })

  it("have a gap where the newer ones begin after the known ones end", () => {
    assert.isTrue(isApart([change("9"), change("8")], [change("3")]))
    assert.isFalse(isApart([change("9"), change("3")], [change("3")]))
    assert.isFalse(isApart([], [change("3")]))
    assert.isFalse(isApart([change("9")], []))
  })

  it("are asked for by service and by words of all they say", () => {
    const rows = [
      change("1", { to: "ejected", reason: "ejected for 10s: refused" }),
      change("2", { service: "db", instance: "db-1" }),
      change("3", {
        kind: "source",
        service: undefined,
        instance: undefined,
        to: "stale",
        reason: "lost: ECONNREFUSED"
      })
    ]
    const found = (service: string, text: string) => ids(rows.filter(isAsked({ service, text })))
    assert.deepEqual(found("", " "), ["1", "2", "3"])
    assert.deepEqual(found("db", ""), ["2"])
    assert.deepEqual(found("", "REFUSED"), ["1", "3"])
    assert.deepEqual(found("", "refused ejected"), ["1"])
    assert.deepEqual(found("", "consul db"), ["2"])
    assert.deepEqual(found("db", "refused"), [])
  })

  it("are looked at in views that leave none out", () => {
    const rows = [
      change("1", { to: "added" }),
      change("2", { to: "ejected" }),
      change("3", { to: "healthy" }),
      change("4", { kind: "source", to: "stale" }),
      change("5", { kind: "source", to: "removed" })
    ]
    const held = Object.fromEntries(views.map(({ holds, key }) => [key, ids(rows.filter(holds))]))
    assert.deepEqual(held, {
      "": ["1", "2", "3", "4", "5"],
      trouble: ["2", "4"],
      health: ["2", "3"],
      instances: ["1"],
      sources: ["4", "5"]
    })
    assert.strictEqual(viewOf("nonsense").key, "")
  })
})
