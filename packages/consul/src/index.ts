export * as Consul from "./Consul.ts"
export * as ConsulRecord from "./ConsulRecord.ts"
export * as ConsulRegistry from "./ConsulRegistry.ts"
