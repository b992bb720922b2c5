export * as Etcd from "./Etcd.ts"
export * as EtcdRegistry from "./EtcdRegistry.ts"
