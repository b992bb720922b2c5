/**
 * Asks a gateway's REST API.
 */
import { assert } from "@effect/vitest"
import type { Health } from "@portolan/core/Health"
import type { Router } from "@portolan/core/Router"
import { Gateway } from "@portolan/gateway/Gateway"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { type Answer, ask, fleet, type FleetOptions, instance } from "./fleet.ts"

export const Fields = Schema.Record(Schema.String, Schema.Unknown)
export const fields = (value: unknown) => Schema.decodeUnknownSync(Fields)(value)
export const Items = Schema.Struct({ items: Schema.Array(Fields), nextCursor: Schema.optionalKey(Schema.String) })
export const items = (answer: Answer) => Schema.decodeUnknownSync(Items)(answer.json).items
export const names = (answer: Answer) => items(answer).map((item) => item["id"] ?? item["name"])

/** The problem of an answer, which must be one. */
export const problem = (answer: Answer, status: number) => {
  assert.strictEqual(answer.status, status, answer.text)
  assert.strictEqual(answer.headers["content-type"], "application/problem+json", answer.text)
  const told = fields(answer.json)
  assert.strictEqual(told["status"], status)
  assert.strictEqual(typeof told["title"], "string")
  assert.strictEqual(typeof told["type"], "string")
  return { detail: String(told["detail"]), errors: told["errors"], source: told["source"], etag: told["etag"] }
}

export const until = <E, R>(check: Effect.Effect<boolean, E, R>) =>
  check.pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("10 seconds")
  )

export interface Rest {
  readonly port: number
  readonly get: (path: string, headers?: Record<string, string>) => Effect.Effect<Answer, Error>
  readonly send: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>
  ) => Effect.Effect<Answer, Error>
}

export const rest = <A, E>(
  options: FleetOptions,
  use: (rest: Rest) => Effect.Effect<A, E, Gateway | Health | Router>
) =>
  Effect.flatMap(Gateway, ({ port }) =>
    Effect.andThen(
      until(Effect.map(ask(port, "/readyz"), ({ status }) => status === 200)),
      Effect.suspend(() =>
        use({
          port,
          get: (path, headers = {}) => ask(port, `/api/v1${path}`, { headers }),
          send: (method, path, body, headers = {}) =>
            ask(port, `/api/v1${path}`, {
              method,
              headers: { ...body === undefined ? {} : { "content-type": "application/json" }, ...headers },
              ...body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }
            })
        })
      )
    )).pipe(Effect.provide(fleet(options)))

export const record = (id: string, more: object = {}) => ({
  id,
  service: "maps",
  endpoint: { transport: "streamable-http", url: `http://127.0.0.1:1/${id}` },
  ...more
})

export const instances = [
  instance("weather-a", { tags: ["prod"], metadata: { priority: 9 } }),
  instance("weather-b", { region: "eu", metadata: { priority: 1 } }),
  instance("db-1")
]
