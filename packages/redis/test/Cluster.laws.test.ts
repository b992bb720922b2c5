import * as Redis from "@portolan/tooling/backends/Redis"
import * as RedisBackend from "./RedisBackend.ts"
import * as RedisLaws from "./RedisLaws.ts"

RedisLaws.suite("redis cluster", Redis.cluster, RedisBackend.cluster)
