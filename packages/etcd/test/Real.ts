/** Tests on a real etcd: skipped with the reason where it can't be had. */
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Effect from "effect/Effect"
import { describe } from "vitest"

const unavailable = await Effect.runPromise(Etcd.unavailable)

export const onRealEtcd = (title: string, tests: () => void): void => {
  if (unavailable === undefined) return void describe(title, tests)
  console.log(`${title} skipped: ${unavailable}`)
  describe.skip(`${title} [skipped: ${unavailable}]`)
}
