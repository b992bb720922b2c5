/**
 * Follows a list that changes: one server at first, then two, then the second alone.
 */
import * as Discovery from "@portolan/core/Discovery"
import * as Portolan from "@portolan/core/Portolan"
import { Console, Effect, Layer, Stream } from "effect"
import { createServer } from "node:http"
import * as ListingRegistry from "./ListingRegistry.ts"

const weather = (id: string) => ({
  id,
  service: "weather",
  endpoint: { transport: "streamable-http", url: `http://${id}.internal/mcp` }
})

const lists = [[weather("a")], [weather("a"), weather("b")], [weather("b")]]

/** Serves the next list with each request, and the last from then on. */
const Listing = Effect.acquireRelease(
  Effect.callback<string>((resume) => {
    const server = createServer((_, response) => {
      response.end(JSON.stringify(lists.length > 1 ? lists.shift() : lists[0]))
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed(`http://127.0.0.1:${typeof address === "object" ? address?.port : address}`))
    })
    server.unref()
  }),
  () => Effect.void
)

const Live = Layer.unwrap(Effect.map(Listing, (url) => ListingRegistry.layer({ url, every: "500 millis" }))).pipe(
  Layer.provideMerge(Portolan.layer())
)

const program = Effect.gen(function*() {
  const discovery = yield* Discovery.Discovery
  yield* discovery.updates.pipe(
    Stream.flatMap(({ changes }) => Stream.fromIterable(changes)),
    Stream.take(3),
    Stream.runForEach(({ _tag, entry }) => Console.log(_tag, entry.instance.id))
  )
})

await Effect.runPromise(Effect.provide(program, Live))
