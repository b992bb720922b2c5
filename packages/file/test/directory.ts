/** A directory of one test's own, and the files in it as an operator writes them. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"

export const make = Effect.acquireRelease(
  Effect.promise(async () => fs.realpath(await fs.mkdtemp(path.join(tmpdir(), "portolan-file-")))),
  (directory) => Effect.promise(() => fs.rm(directory, { recursive: true, force: true }))
)

export const json = (services: ReadonlyArray<unknown>): string => JSON.stringify({ services }, null, 2)

/** Replaces a file in one step, as careful editors do. */
export const save = async (file: string, content: string): Promise<void> => {
  await fs.writeFile(`${file}~`, content)
  await fs.rename(`${file}~`, file)
}

export const record = (id: string, port = 8080): typeof ServiceInstance.Encoded => ({
  id,
  service: "weather",
  endpoint: { transport: "streamable-http", url: `http://127.0.0.1:${port}/mcp` }
})
