import { assert, describe, it } from "@effect/vitest"
import type * as Registry from "@portolan/core/Registry"
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Host from "./Host.ts"
import { StandIn } from "./StandIn.ts"

const npm = { registryType: "npm", identifier: "@example/weather", version: "1.2.0", transport: { type: "stdio" } }

/** What a server with these packages becomes: its command, or the reason that there is none. */
const run = Effect.fnUntraced(function*(
  packages: ReadonlyArray<object>,
  options: { readonly trust?: "full" | "limited"; readonly remotes?: ReadonlyArray<object> } = { trust: "full" }
): Effect.fn.Return<unknown, Registry.RegistryError, Scope.Scope> {
  const registry = new StandIn()
  const { remotes, trust } = options
  registry.put(
    { name: "com.example/weather", version: "2.0.0", packages, ...(remotes === undefined ? {} : { remotes }) } as never
  )
  const host = yield* Host.make(registry.answer)
  const variables = { city: "Oslo", SECRET: "no" }
  const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url, trust, variables })
  const { instances, rejected } = yield* list
  assert.strictEqual(instances.length + rejected.length, 1)
  return instances[0]?.endpoint ?? rejected[0]?.reason
})

const command = (command: string, args: ReadonlyArray<string>, env?: object) => ({
  transport: "stdio",
  command,
  args,
  ...(env === undefined ? {} : { env })
})

describe("a package", () => {
  it.live("is run by what its kind is run by", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* run([npm]), command("npx", ["-y", "@example/weather@1.2.0"]))
      assert.deepStrictEqual(
        yield* run([{ ...npm, version: undefined, registryBaseUrl: "https://packages.example.com" }]),
        command("npx", ["-y", "--registry=https://packages.example.com", "@example/weather"])
      )
      const pypi = { ...npm, registryType: "pypi", identifier: "weather-mcp" }
      assert.deepStrictEqual(
        yield* run([{ ...pypi, registryBaseUrl: "https://pypi.org" }]),
        command("uvx", ["weather-mcp@1.2.0"])
      )
      assert.deepStrictEqual(
        yield* run([{ ...pypi, registryBaseUrl: "https://packages.example.com/simple" }]),
        command("uvx", ["--default-index=https://packages.example.com/simple", "weather-mcp@1.2.0"])
      )
      const oci = { ...npm, registryType: "oci" }
      const docker = (image: string) => command("docker", ["run", "-i", "--rm", image])
      assert.deepStrictEqual(yield* run([{ ...oci, identifier: "example/weather" }]), docker("example/weather:1.2.0"))
      assert.deepStrictEqual(
        yield* run([{
          ...oci,
          identifier: "images.example.com:5000/weather:2",
          registryBaseUrl: "https://images.example.com:5000/"
        }]),
        docker("images.example.com:5000/weather:2")
      )
      assert.deepStrictEqual(
        yield* run([{ ...oci, identifier: "example/weather", registryBaseUrl: "https://images.example.com" }]),
        "packages: registryBaseUrl: the image isn't named by its registry images.example.com"
      )
    }))

  it.live("gets arguments and an environment; what it needs of that comes from ours", () =>
    Effect.gen(function*() {
      const item = {
        ...npm,
        registryType: "oci",
        identifier: "example/weather",
        version: "1",
        runtimeArguments: [
          { type: "named", name: "--mount", value: "type=bind,src={dir}", variables: { dir: { default: "/data" } } },
          { type: "named", name: "--init" }
        ],
        packageArguments: [
          { type: "positional", valueHint: "city", isRequired: true },
          { type: "positional", value: "now" },
          { type: "named", name: "--unit", default: "C", choices: ["C", "F"] },
          { type: "named", name: "--port", format: "number" },
          { type: "named", name: "--key", isSecret: true }
        ],
        environmentVariables: [
          { name: "API_KEY", isRequired: true, isSecret: true },
          { name: "SECRET", isSecret: true },
          { name: "MODE", value: "fast" },
          { name: "city" }
        ]
      }
      assert.deepStrictEqual(
        yield* run([item]),
        command(
          "docker",
          [
            ["run", "-i", "--rm", "-e", "API_KEY", "-e", "MODE", "-e", "city"],
            ["--mount", "type=bind,src=/data", "--init", "example/weather:1", "Oslo", "now", "--unit", "C"]
          ].flat(),
          { API_KEY: { env: "API_KEY" }, MODE: "fast", city: "Oslo" }
        )
      )
    }))

  it.live("is run where no address can be used, the first that can be", () =>
    Effect.gen(function*() {
      const remotes = [{ type: "streamable-http", url: "https://example.com/mcp" }]
      assert.deepStrictEqual(
        yield* run([npm], { trust: "full", remotes }),
        { transport: "streamable-http", url: "https://example.com/mcp" }
      )
      const secret = [{
        type: "streamable-http",
        url: "https://example.com/{key}",
        variables: { key: { isSecret: true } }
      }]
      const other = { ...npm, registryType: "cargo" }
      assert.deepStrictEqual(
        yield* run([other, { registryType: 7 }, npm], { trust: "full", remotes: secret }),
        command("npx", ["-y", "@example/weather@1.2.0"])
      )
      assert.match(
        String(yield* run([other], { trust: "full", remotes: secret })),
        /^remotes: url: \{key\}: it is a secret.*; packages: registryType: expected npm, pypi, oci, not cargo$/
      )
    }))

  it.live("isn't run for a registry that isn't trusted with it", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* run([npm], { trust: "limited" }),
        "packages: running one starts a process, which this registry isn't trusted to do; " +
          "announce the server in a local file, or set `trust: full` on this registry"
      )
    }))

  for (
    const [what, change, expected] of [
      ["that listens", { transport: { type: "streamable-http", url: "http://localhost:1" } }, /transport: only stdio/],
      ["with a checksum", { fileSha256: "0".repeat(64) }, /fileSha256: nothing that runs it would check it/],
      ["named like an option", { identifier: "--eval=1" }, /identifier: it isn't the name/],
      ["named like a file", { identifier: "https://x.example/a b.mcpb" }, /identifier: it isn't the name/],
      ["that is another's by an alias", { identifier: "weather@npm:other" }, /identifier: it isn't the name/],
      ["of GitHub", { identifier: "example/weather" }, /identifier: it isn't the name/],
      [
        "of a repository",
        { registryType: "pypi", identifier: "git+https://example.com/weather" },
        /identifier: it isn't the name/
      ],
      ["of a version that is none", { version: "1 --eval" }, /identifier: it isn't the name and version/],
      ["from nowhere", { registryBaseUrl: "--x" }, /registryBaseUrl: expected an http\(s\) URL/],
      ["of a kind of Object's", { registryType: "constructor" }, /registryType: expected npm, pypi, oci/],
      ["that needs a secret argument", {
        packageArguments: [{ type: "positional", valueHint: "SECRET", isRequired: true, isSecret: true }]
      }, /SECRET: it is a secret/],
      [
        "that needs an argument",
        { packageArguments: [{ type: "named", name: "--x", isRequired: true }] },
        /--x: it has no/
      ],
      ["with an argument of no kind", { packageArguments: [{ type: "odd" }] }, /packageArguments/]
    ] as const
  ) {
    it.live(`${what} isn't run`, () =>
      Effect.gen(function*() {
        assert.match(String(yield* run([{ ...npm, ...change }])), expected)
      }))
  }
})
