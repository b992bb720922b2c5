/**
 * Random edits of a configuration file, good ones and broken ones.
 */

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export const random = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
type Random = ReturnType<typeof random>

const oneOf = <A>(random: Random, items: readonly [A, ...ReadonlyArray<A>]): A =>
  items[Math.floor(random() * items.length)] ?? items[0]

const isSome = <A>(items: ReadonlyArray<A>): items is readonly [A, ...ReadonlyArray<A>] => items.length > 0

const shuffled = <A>(random: Random, items: ReadonlyArray<A>): Array<A> =>
  items.map((item) => ({ item, place: random() })).sort((a, b) => a.place - b.place).map(({ item }) => item)

interface RegistryEntry {
  readonly type: string
  readonly name: string
  readonly path?: string
}

/** What is in a configuration file. */
export interface Content {
  readonly gateway: Readonly<Record<string, unknown>> & { readonly port: number }
  readonly registries: ReadonlyArray<RegistryEntry>
  readonly mcpServers: Readonly<Record<string, object>>
  readonly health: Readonly<Record<string, unknown>>
  readonly balancing: Readonly<Record<string, unknown>>
  readonly calls: Readonly<Record<string, unknown>>
}

/** The text of a file, written as people do: in any order, with comments and empty lines. */
export const render = (random: Random, content: Content): string => {
  const lines: Array<string> = []
  const noise = () => {
    if (random() < 0.2) lines.push("")
    if (random() < 0.2) lines.push(`# ${oneOf(random, ["see the wiki", "gateway: off", "TODO: tidy", "- {"])}`)
  }
  for (const [section, value] of shuffled(random, Object.entries(content))) {
    noise()
    lines.push(`${section}:`)
    if (Array.isArray(value)) {
      for (const item of value) lines.push(`  - ${JSON.stringify(item)}`)
    } else {
      for (const [key, item] of shuffled(random, Object.entries(value))) {
        noise()
        lines.push(`  ${key}: ${JSON.stringify(item)}${random() < 0.1 ? " # so be it" : ""}`)
      }
    }
  }
  return `${lines.join("\n")}\n`
}

/** A look at the gateway from outside. */
export interface View {
  readonly tools: () => Promise<ReadonlyArray<ReadonlyArray<string>>>
  readonly json: (path: string) => Promise<Record<string, unknown>>
  /** Result of a request of the stateless era. */
  readonly asked: (method: string, params?: Readonly<Record<string, unknown>>) => Promise<Record<string, unknown>>
  /** HTTP status of a request under this host name. */
  readonly asHost: (name: string) => Promise<number>
}

/** An edit, what the log says of it, and how it shows. */
export interface Edit {
  readonly content: Content
  readonly words: string
  readonly shows?: (view: View) => Promise<boolean>
}

/** What edits may use. */
export interface Material {
  /** Address of a server that offers `hello`. */
  readonly server: string
  /** Registry files that are there. */
  readonly files: readonly [string, ...ReadonlyArray<string>]
}

const extras = (content: Content) => Object.keys(content.mcpServers).filter((name) => name.startsWith("extra"))

const without = <A>(record: Readonly<Record<string, A>>, name: string): Record<string, A> =>
  Object.fromEntries(Object.entries(record).filter(([key]) => key !== name))

const lists = (name: string, there: boolean) => async (view: View) =>
  (await view.tools()).flat().some((tool) => tool.startsWith(`${name}__`) || tool.startsWith(`${name}-`)) === there

const isSource = (name: string, there: boolean) => async (view: View) => {
  const { sources } = await view.json("/api/v1/status")
  return Array.isArray(sources) && sources.some((source) => source.name === name) === there
}

/** None where the content doesn't allow for it. */
type Maker = (random: Random, content: Content, material: Material) => Edit | undefined

let count = 0

const setting = (
  section: "gateway" | "health" | "balancing" | "calls",
  key: string,
  values: readonly [unknown, ...ReadonlyArray<unknown>],
  shows?: (value: unknown) => Edit["shows"]
): Maker =>
(random, content) => {
  const others = values.filter((value) => JSON.stringify(value) !== JSON.stringify(content[section][key]))
  if (!isSome(others)) return undefined
  const value = oneOf(random, others)
  const check = shows?.(value)
  return {
    content: { ...content, [section]: { ...content[section], [key]: value } },
    words: key === "sessionKey"
      ? "gateway.sessionKey changed"
      : `${section}.${key} ${Array.isArray(value) ? `[${value.join(", ")}]` : String(value)}`,
    ...(check === undefined ? {} : { shows: check })
  }
}

