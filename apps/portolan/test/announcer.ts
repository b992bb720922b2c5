/**
 * A server without Effect that announces itself in the registry that its argument describes, until it is ended.
 */
import { consulRegistry } from "@portolan/consul/promise"
import { announce } from "@portolan/core/promise"
import { etcdRegistry } from "@portolan/etcd/promise"
import { fileRegistry } from "@portolan/file/promise"
import { redisRegistry } from "@portolan/redis/promise"
import { createServer } from "node:http"

/** What the argument describes. */
export type Described =
  | { readonly type: "file"; readonly options: Parameters<typeof fileRegistry>[0] }
  | { readonly type: "etcd"; readonly options: Parameters<typeof etcdRegistry>[0] }
  | { readonly type: "consul"; readonly options: Parameters<typeof consulRegistry>[0] }
  | { readonly type: "redis"; readonly options: Parameters<typeof redisRegistry>[0] }

/** The registry of a description. */
export const open = (described: Described) => {
  switch (described.type) {
    case "file":
      return fileRegistry(described.options)
    case "etcd":
      return etcdRegistry(described.options)
    case "consul":
      return consulRegistry(described.options)
    case "redis":
      return redisRegistry(described.options)
  }
}

if (process.argv[2] !== undefined && import.meta.main) {
  await announce(open(JSON.parse(process.argv[2])), {
    id: "weather-1",
    service: "weather",
    endpoint: { transport: "streamable-http", url: "http://127.0.0.1:9/mcp" }
  }, { ttl: "2 seconds" })
  createServer().listen(0, "127.0.0.1", () => console.log("announced"))
}
