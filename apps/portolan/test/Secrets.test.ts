/**
 * No answer, no line of the log and no mistake tells a secret of the configuration, wherever its schema takes one.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Validation from "@portolan/gateway/configuration/Validation"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import { adapters } from "../src/adapters.ts"
import { parts, type Path, placesOf, right, shown, withText } from "./filled.ts"
import { freePort } from "./fleet.ts"
import { background, directory, until } from "./process.ts"

const initial = Result.getOrThrow(Configuration.parse("{}", { adapters, env: {} }))

/** What of the file is no secret, and may be told; nothing else may. A new field is told only if it is named here. */
const told = new Set([
  "catalog.aliases.a[0]",
  "catalog.groups.a[0]",
  "gateway.allowedHosts[0]",
  ...["args[0]", "capabilities[0]", "command", "cwd", "service", "tags[0]", "version"].map((key) =>
    `mcpServers.a.${key}`
  ),
  // References say where a secret is.
  ...["clientId", "clientSecret.env", "scope", "store"].map((key) => `mcpServers.a.auth.${key}`),
  ...["ca", "ca.env", "cert", "cert.env", "key", "key.env", "passphrase.env", "serverName"]
    .map((key) => `mcpServers.a.tls.${key}`),
  ...["match.capability", "match.service", "match.tool", "name", "preferRegions[0]"].map((key) => `routing[0].${key}`)
])

/** Some that must never be: what is tested is known to be there. */
const secrets = [
  "gateway.token",
  "gateway.sessionKey",
  "webhooks[0].url",
  "webhooks[0].secret",
  "webhooks[0].headers.a",
  "telemetry.otlp.headers.a",
  "mcpServers.a.env.a",
  "mcpServers.a.headers.a",
  "mcpServers.a.tls.passphrase",
  "mcpServers.a.auth.clientSecret",
  "mcpServers.a.auth.tokenUrl"
]

/** The file of a gateway that could run here, with a marker of its own in each text, and the places of the markers. */
const marked = (prefix: string) => {
  const places = new Map<string, string>()
  const part = (name: string, ...without: ReadonlyArray<string>) => {
    const found = parts.find((part) => part.name === name)
    if (found === undefined) throw new Error(`there is no part ${name}`)
    const all = { ...found, without: [...found.without ?? [], ...without] }
    return right(all, (path) => {
      const place = shown(path)
      const known = Array.from(places).find(([, known]) => known === place)?.[0]
      const marker = known ?? `${prefix}${places.size}x`
      places.set(marker, place)
      return marker
    }).document
  }
  const file: Record<string, unknown> = {
    ...part("gateway", "gateway.host", "gateway.tls"),
    ...part("webhooks"),
    telemetry: { ...Object(part("telemetry")["telemetry"]), log: { level: "debug" } },
    ...part("catalog"),
    ...part("routing"),
    registries: [{ type: "memory" }],
    mcpServers: Object.fromEntries(
      ["stdio", "headers", "http 0", "http 1"].map((kind) => {
        const { mcpServers } = part(`mcpServers, ${kind}`, "mcpServers.a.envFile")
        return [kind.replace(" ", "-"), Object(mcpServers).a]
      })
    )
  }
  return { text: JSON.stringify(file, null, 2), places }
}

describe("a gateway", () => {
  it.live(
    "tells none of the texts of its configuration, but for those that are no secrets",
    () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const [first, second] = [marked("first"), marked("second")]
        const cwd = yield* directory({ "portolan.json": first.text })
        const running = yield* background(["up", "--port", String(port)], { cwd })
        const ask = (path: string) =>
          Effect.promise((signal) =>
            fetch(`http://127.0.0.1:${port}${path}`, { signal }).then((answer) => answer.text(), () => "")
          )
        const answers = Effect.gen(function*() {
          const { paths } = JSON.parse(yield* ask("/api/v1/openapi.json"))
          const asked = Object.keys(paths).filter((path) => paths[path].get !== undefined && !/[{]|events/.test(path))
          assert.isAbove(asked.length, 10)
          const more = ["stdio", "headers", "http-0", "http-1"].flatMap((id) => [
            `/api/v1/instances/${id}`,
            `/api/v1/instances/${id}/health`
          ])
          const others = ["/mcp/server-card", "/.well-known/ai-catalog.json", "/v0.1/servers", "/metrics", "/healthz"]
          return yield* Effect.forEach([...asked, ...more, ...others], ask)
        })
        const reloaded = (revision: number) =>
          until(
            Effect.map(ask("/api/v1/configuration"), (text) => text.includes(`"revision":${revision},`)),
            60_000
          )
        yield* reloaded(1)
        const before = yield* answers
        Fs.writeFileSync(`${cwd}/portolan.json`, second.text)
        yield* reloaded(2)
        // Standard output tells whoever starts it the address that clients are to use, as it stands in the file.
        const texts = [...before, ...yield* answers, running.err()]
        assert.include(running.err(), "configuration reloaded")
        assert.include(texts.join(), "webhooks")
        for (const { places, text } of [first, second]) {
          const there = Array.from(places).filter(([marker]) => text.includes(marker))
          assert.includeMembers(there.map(([, place]) => place), secrets)
          for (const [marker, place] of there) {
            if (!told.has(place)) assert.isUndefined(texts.find((text) => text.includes(marker)), `${place} is told`)
          }
        }
      }).pipe(Effect.scoped),
    90_000
  )
})

describe("mistakes", () => {
  // Each piece that something could make of it is known by its mark.
  const values: ReadonlyArray<readonly [value: string, written: string]> = [
    ["postgres://admin:mark1ng@db//mark2ng/./x/../mark3ng?a=\"mark4ng\"; mark5ng: mark6ng", "${DATABASE_URL}"],
    ["mark1ng line\n  mark2ng\tmark3ng\\mark4ng", "x:${DATABASE_URL}"],
    ["MARK1NG/mark2ng", "../${DATABASE_URL}/\u0000"]
  ]

  it("tell nothing of what an environment variable holds, wherever it stands", () => {
    const seen = new Set<string>()
    let mistakenly = 0
    for (const part of parts) {
      const placeOf = (path: Path) => `${part.type} ${shown(path)}`
      const fresh = placesOf(part).filter((path) => !seen.has(placeOf(path)))
      if (fresh.length === 0) continue
      const { document } = right(part, () => "marker")
      for (const path of fresh) {
        const place = placeOf(path)
        seen.add(place)
        for (const [value, written] of values) {
          const text = JSON.stringify(withText(document, path, written))
          const { mistakes } = Validation.validate(text, { adapters, initial, env: { DATABASE_URL: value } })
          mistakenly += mistakes.length
          for (const { message } of mistakes) assert.notMatch(message, /mark\dng/i, `${place}: ${message}`)
        }
      }
    }
    assert.isAbove(seen.size, 150)
    assert.isAbove(mistakenly, 300)
  })
})
