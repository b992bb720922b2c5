import { assert, describe, it } from "@effect/vitest"
import { Gateway } from "@portolan/gateway/Gateway"
import { EventFeed } from "@portolan/gateway/rest/EventFeed"
import * as Webhooks from "@portolan/gateway/rest/Webhooks"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createServer } from "node:http"
import { Webhook as Verifier } from "standardwebhooks"
import { instance } from "./fleet.ts"
import { record, rest, until } from "./rest.ts"

interface Delivery {
  readonly headers: Record<string, string>
  readonly body: string
}

/** A receiver that answers as told, and keeps what came. */
const receiver = (
  answer: (delivery: Delivery, before: number) => number = () => 204
): Effect.Effect<{ readonly url: string; readonly got: Array<Delivery> }, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ url: string; got: Array<Delivery>; close: () => void }>((resume) => {
        const got: Array<Delivery> = []
        const server = createServer((request, response) => {
          let body = ""
          request.setEncoding("utf8").on("data", (text: string) => body += text).on("end", () => {
            const headers = Object.fromEntries(
              Object.entries(request.headers).map(([name, value]) => [name, String(value)])
            )
            const delivery = { headers, body }
            response.writeHead(answer(delivery, got.length)).end()
            got.push(delivery)
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({
            url: `http://127.0.0.1:${port}/hook?token=open-sesame`,
            got,
            close: () => {
              server.close()
              server.closeAllConnections()
            }
          }))
        })
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ got, url }) => ({ url, got })
  )

const told = (webhooks: ReadonlyArray<Webhooks.Webhook>) => ({ instances: [instance("weather-a")], webhooks })

describe("webhooks", () => {
  it.live("are told of changes, signed as Standard Webhooks are", () =>
    Effect.gen(function*() {
      const secret = `whsec_${Buffer.from("a secret of some length").toString("base64")}`
      const { got, url } = yield* receiver()
      const headers = { "x-tenant": "acme" }
      yield* rest(told([{ url, headers, secret, topics: ["catalog"] }]), ({ send }) =>
        Effect.gen(function*() {
          yield* send("POST", "/instances", record("late"))
          yield* until(Effect.sync(() => got.some(({ body }) => body.includes("\"late\""))))
        }))
      const verifier = new Verifier(secret)
      for (const { body, headers } of got) {
        verifier.verify(body, headers)
        assert.strictEqual(headers["x-tenant"], "acme")
        assert.strictEqual(JSON.parse(body).type, "catalog")
        assert.throws(() => verifier.verify(`${body} `, headers))
      }
      const first = got.find(({ body }) => body.includes("\"late\""))
      assert.deepInclude(JSON.parse(first?.body ?? "").data.changes[0], { type: "added" })
    }).pipe(Effect.scoped), 30_000)

  it.live("are told again under the same id where they fail, and not where they refuse", () =>
    Effect.gen(function*() {
      const failing = yield* receiver((_, before) => before < 2 ? 503 : 204)
      const refusing = yield* receiver(() => 410)
      const topics = ["catalog"] as const
      yield* rest(told([{ url: failing.url, topics }, { url: refusing.url, topics }]), ({ send }) =>
        Effect.gen(function*() {
          yield* send("POST", "/instances", record("one"))
          yield* until(Effect.sync(() =>
            failing.got.length >= 3
          ))
          yield* send("POST", "/instances", record("two"))
          yield* until(Effect.sync(() => refusing.got.some(({ body }) => body.includes("\"two\""))))
        }))
      const ids = failing.got.slice(0, 3).map(({ headers }) => headers["webhook-id"])
      assert.deepStrictEqual(new Set(ids).size, 1)
      const refused = refusing.got.map(({ headers }) => headers["webhook-id"])
      assert.strictEqual(new Set(refused).size, refused.length, "each once")
    }).pipe(Effect.scoped), 30_000)

  it.live(
    "that missed events are told how things are, and of no beginning that is no news",
    () =>
      Effect.gen(function*() {
        const { got, url } = yield* receiver()
        const events = [
          "retry: 2000\n\nid: a.1\nevent: snapshot\ndata: {\"at\":1}\n\n",
          "id: a.1\nevent: beat\ndata: {}\n\nevent: resync\ndata: {\"reason\":\"too slow\"}\n\nid: a.9\neve",
          "nt: snapshot\ndata: {\"at\":2}\n\nid: a.10\nevent: health\ndata: {\"at\":3}\n\n"
        ]
        const feed = EventFeed.of({
          watchers: () => 1,
          open: () =>
            Effect.succeed(Stream.concat(
              Stream.fromIterable(events.map((text) => Buffer.from(text))),
              Stream.never
            ))
        })
        yield* Layer.build(Webhooks.layer([{ url }]).pipe(Layer.provide(Layer.succeed(EventFeed, feed))))
        yield* until(Effect.sync(() => got.length >= 2))
        assert.deepStrictEqual(
          got.map(({ body, headers }) => [headers["webhook-id"], JSON.parse(body).type, JSON.parse(body).data]),
          [["msg_a.9", "snapshot", { at: 2 }], ["msg_a.10", "health", { at: 3 }]]
        )
      }).pipe(Effect.scoped),
    30_000
  )

  it.live("are replaced while the gateway runs", () =>
    Effect.gen(function*() {
      const one = yield* receiver()
      const other = yield* receiver()
      yield* rest(told([{ url: one.url }]), ({ send }) =>
        Effect.gen(function*() {
          yield* send("POST", "/instances", record("first"))
          yield* until(Effect.sync(() => one.got.some(({ body }) => body.includes("\"first\""))))
          const gateway = yield* Gateway
          yield* gateway.reconfigure({ port: 0, webhooks: [{ url: other.url }] })
          yield* send("POST", "/instances", record("second"))
          yield* until(Effect.sync(() => other.got.some(({ body }) => body.includes("\"second\""))))
          assert.isFalse(one.got.some(({ body }) => body.includes("\"second\"")))
        }))
    }).pipe(Effect.scoped), 30_000)
})
