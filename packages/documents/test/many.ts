/** Run in a process of its own: reads a registry again and again, and writes what it held of it. */
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import * as Effect from "effect/Effect"

/** What was read, and by how many MB the heap grew for it. */
export interface Told {
  readonly instances: number
  readonly rejected: number
  /** After everything was read for the first time, and for the second. */
  readonly once: number
  readonly twice: number
}

const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}

const program = Effect.scoped(Effect.gen(function*() {
  const { list } = yield* DocumentsRegistry.make({ mcpRegistry: process.argv[2] ?? "" })
  const before = heap()
  yield* list
  const once = heap() - before
  // What changed, twelve times, and then everything again.
  for (let n = 0; n < 12; n++) yield* list
  const { instances, rejected } = yield* list
  return { instances: instances.length, rejected: rejected.length, once, twice: heap() - before } satisfies Told
}))

console.log(JSON.stringify(await Effect.runPromise(program)))
