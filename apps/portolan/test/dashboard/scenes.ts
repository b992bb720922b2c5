/**
 * Gateways for the dashboard to show: started and killed, called, and asked how their instances are.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { freePort } from "../fleet.ts"
import { background, directory, until } from "../process.ts"

/** A gateway that can be killed and started again at its address. */
export interface Scene {
  readonly url: string
  readonly kill: Effect.Effect<void>
  readonly start: Effect.Effect<void>
  /** Writes the registry file of a source; one that isn't JSON makes the source stale. */
  readonly announce: (source: string, text: string) => void
}

/** A text that no registry file may be. */
export const broken = "{ \"services\": [ { \"id\": "

interface Told {
  readonly id: string
  readonly service: string
  readonly source: string
  readonly region?: string
  readonly stale: boolean
  readonly health: { readonly status: string; readonly circuit?: object }
}

/** The instances, by the word of the API. */
export const instances = async (url: string): Promise<ReadonlyArray<Told>> => {
  const all: Array<Told> = []
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({ limit: "1000", ...(cursor === undefined ? {} : { cursor }) })
    const page: { readonly items: ReadonlyArray<Told>; readonly nextCursor?: string } = JSON.parse(
      await (await fetch(`${url}/api/v1/instances?${query}`)).text()
    )
    all.push(...page.items)
    cursor = page.nextCursor
  } while (cursor !== undefined)
  return all
}

const stateOf = ({ health: { circuit, status }, stale }: Told): string =>
  status === "draining" || status === "down"
    ? status
    : circuit !== undefined
    ? "ejected"
    : stale && status === "healthy"
    ? "stale"
    : status

/** How many instances are in each state, by the word of the API. */
export const states = async (url: string): Promise<Readonly<Record<string, number>>> => {
  const counts: Record<string, number> = {}
  for (const told of await instances(url)) counts[stateOf(told)] = (counts[stateOf(told)] ?? 0) + 1
  return counts
}

/** A gateway with this configuration, and these registry files as its sources. */
export const scene = (
  sources: Readonly<Record<string, string>>,
  settings: Readonly<Record<string, object>> = {}
): Effect.Effect<Scene, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* freePort
    const url = `http://127.0.0.1:${port}`
    const file = (source: string) => `${source}.json`
    const cwd = yield* directory({
      ...Object.fromEntries(Object.entries(sources).map(([source, text]) => [file(source), text])),
      "portolan.json": JSON.stringify({
        registries: [
          ...Object.keys(sources).map((name) => ({ type: "file", name, path: file(name) })),
          { type: "memory" }
        ],
        ...settings
      })
    })
    const scope = yield* Effect.scope
    const launch = Effect.gen(function*() {
      const running = yield* background(["up", "--json", "--port", String(port)], { cwd })
      yield* Effect.orDie(until(
        Effect.promise(() => fetch(`${url}/readyz`).then((answer) => answer.ok, () => false)),
        120_000
      ))
      return running
    }).pipe(Scope.provide(scope))
    let running = yield* launch
    return {
      url,
      kill: Effect.suspend(() => {
        running.kill("SIGKILL")
        return running.ended
      }),
      start: Effect.map(launch, (next) => void (running = next)),
      announce: (source, text) => Fs.writeFileSync(Path.join(cwd, file(source)), text)
    }
  })

const call = (tool: string) => ({
  method: "POST",
  headers: {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": tool
  },
  body: JSON.stringify({
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: {
      name: tool,
      arguments: { city: "Lisbon" },
      _meta: {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}
      }
    }
  })
})

/** Calls that run at the same time. */
export const most = 64

/** Calls these tools, each so often a second, until the scope closes. */
export const traffic = (
  url: string,
  tools: ReadonlyArray<{ readonly tool: string; readonly rate: number }>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => {
      const begun = performance.now()
      const owed = tools.map(({ rate, tool }) => ({ rate, tool, made: 0 }))
      let running = 0
      return setInterval(() => {
        const seconds = (performance.now() - begun) / 1000
        for (const each of owed) {
          for (; each.made < each.rate * seconds; each.made++) {
            // A machine that doesn't keep up gets fewer, and not more and more at once.
            if (running >= most) continue
            running++
            fetch(`${url}/mcp`, call(each.tool)).then((answer) => answer.text()).catch(() => {}).finally(() =>
              running--
            )
          }
        }
      }, 50)
    }),
    (timer) => Effect.sync(() => clearInterval(timer))
  ))

/** Waits until so many are in each state. */
export const settled = (url: string, wanted: Readonly<Record<string, number>>): Effect.Effect<void> =>
  Effect.suspend(() => {
    let found: Readonly<Record<string, number>> = {}
    return until(
      Effect.promise(async () => {
        found = await states(url)
        return Object.entries(wanted).every(([state, count]) => found[state] === count)
      }),
      60_000
    ).pipe(
      Effect.asVoid,
      Effect.catch(() => Effect.die(new Error(`not ${JSON.stringify(wanted)}, but ${JSON.stringify(found)}`)))
    )
  })
