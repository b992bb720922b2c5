/** The key-value store of a real Consul, as a backend of the laws. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import * as ConsulBackend from "./ConsulBackend.ts"

/** Where the registry under test reads. */
export const prefix = "portolan/"

/** A record as an operator would write it by hand. */
const written = ({ endpoint, id, metadata, service, version }: ServiceInstance, text?: string, below = prefix) => ({
  KV: {
    Verb: "set",
    Key: `${below}${service}/${id}`,
    Value: Buffer.from(text ?? JSON.stringify({ endpoint, version, metadata })).toString("base64")
  }
})

export const make = (server: Server) =>
  Effect.map(ConsulBackend.make(server), (consul): ConsulBackend.ConsulBackend => {
    const transact = (...operations: ReadonlyArray<object>) =>
      Effect.asVoid(ConsulBackend.ask(server.url, "PUT", "txn", operations))
    const put = (instance: ServiceInstance) => transact(written(instance))
    return {
      ...consul,
      add: put,
      update: put,
      batch: (instances) => transact(...instances.map((instance) => written(instance))),
      remove: ({ id, service }) => transact({ KV: { Verb: "delete", Key: `${prefix}${service}/${id}` } }),
      corrupt: (instance) => transact(written(instance, "{")),
      outside: (instance) => transact(written(instance, undefined, "portolan2/")),
      wipeBackend: transact({ KV: { Verb: "delete-tree", Key: prefix } })
    }
  })
