import * as Discovery from "@portolan/core/Discovery"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Router from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const weather = (id: string) =>
  ServiceInstance.make({
    id,
    service: "weather",
    endpoint: { transport: "streamable-http", url: `http://${id}.internal/mcp` }
  })

const Live = MemoryRegistry.layer({ instances: [weather("weather-1"), weather("weather-2")] }).pipe(
  Layer.provideMerge(Portolan.layer({ balancing: { strategy: "round-robin" } }))
)

const program = Effect.gen(function*() {
  const discovery = yield* Discovery.Discovery
  const router = yield* Router.Router
  yield* discovery.ready
  const { routing, value } = yield* router.route(
    { target: { service: "weather" }, repeatable: true },
    // In the place of a real call: the first attempt fails, the second one answers.
    ({ endpoint }, { number }) =>
      number === 1
        ? Effect.fail({ error: "ECONNREFUSED", phase: "notSent", blame: "instance", reason: "connection refused" })
        : Effect.succeed(`sunny, says a server at ${endpoint.transport}`)
  )
  yield* Console.log(value)
  yield* Console.log(`${routing.attempts} attempts, ${routing.failed.length} failed: ${routing.failed[0]?.reason}`)
})

await Effect.runPromise(Effect.provide(program, Live))
