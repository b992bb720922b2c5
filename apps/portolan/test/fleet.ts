/**
 * What the acceptance tests ask of a running gateway.
 */
import * as Effect from "effect/Effect"
import { createServer } from "node:net"
import { directory, type Running, type RunOptions, up } from "./process.ts"

/** What `portolan status --json` tells, as far as the tests look. */
export interface Status {
  readonly tools: number
  readonly sources: ReadonlyArray<{
    readonly name: string
    readonly state: string
    readonly error?: string
    readonly rejected: ReadonlyArray<{ readonly id: string; readonly reason: string }>
  }>
  readonly problems: ReadonlyArray<{ readonly instance: string; readonly reason: string }>
  readonly hidden: ReadonlyArray<{ readonly name: string; readonly service: string; readonly reason: string }>
}

export const status = ({ url }: Pick<Running, "url">): Effect.Effect<Status> =>
  Effect.promise(async () => {
    const found: Status = JSON.parse(await (await fetch(`${url}/api/v1/status`)).text())
    return found
  })

/** The value of a metric without labels. */
export const metric = ({ url }: Pick<Running, "url">, name: string): Effect.Effect<number> =>
  Effect.promise(async () => {
    const text = await (await fetch(`${url}/metrics`)).text()
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1])
  })

/** A gateway with this configuration and these files beside it. */
export const gateway = (configuration: object, files: Record<string, string> = {}, options: RunOptions = {}) =>
  Effect.gen(function*() {
    const cwd = yield* directory({ ...files, "portolan.json": JSON.stringify(configuration) })
    return { ...(yield* up([], { ...options, cwd })), cwd }
  })

export const record = (id: string, url: string) => ({
  id,
  service: id,
  endpoint: { transport: "streamable-http", url }
})

export const registry = (...services: ReadonlyArray<object>): string => JSON.stringify({ services }, null, 2)

/** How long it took, ms. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<readonly [A, number], E, R> =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, (value) => [value, performance.now() - start] as const)
  })

/** A port that nobody listens on. */
export const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})
