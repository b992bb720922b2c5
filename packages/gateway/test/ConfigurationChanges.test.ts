import { assert, describe, it } from "@effect/vitest"
import * as Equal from "effect/Equal"
import * as fc from "fast-check"
import type { Configuration } from "../src/configuration/Configuration.ts"
import * as ConfigurationChanges from "../src/configuration/ConfigurationChanges.ts"
import { documents, parsed } from "./configurations.ts"

const words = (before: string | object, after: string | object): string =>
  ConfigurationChanges.describe(ConfigurationChanges.diff(parsed(before), parsed(after)))

/** What a configuration comes down to. */
const modelOf = (configuration: Configuration) => ({
  registries: new Map(configuration.registries.map(({ name, options }) => [name, options])),
  order: configuration.registries.map(({ name }) => name),
  servers: new Map(configuration.servers.map((server) => [server.id, server])),
  settings: new Map(ConfigurationChanges.effective(configuration).map(({ path, value }) => [path, value]))
})

/** Does what the changes say to `before`; what is new comes from `after`. */
const patched = (
  before: ReturnType<typeof modelOf>,
  changes: ReadonlyArray<ConfigurationChanges.Change>,
  after: ReturnType<typeof modelOf>
) => {
  const settings = new Map(before.settings)
  let order: ReadonlyArray<string> = before.order
  const change = <A>(map: ReadonlyMap<string, A>, from: ReadonlyMap<string, A>, registries: boolean) => {
    const result = new Map(map)
    for (const change of changes) {
      if (change._tag !== "Entry" || (change.section === "registries") !== registries) continue
      const value = from.get(change.name)
      if (change.how === "removed") result.delete(change.name)
      else if (value !== undefined) {
        assert.strictEqual(result.has(change.name), change.how === "changed")
        result.set(change.name, value)
      }
    }
    return result
  }
  for (const change of changes) {
    if (change._tag === "Order") order = change.names
    else if (change._tag === "Setting" && change.value === undefined) settings.delete(change.path)
    else if (change._tag === "Setting") settings.set(change.path, change.value)
  }
  const registries = change(before.registries, after.registries, true)
  // Where nothing is said of the order, what stays keeps its own.
  const places = order.filter((name) => registries.has(name))
  return { registries, places, servers: change(before.servers, after.servers, false), settings }
}

describe("changes", () => {
  it("lead from the one configuration to the other, and are none where they say the same", () => {
    fc.assert(fc.property(documents, documents, (one, other) => {
      const [before, after] = [parsed(one), parsed(other)]
      assert.deepStrictEqual(ConfigurationChanges.diff(before, parsed(`# again\n${JSON.stringify(one)}`)), [])
      const changes = ConfigurationChanges.diff(before, after)
      const wanted = modelOf(after)
      const found = patched(modelOf(before), changes, wanted)
      assert.isTrue(Equal.equals(found.registries, wanted.registries))
      assert.isTrue(Equal.equals(found.servers, wanted.servers))
      assert.isTrue(Equal.equals(found.settings, wanted.settings))
      assert.deepStrictEqual(found.places, wanted.order.filter((name) => found.places.includes(name)))
      assert.strictEqual(changes.length === 0, ConfigurationChanges.describe(changes) === "nothing changed")
    }))
  })

  it("are told in words", () => {
    assert.strictEqual(
      words(
        {
          registries: [{ type: "counted", name: "file" }, { type: "counted", name: "etcd" }],
          mcpServers: { memory: { command: "a" }, gone: { command: "a" } },
          servers: { code: { url: "http://a.test" } }
        },
        {
          registries: [{ type: "counted", name: "file", setting: 1 }, { type: "counted", name: "consul" }],
          mcpServers: { memory: { command: "b" }, fresh: { command: "a" } },
          servers: { code: { url: "http://b.test" } },
          balancing: { strategy: "p2c" },
          gateway: { allowedHosts: ["a.test", "b.test"] }
        }
      ),
      "registries ~file +consul -etcd, mcpServers ~memory +fresh -gone, servers ~code, " +
        "gateway.allowedHosts [a.test, b.test], balancing.strategy p2c"
    )
    assert.strictEqual(
      words(
        { registries: [{ type: "counted", name: "a" }, { type: "counted", name: "b" }], health: { interval: "5s" } },
        { registries: [{ type: "counted", name: "b" }, { type: "counted", name: "a" }] }
      ),
      "registries in the order b a, health.interval 30s"
    )
    assert.strictEqual(
      words({ mcpServers: { a: { url: "http://a.test" } } }, {
        mcpServers: { a: { url: "http://a.test", disabled: true } }
      }),
      "mcpServers -a"
    )
  })

  it("are none where only the writing differs", () => {
    assert.strictEqual(
      words(
        "gateway: {port: 1, naming: prefix}\nmcpServers: {a: {url: http://a.test}}\n",
        "# now with a comment\nmcpServers:\n  a:\n    url: http://a.test\n    autoApprove: [x]\ngateway:\n  port: 1\n"
      ),
      "nothing changed"
    )
  })

  it("don't tell secrets", () => {
    const text = words({}, { gateway: { sessionKey: "tr0ub4dor", publicUrl: `https://${"long".repeat(20)}.test` } })
    assert.strictEqual(text, "gateway.publicUrl changed, gateway.sessionKey changed")
    const address = words({}, { gateway: { publicUrl: "https://user:tr0ub4dor@a.test" } })
    assert.strictEqual(address, "gateway.publicUrl changed")
    const tls = { cert: "package.json", key: "package.json" }
    const passphrase = words({ gateway: { tls } }, { gateway: { tls: { ...tls, passphrase: "tr0ub4dor" } } })
    assert.strictEqual(passphrase, "gateway.tls.passphrase changed")
    const webhook = {
      url: "https://a.test/?token=tr0ub4dor",
      headers: { authorization: "tr0ub4dor" },
      secret: "tr0ub4dor"
    }
    assert.strictEqual(words({}, { webhooks: [webhook] }), "webhooks changed")
  })
})

describe("what is in effect", () => {
  it("says where it comes from, and hides secrets", () => {
    const configuration = parsed("gateway:\n  port: 8080\n  sessionKey: tr0ub4dor\nhealth: { interval: 5s }\n", {
      flags: { host: "0.0.0.0" }
    })
    const settings = new Map(
      ConfigurationChanges.effective(configuration).map(({ origin, path, value }) => [path, [value, origin]])
    )
    assert.deepStrictEqual(settings.get("gateway.host"), ["0.0.0.0", "flag"])
    assert.deepStrictEqual(settings.get("gateway.port"), [8080, "file"])
    assert.deepStrictEqual(settings.get("gateway.pageSize"), [1000, "default"])
    assert.deepStrictEqual(settings.get("gateway.sessionKey"), ["***", "file"])
    assert.deepStrictEqual(settings.get("health.interval"), ["5s", "file"])
    assert.strictEqual(configuration.gateway.host, "0.0.0.0")
    const webhook = {
      url: "https://a.test/?token=tr0ub4dor",
      headers: { authorization: "tr0ub4dor" },
      secret: "tr0ub4dor"
    }
    assert.deepInclude(ConfigurationChanges.effective(parsed({ webhooks: [{ ...webhook, topics: ["health"] }] })), {
      path: "webhooks",
      value: [{
        url: "https://a.test/?token=***",
        headers: { authorization: "***" },
        secret: "***",
        topics: ["health"]
      }],
      origin: "file"
    })
  })
})
