import { assert, describe, it } from "@effect/vitest"
import { Identification } from "@portolan/core/Identification"
import * as Effect from "effect/Effect"
import * as Scan from "../src/Scan.ts"
import { free, layer, listen, says, understanding } from "./fixtures/hosts.ts"

const found = ({ found }: Scan.Progress) => found.map(({ instance }) => `${instance.service} ${instance.id}`)

describe("N9: a server that is reached by several addresses", () => {
  it.live("is found once, at the first of them, where it can prove it", () =>
    Effect.gen(function*() {
      const port = yield* free
      for (const n of [1, 2, 3, 4]) yield* listen(`127.0.1.${n}`, port, says({ name: "w", session: n < 3 ? "a" : "b" }))
      for (let scan = 0; scan < 5; scan++) {
        const result = yield* Scan.result({ networks: ["127.0.1.0/29"], ports: [port] })
        assert.deepStrictEqual(found(result), [`w 127.0.1.1:${port}/mcp`, `w 127.0.1.3:${port}/mcp`])
        assert.deepStrictEqual(result.found[0]?.also, [`http://127.0.1.2:${port}/mcp`])
      }
    }).pipe(Effect.provide(layer)))

  it.live("is found once where it listens at all addresses of this machine, though it knows no session", () =>
    Effect.gen(function*() {
      const { port } = yield* listen("0.0.0.0", 0, says({ name: "w" }))
      const result = yield* Scan.result({ networks: ["127.0.1.0/28"], ports: [port] })
      assert.deepStrictEqual(found(result), [`w ${result.found[0]?.instance.id}`])
      assert.strictEqual(result.found[0]?.also.length, result.open - 1)
      assert.isAbove(result.open, 10)
    }).pipe(Effect.provide(layer)))

  it.live("is not taken for one that says the same of itself", () =>
    Effect.gen(function*() {
      const port = yield* free
      for (const n of [1, 2, 3]) yield* listen(`127.0.1.${n}`, port, says({ name: "w" }))
      const result = yield* Scan.result({ networks: ["127.0.1.0/29"], ports: [port] })
      assert.strictEqual(result.found.length, 3)
    }).pipe(Effect.provide(layer)))

  it.live("is another where it doesn't answer whether it is the same one", () =>
    Effect.gen(function*() {
      const port = yield* free
      for (const n of [1, 2]) yield* listen(`127.0.1.${n}`, port, says({ name: "w" }))
      const identification = Identification.of({
        identify: (address, bounds) =>
          Effect.map(understanding().identify(address, bounds), (identified) => ({
            ...identified,
            isAlso: () => Effect.never
          }))
      })
      const options = { networks: ["127.0.1.0/30"], ports: [port], identifyTimeout: "50 millis" } as const
      const result = yield* Effect.provideService(Scan.result(options), Identification, identification)
      assert.strictEqual(result.found.length, 2)
    }))
})
