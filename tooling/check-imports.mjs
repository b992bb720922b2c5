/**
 * Holds the import rules of the design: who may import what, in sources and in declared dependencies.
 *
 * - everything may import core;
 * - only apps import adapters; an adapter imports neither another adapter, nor mcp, gateway or an app;
 * - gateway imports core and mcp;
 * - core imports `effect` alone: no transport, no HTTP, no MCP SDK;
 * - relative imports stay inside their package.
 */
import { globSync, readFileSync } from "node:fs"
import { dirname, relative, resolve, sep } from "node:path"

const adapters = ["file", "consul", "kubernetes", "redis", "etcd", "network-scan", "dns-sd", "documents"]

/** What the sources of a package may import of the workspace. */
const allowed = (name) => {
  if (name === "core") return []
  if (name === "mcp" || name === "testkit" || adapters.includes(name)) return ["core"]
  if (name === "gateway") return ["core", "mcp"]
  return undefined
}

const mistakes = []
const imports = /^\s*(?:import|export)\s[^"';]*?from\s*"([^"]+)"|^\s*import\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/gm

for (const file of globSync("packages/*/{package.json,src/**/*.ts}")) {
  const name = file.split(sep)[1]
  const may = allowed(name)
  if (may === undefined) {
    mistakes.push(`${file}: no rule for packages/${name}: add one to tooling/check-imports.mjs`)
    continue
  }
  const text = readFileSync(file, "utf8")
  const specifiers = file.endsWith("package.json")
    ? Object.keys({ ...JSON.parse(text).dependencies, ...JSON.parse(text).peerDependencies })
    : Array.from(text.matchAll(imports), (match) => match[1] ?? match[2] ?? match[3])
  for (const specifier of specifiers) {
    if (specifier.startsWith(".")) {
      const target = relative(`packages/${name}`, resolve(dirname(file), specifier))
      if (target.startsWith("..")) mistakes.push(`${file}: ${specifier} leaves its package`)
      if (!specifier.endsWith(".ts") && !specifier.endsWith(".json")) {
        mistakes.push(`${file}: ${specifier} has no extension`)
      }
      continue
    }
    const workspace = /^@portolan\/([^/]+)/.exec(specifier)?.[1]
    if (workspace !== undefined && workspace !== name && !may.includes(workspace)) {
      mistakes.push(`${file}: ${name} may not import ${specifier}`)
    }
    if (specifier === "portolan" || specifier.startsWith("portolan/")) {
      mistakes.push(`${file}: a package may not import an app`)
    }
    if (name === "core" && specifier !== "effect" && !specifier.startsWith("effect/")) {
      mistakes.push(`${file}: core imports effect alone, not ${specifier}`)
    }
    // An address by itself is a value.
    const transport = /^effect\/(http|http-api|socket|rpc|ai|net(?!\/NetAddress$)|process)\b/
    if (name === "core" && transport.test(specifier)) {
      mistakes.push(`${file}: core knows no transport, so not ${specifier}`)
    }
  }
}

for (const mistake of mistakes) console.error(mistake)
process.exit(mistakes.length === 0 ? 0 : 1)