const makers: readonly [Maker, ...ReadonlyArray<Maker>] = [
  // A server that is new, gone, called otherwise, or described otherwise.
  (_, content, { server }) => {
    const name = `extra${++count}`
    return {
      content: { ...content, mcpServers: { ...content.mcpServers, [name]: { url: server } } },
      words: `mcpServers +${name}`,
      shows: lists(name, true)
    }
  },
  (random, content) => {
    const known = extras(content)
    if (!isSome(known)) return undefined
    const name = oneOf(random, known)
    return {
      content: { ...content, mcpServers: without(content.mcpServers, name) },
      words: `mcpServers -${name}`,
      shows: lists(name, false)
    }
  },
  (random, content) => {
    const known = extras(content)
    if (!isSome(known)) return undefined
    const [name, next] = [oneOf(random, known), `extra${++count}`]
    const servers = { ...without(content.mcpServers, name), [next]: content.mcpServers[name] ?? {} }
    return {
      content: { ...content, mcpServers: servers },
      words: `mcpServers +${next} -${name}`,
      shows: async (view) => await lists(next, true)(view) && await lists(name, false)(view)
    }
  },
  (random, content) => {
    // Even of one that is called.
    const name = oneOf(random, ["stdio", ...extras(content)])
    const tag = `tag${++count}`
    return {
      content: {
        ...content,
        mcpServers: { ...content.mcpServers, [name]: { ...content.mcpServers[name], tags: [tag] } }
      },
      words: `mcpServers ~${name}`,
      shows: async (view) => {
        const { tags } = await view.json(`/api/v1/instances/${name}`)
        return Array.isArray(tags) && tags[0] === tag
      }
    }
  },
  // A registry that is new, gone, or at another place.
  (random, content, { files }) => {
    const name = `registry${++count}`
    const entry = random() < 0.3 ? { type: "memory", name } : { type: "file", name, path: oneOf(random, files) }
    const at = Math.floor(random() * (content.registries.length + 1))
    return {
      content: { ...content, registries: content.registries.toSpliced(at, 0, entry) },
      words: `registries +${name}`,
      shows: isSource(name, true)
    }
  },
  (random, content) => {
    const known = content.registries.filter(({ name }) => name !== "called")
    if (!isSome(known)) return undefined
    const gone = oneOf(random, known)
    return {
      content: { ...content, registries: content.registries.filter((entry) => entry !== gone) },
      words: `registries -${gone.name}`,
      shows: isSource(gone.name, false)
    }
  },
  (random, content) => {
    const registries = shuffled(random, content.registries)
    const names = (entries: ReadonlyArray<RegistryEntry>) => entries.map(({ name }) => name).join(" ")
    return names(registries) === names(content.registries)
      ? undefined
      : { content: { ...content, registries }, words: `registries in the order ${names(registries)}` }
  },
  setting("balancing", "strategy", ["round-robin", "random", "least-requests", "p2c", "peak-ewma"]),
  setting("balancing", "slowStart", ["0s", "2s", "10s"]),
  setting("balancing", "panicThreshold", [0, 0.5, 1]),
  setting("calls", "retries", [1, 2, 5]),
  setting("calls", "timeout", ["60s", "30s"]),
  setting("health", "interval", ["5s", "1s", "30s", "500ms"]),
  setting("health", "fall", [1, 2, 3, 5]),
  setting("gateway", "sessionKey", ["one", "two", "three"]),
  setting("gateway", "bodyLimit", ["1mb", "2mb", "4mb"]),
  setting("gateway", "pageSize", [2, 3, 1000], (size) => async (view) => {
    const pages = await view.tools()
    return typeof size === "number" && pages.slice(0, -1).every((page) => page.length === size) &&
      (size > 100) === (pages.length === 1)
  }),
  setting(
    "gateway",
    "listTtl",
    ["0s", "5s", "1m"],
    (ttl) => async (view) =>
      (await view.asked("server/discover"))["ttlMs"] === (ttl === "0s" ? 0 : ttl === "5s" ? 5_000 : 60_000)
  ),
  setting("gateway", "showRouting", [true, false], (shown) => async (view) => {
    const { _meta: meta } = await view.asked("tools/call", { name: (await view.tools()).flat()[0] })
    return typeof meta === "object" && meta !== null && ("dev.portolan/routing" in meta) === shown
  }),
  setting(
    "gateway",
    "documents",
    [true, false],
    (published) => async (view) => ("name" in await view.json("/mcp/server-card")) === published
  ),
  setting("gateway", "sessionIdleTimeout", ["30m", "20m"]),
  setting(
    "gateway",
    "separator",
    ["__", "-"],
    (separator) => async (view) => (await view.tools()).flat().includes(`stdio${String(separator)}pid`)
  ),
  setting(
    "gateway",
    "allowedHosts",
    [[], ["gateway.test"], ["other.test"]],
    (hosts) => async (view) =>
      await view.asHost("gateway.test") === (Array.isArray(hosts) && hosts.includes("gateway.test") ? 200 : 403)
  ),
  // Only written otherwise.
  (_, content) => ({ content, words: "nothing changed" })
]

