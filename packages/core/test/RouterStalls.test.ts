/** What a stall of our own event loop must not do to calls. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { Worker } from "node:worker_threads"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = Router.layer().pipe(
  Layer.provideMerge(Health.layer()),
  Layer.provideMerge(Balancer.layer()),
  Layer.provideMerge(layer)
)

// Answers each message after 50 ms, from a thread that doesn't stand still when ours does.
const server = `
  const { parentPort } = require("node:worker_threads")
  require("node:net")
    .createServer((socket) => socket.on("data", (data) => setTimeout(() => socket.write(data), 50)))
    .listen(0, "127.0.0.1", function () { parentPort.postMessage(this.address().port) })
`

const connected = Effect.acquireRelease(
  Effect.promise(async () => {
    const worker = new Worker(server, { eval: true })
    const [port] = await once(worker, "message")
    const socket = connect(Number(port), "127.0.0.1")
    await once(socket, "connect")
    return { socket, worker }
  }),
  ({ socket, worker }) =>
    Effect.promise(async () => {
      socket.destroy()
      await worker.terminate()
    })
)

const ask = (socket: Socket) =>
  Effect.callback<string>((resume) => {
    const hear = (data: Buffer) => resume(Effect.succeed(String(data)))
    socket.once("data", hear)
    socket.write("answer")
    return Effect.sync(() => void socket.off("data", hear))
  })

const block = (ms: number) => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

describe("a stall of our own event loop", () => {
  it.live("doesn't make a call too late whose answer is there", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleet.put(instance("a"))
      const { socket } = yield* connected
      const fiber = yield* Effect.forkChild(
        router.route({ target: { service: "weather" }, repeatable: true, timeout: 500 }, () => ask(socket)),
        { startImmediately: true }
      )
      // The question leaves, then nothing is heard for longer than the call may take.
      yield* Effect.sleep("20 millis")
      block(1_200)
      assert.strictEqual((yield* Fiber.join(fiber)).value, "answer")
      assert.notStrictEqual(health.get(key("a")).successRate, 0)
    }).pipe(Effect.provide(live)))

  it.live("tells the balancer nothing of the latency, and makes no failure of a time-out", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      const balancer = yield* Balancer.Balancer
      yield* fleet.put(instance("a"))
      const { socket } = yield* connected
      const begin = (timeout: number, attempt: Effect.Effect<string>) =>
        Effect.forkChild(
          Effect.exit(router.route({ target: { service: "weather" }, repeatable: true, timeout }, () => attempt)),
          { startImmediately: true }
        )
      const answered = yield* begin(5_000, ask(socket))
      const late = yield* begin(500, Effect.never)
      yield* Effect.sleep("20 millis")
      block(1_200)
      assert.strictEqual((yield* Fiber.join(answered))._tag, "Success")
      assert.strictEqual((yield* Fiber.join(late))._tag, "Failure")
      const node = balancer.node(key("a"), instance("a"))
      assert.isBelow(node.latency, 500)
      assert.strictEqual(node.failures, 0)
      assert.strictEqual(node.inFlight, 0)
      assert.strictEqual(health.get(key("a")).successRate, 1)
    }).pipe(Effect.provide(live)))
})
