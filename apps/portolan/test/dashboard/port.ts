/**
 * The small harbour that tests of the live page look at: one service of two processes, and a second source.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { record, registry } from "../fleet.ts"
import { directory } from "../process.ts"
import { replica } from "../replicas.ts"
import { type Scene, scene, settled, traffic } from "./scenes.ts"

/** Two processes behind the service `look`, and a file as a second source. */
export class Port extends Context.Service<Port, {
  readonly scene: Scene
  readonly kill: Effect.Effect<void>
  readonly far: string
}>()("portolan/test/dashboard/Port") {
  static readonly layer = Layer.effect(
    Port,
    Effect.gen(function*() {
      const folder = yield* directory()
      const [one, two] = yield* Effect.all([replica(`${folder}/log`), replica(`${folder}/log`)], { concurrency: 2 })
      const of = (id: string, url: string) => ({ ...record(id, url), service: "look", region: "eu-west-1" })
      const far = registry({ ...record("far", two.url.replace("127.0.0.1", "localhost")), region: "us-west-2" })
      const made = yield* scene({ local: registry(of("look-one", one.url), of("look-two", two.url)), other: far }, {
        health: { interval: "500ms", fall: 1 }
      })
      yield* traffic(made.url, [{ tool: "look__look", rate: 10 }])
      yield* settled(made.url, { healthy: 3 })
      return { scene: made, kill: one.kill, far }
    })
  )
}