/** A good edit. */
export const edit = (random: Random, content: Content, material: Material): Edit => {
  for (;;) {
    const made = oneOf(random, makers)(random, content, material)
    if (made !== undefined) return made
  }
}

/** Marks the line of a mistake. */
const here = "# HERE"

/** Where a top-level key may stand: before another one, or at the end. */
const places = (lines: ReadonlyArray<string>): ReadonlyArray<number> => [
  ...lines.flatMap((line, index) => /^\w/.test(line) ? [index] : []),
  lines.length
]

/** Puts a line into a section, in the place of one with the same key. */
const into = (lines: ReadonlyArray<string>, section: string, line: string): ReadonlyArray<string> => {
  const key = /^ {2}\w+:/.exec(line)?.[0]
  const start = lines.indexOf(`${section}:`)
  const end = lines.findIndex((other, index) => index > start && /^\w/.test(other))
  return lines.flatMap((other, index) => {
    if (index === start) return [other, line]
    const isSame = key !== undefined && index > start && (end === -1 || index < end) && other.startsWith(key)
    return isSame ? [] : [other]
  })
}

type Breakage = (random: Random, lines: ReadonlyArray<string>) => ReadonlyArray<string>

const topLevel = (line: string): Breakage => (random, lines) => {
  const at = places(lines)
  return lines.toSpliced(isSome(at) ? oneOf(random, at) : 0, 0, line)
}

const inside = (section: string, line: string): Breakage => (_, lines) => into(lines, section, line)

const breakages: readonly [Breakage, ...ReadonlyArray<Breakage>] = [
  topLevel("healht: {} # HERE"),
  topLevel("@gateway: {} # HERE"),
  topLevel("]: {} # HERE"),
  topLevel("other: [1, 2}, # HERE"),
  topLevel("other: &a *a # HERE"),
  inside("health", "\tfall: 2 # HERE"),
  (_, lines) => [...lines, "health: {} # HERE"],
  (_, lines) => [...lines, "gateway: {} # HERE"],
  inside("health", "  intervall: 3s # HERE"),
  inside("health", "  interval: 3 parsecs # HERE"),
  inside("health", "  fall: 0 # HERE"),
  inside("calls", "  retrys: 1 # HERE"),
  inside("calls", "  limits: { queue: -1 } # HERE"),
  inside("balancing", "  slowStart: 10 # HERE"),
  inside("gateway", "  pageSize: many # HERE"),
  inside("gateway", "  port: 70000 # HERE"),
  inside("gateway", "  allowedHosts: gateway.test # HERE"),
  inside("gateway", "  publicUrl: \"${PORTOLAN_TEST_UNSET}\" # HERE"),
  inside("balancing", "  strategy: fastest # HERE"),
  // The second of the name is the one too many.
  (_, lines) => {
    const end = lines.findIndex((line, index) => index > lines.indexOf("registries:") && /^\w/.test(line))
    return lines.toSpliced(end === -1 ? lines.length : end, 0, "  - { type: memory, name: called } # HERE")
  },
  inside("registries", "  - { type: zookeeper } # HERE"),
  inside("registries", "  - { type: file } # HERE"),
  inside("mcpServers", "  nothing: {} # HERE"),
  inside("mcpServers", "  both: { command: node, url: \"http://127.0.0.1/\" } # HERE"),
  inside("mcpServers", "  typo: { comand: node } # HERE")
]

/** A text with one mistake, and the line it is in. */
export const broken = (random: Random, content: Content): { readonly text: string; readonly line: number } => {
  const lines = oneOf(random, breakages)(random, render(random, content).trimEnd().split("\n"))
  return { text: `${lines.join("\n")}\n`, line: lines.findIndex((line) => line.includes(here)) + 1 }
}
