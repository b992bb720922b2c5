/**
 * The adapters that the configuration knows, by their `type`. An adapter's code is loaded when a registry of its type is
 * opened, and never otherwise.
 */
import type * as Configuration from "@portolan/gateway/configuration/Configuration"
import { consul } from "./adapters/consul.ts"
import { dnsSd } from "./adapters/dnsSd.ts"
import { documents } from "./adapters/documents.ts"
import { etcd } from "./adapters/etcd.ts"
import { file } from "./adapters/file.ts"
import { kubernetes } from "./adapters/kubernetes.ts"
import { memory } from "./adapters/memory.ts"
import { networkScan } from "./adapters/networkScan.ts"
import { redis } from "./adapters/redis.ts"

export const adapters: ReadonlyArray<Configuration.Adapter> = [
  file,
  consul,
  redis,
  etcd,
  kubernetes,
  dnsSd,
  networkScan,
  documents,
  memory
]
