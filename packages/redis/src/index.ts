export * as Redis from "./Redis.ts"
export * as RedisRegistry from "./RedisRegistry.ts"
export * as Target from "./Target.ts"
