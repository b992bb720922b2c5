/**
 * Entries of `registries`: what they refer to, what they stand for, and what is wrong with them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import { authority } from "@portolan/tooling/backends/Certificates"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Configuration from "../src/configuration/Configuration.ts"
import { sameRegistry } from "../src/configuration/ConfigurationChanges.ts"
import { EncryptionEntry } from "../src/configuration/EncryptionEntry.ts"
import { reveal, secret } from "../src/configuration/Secret.ts"
import * as TlsEntry from "../src/configuration/TlsEntry.ts"

const Options = Schema.Struct({
  token: Schema.optionalKey(secret("Token")),
  tls: Schema.optionalKey(TlsEntry.TlsEntry),
  encryption: Schema.optionalKey(EncryptionEntry),
  places: Schema.optionalKey(Schema.Array(Schema.String)),
  broken: Schema.optionalKey(Schema.Boolean)
})

const adapters = [
  Configuration.adapter({
    type: "remote",
    options: Options,
    several: ({ places, ...options }) => places?.map((place) => [place, { ...options, places: [place] }] as const),
    open: (_, { name }) => MemoryRegistry.make({ name })
  })
]

const files = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "portolan-entries-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

const parse = (entries: string, directory = "/nowhere") =>
  Configuration.parse(`registries:\n${entries}`, { adapters, directory, env: { TOKEN: "from-env", EMPTY: "" } })

const good = (entries: string, directory?: string) =>
  Result.getOrThrowWith(parse(entries, directory), (error) => new Error(error.message))

const mistakes = (entries: string, directory?: string): ReadonlyArray<string> =>
  Result.match(parse(entries, directory), {
    onSuccess: () => [],
    onFailure: (error) => error.message.split("\n").map((line) => line.replace("portolan.yaml:", ""))
  })

const optionsOf = (registry: Configuration.ConfiguredRegistry | undefined): typeof Options.Type => {
  const { options } = registry ?? {}
  assert.isTrue(Schema.is(Options)(options))
  return Schema.is(Options)(options) ? options : {}
}

const key = (byte: number) => Buffer.alloc(32, byte).toString("base64")

describe("secrets", () => {
  it.effect("are texts, environment variables, or files", () =>
    Effect.gen(function*() {
      const directory = yield* files
      const path = Path.join(directory, "token")
      Fs.writeFileSync(path, "from-file\r\n")
      for (
        const [written, found] of [
          ["plain", "plain"],
          ["{ env: TOKEN }", "from-env"],
          ["\"${TOKEN}\"", "from-env"],
          ["{ file: token }", "from-file"],
          [`{ file: ${path} }`, "from-file"]
        ] as const
      ) {
        const [registry] = good(`  - { type: remote, token: ${written} }`, directory).registries
        assert.strictEqual(reveal(optionsOf(registry).token), found)
      }
    }))

  it.effect("are a change when they change", () =>
    Effect.gen(function*() {
      const directory = yield* files
      const path = Path.join(directory, "token")
      const read = (token: string) => {
        Fs.writeFileSync(path, token)
        return good("  - { type: remote, token: { file: token } }", directory)
      }
      const [one, same, other] = [read("one"), read("one\n"), read("other")]
      assert.deepStrictEqual(one.source.others, [path])
      assert.isTrue(sameRegistry(one.registries[0]!, same.registries[0]!))
      assert.isFalse(sameRegistry(one.registries[0]!, other.registries[0]!))
    }))

  it.effect("that aren't there are told with their place", () =>
    Effect.gen(function*() {
      const directory = yield* files
      Fs.writeFileSync(Path.join(directory, "empty"), "\n")
      assert.deepStrictEqual(
        mistakes(
          [
            "{ env: NO_TOKEN }",
            "{ env: EMPTY }",
            "{ file: empty }",
            "{ file: token }",
            "5"
          ].map((token, index) => `  - { type: remote, name: r${index}, token: ${token} }`).join("\n"),
          directory
        ),
        [
          "2:38: registries[0].token: the environment variable NO_TOKEN is not set",
          "3:38: registries[1].token: the environment variable EMPTY is not set",
          "4:38: registries[2].token: empty is empty",
          "5:38: registries[3].token: can't read token: ENOENT: no such file or directory",
          "6:38: registries[4].token: expected a text, {env: …} or {file: …}"
        ]
      )
      assert.include(
        mistakes("  - { type: remote, token: { evn: TOKEN } }"),
        "2:30: registries[0].token.evn: unknown key; did you mean \"env\"?"
      )
      assert.deepStrictEqual(mistakes("  - { type: remote, token: { env: TOKEN, file: token } }"), [
        "2:30: registries[0].token.env: doesn't go with what else stands here",
        "2:42: registries[0].token.file: doesn't go with what else stands here"
      ])
    }))

  it("aren't shown by what is wrong about them, nor by what is right", () => {
    const hidden = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"
    const wrong = mistakes(
      `  - { type: remote, tokn: ${hidden}, encryption: { keys: [{ id: a, key: ${hidden} }] } }`
    )
    assert.lengthOf(wrong, 2)
    assert.notInclude(wrong.join("\n"), hidden)
    const { registries } = good(`  - { type: remote, token: ${hidden} }`)
    assert.notInclude(JSON.stringify(registries), hidden)
  })

  it("may be any of these for editors too", () => {
    const text = JSON.stringify(Configuration.jsonSchema(adapters))
    assert.include(text, "\"env\"")
    assert.include(text, "32 bytes in base64")
  })
})

describe("tls", () => {
  it.effect("is read from files, and must be usable", () =>
    Effect.gen(function*() {
      const directory = yield* files
      const write = (name: string, content: string) => Fs.writeFileSync(Path.join(directory, name), content)
      const ca = yield* authority("ca")
      const [own, other] = [yield* ca.issue("one"), yield* ca.issue("other")]
      write("ca.pem", ca.cert)
      write("cert.pem", own.cert)
      write("key.pem", own.key)
      write("other.pem", other.key)
      write("garbage.pem", "garbage")
      const [registry] = good(
        "  - { type: remote, tls: { ca: ca.pem, cert: { file: cert.pem }, key: key.pem, serverName: consul } }",
        directory
      ).registries
      const { tls } = optionsOf(registry)
      assert.deepStrictEqual(tls === undefined ? undefined : TlsEntry.toOptions(tls), {
        ca: ca.cert.trimEnd(),
        cert: own.cert.trimEnd(),
        key: own.key.trimEnd(),
        passphrase: undefined,
        serverName: "consul"
      })
      for (
        const [tls, expected] of [
          ["{ ca: nowhere.pem }", /^2:32: registries\[0\]\.tls\.ca: can't read .*nowhere\.pem/],
          ["{ ca: garbage.pem }", /^2:32: registries\[0\]\.tls\.ca: holds no certificate in PEM/],
          ["{ cert: cert.pem }", /^2:34: registries\[0\]\.tls\.cert: `cert` and `key` belong together/],
          ["{ key: key.pem }", /^2:33: registries\[0\]\.tls\.key: `cert` and `key` belong together/],
          ["{ cert: cert.pem, key: other.pem }", /registries\[0\]\.tls\.key: is not the key of `cert`/]
        ] as const
      ) assert.match(mistakes(`  - { type: remote, tls: ${tls} }`, directory).join("\n"), expected)
    }))
})

describe("encryption", () => {
  it("has keys of 32 bytes with an id each", () => {
    const [registry] = good(
      `  - { type: remote, encryption: { keys: [{ id: new, key: ${key(1)} }, { id: old, key: "${key(2)}" }] } }`
    ).registries
    const { encryption } = optionsOf(registry)
    assert.isTrue(encryption?.required)
    assert.deepStrictEqual(
      encryption?.keys.map(({ id, key }) => [id, Redacted.value(key)]),
      [["new", key(1)], ["old", key(2)]]
    )
    for (
      const [keys, expected] of [
        ["[]", "2:41: registries[0].encryption.keys[0]: missing"],
        [
          `[{ id: a, key: ${Buffer.alloc(16).toString("base64")} }]`,
          "2:56: registries[0].encryption.keys[0].key: expected 32 bytes in base64, such as `openssl rand -base64 32` makes"
        ],
        [
          `[{ id: a, key: ${key(1)} }, { id: a, key: ${key(2)} }]`,
          "registries[0].encryption.keys[1].id: another key has this id"
        ]
      ] as const
    ) assert.include(mistakes(`  - { type: remote, encryption: { keys: ${keys} } }`).join("\n"), expected)
  })
})

describe("allow", () => {
  it.effect("is said of the registry that is opened", () =>
    Effect.gen(function*() {
      const [open, narrow] = good(
        "  - { type: remote, name: open }\n" +
          "  - { type: remote, name: narrow, allow: { services: [weather], tools: [get_*] } }"
      ).registries
      assert.isUndefined((yield* open!.open).allow)
      assert.deepStrictEqual((yield* narrow!.open).allow, { services: ["weather"], tools: ["get_*"] })
    }))

  it("makes another registry of it when it changes", () => {
    const [one, same, other] = ["[weather]", "[ weather ]", "[weather, time]"].map((services) =>
      good(`  - { type: remote, allow: { services: ${services} } }`).registries[0]!
    )
    assert.isTrue(sameRegistry(one!, same!))
    assert.isFalse(sameRegistry(one!, other!))
  })

  it("is never read over", () => {
    assert.deepStrictEqual(
      mistakes("  - { type: remote, alow: { services: [] } }\n  - { type: remote, name: b, allow: { service: [] } }"),
      [
        "2:21: registries[0].alow: unknown key; did you mean \"allow\"?",
        "3:39: registries[1].allow.service: unknown key; did you mean \"services\"?"
      ]
    )
  })
})

describe("an entry that stands for several registries", () => {
  it("is each of them, in its place, with its own options", () => {
    const { registries } = good(
      "  - { type: remote, name: first }\n" +
        "  - { type: remote, places: [east, west], token: t, trust: full, allow: { services: [a] } }\n" +
        "  - { type: remote, name: last, places: [south] }"
    )
    assert.deepStrictEqual(registries.map(({ entry, index, name }) => [name, entry, index]), [
      ["first", "first", 0],
      ["remote-east", "remote", 1],
      ["remote-west", "remote", 1],
      ["last-south", "last", 2]
    ])
    assert.deepStrictEqual(optionsOf(registries[2]).places, ["west"])
    assert.deepInclude(registries[2], { trust: "full", allow: { services: ["a"] } })
  })

  it("may not have a name that another has", () => {
    assert.deepStrictEqual(
      mistakes("  - { type: remote, name: a-b }\n  - { type: remote, name: a, places: [b] }"),
      ["3:27: registries[1].name: another registry is called a-b; give this one another name"]
    )
    assert.lengthOf(mistakes("  - { type: remote, places: [b, b] }"), 1)
  })
})
