/** The laws on a real deployment of Redis, which all of them share. */
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe } from "vitest"
import * as RedisBackend from "./RedisBackend.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)

export const suite = <A, E>(
  name: string,
  start: (options: Redis.RedisOptions) => Effect.Effect<A, E, Scope.Scope>,
  backend: (deployment: A) => Effect.Effect<RedisBackend.RedisBackend, unknown, Scope.Scope>
): void => {
  if (unavailable !== undefined) {
    console.log(`laws of ${name} skipped: ${unavailable}`)
    describe.skip(`laws of ${name} [skipped: ${unavailable}]`)
    return
  }
  const scope = Scope.makeUnsafe()
  let deployment: A
  beforeAll(async () => {
    deployment = await Effect.runPromise(Scope.provide(start({ config: RedisBackend.config }), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  RegistryLaws.suite(name, ({ options }) => RedisRegistry.make(options), {
    controls: Effect.suspend(() => backend(deployment)),
    // Records are read one by one.
    lacks: ["batch"]
  })
}
