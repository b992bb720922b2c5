/**
 * The process that watches, for `kubernetes.ts`: `node watch.ts <kubeconfig> <endpoints>`. Prints a line of JSON with the
 * ms to the first catalog that has all of them; then, for each change that is published, when that was and what changed.
 */
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as KubernetesRegistry from "../../../packages/kubernetes/src/KubernetesRegistry.ts"

const [kubeconfig = "", endpoints = "0"] = process.argv.slice(2)

const say = (line: unknown) => Effect.sync(() => console.log(JSON.stringify(line)))

const watch = Effect.gen(function*() {
  const services = yield* Layer.build(Layer.provideMerge(Discovery.layer(), Registries.layer))
  const discovery = Context.get(services, Discovery.Discovery)
  const began = performance.now()
  yield* Context.get(services, Registries.Registries).add(yield* KubernetesRegistry.make({ kubeconfig }))
  yield* discovery.updates.pipe(
    Stream.filter(({ catalog }) => HashMap.size(catalog.entries) >= Number(endpoints)),
    Stream.take(1),
    Stream.runDrain
  )
  yield* say(performance.now() - began)
  yield* discovery.updates.pipe(
    Stream.drop(1),
    Stream.runForEach(({ changes }) =>
      say({
        at: performance.timeOrigin + performance.now(),
        changes: changes.map(({ _tag, entry }) => `${_tag} ${entry.instance.id}`)
      })
    )
  )
})

await Effect.runPromise(Effect.scoped(watch))
