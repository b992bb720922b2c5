#!/usr/bin/env node
import nodeModule from "node:module"
import { fileURLToPath } from "node:url"
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8"

// Plain JavaScript that any Node.js can read, so that an old one gets an answer instead of a syntax error.
const [major, minor] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(`portolan needs Node.js 22.19 or newer; this is ${process.versions.node} (${process.execPath})`)
  process.exit(1)
}
// V8 lets the young generation grow to over 100 MB under load and never gives that back. Small as it begins, it is collected
// hundreds of times a second, and most of what is there was under way just then. So it grows once, to four times its first
// size (8 MB), for which something has to survive two collections, and never again.
setFlagsFromString("--semi-space-growth-factor=4")
const isYoung = ({ space_name }) => space_name === "new_space"
const youngGeneration = () => getHeapSpaceStatistics().find(isYoung)?.space_size ?? 0
for (let kept = []; youngGeneration() < 4_194_304 && kept.length < 128;) kept.push(Array.from({ length: 8_192 }, () => 0))
setFlagsFromString("--semi-space-growth-factor=1")
// An installed package brings compiled files; in the workspace Node runs the sources.
const installed = import.meta.url.includes("/node_modules/")
// Node keeps what it compiled, which a third of a command's time goes into: beside what is installed, where only those write
// who could change the command itself. Where it can't write there, it says nothing and does without.
const cache = installed ? "../../.cache/portolan" : "../node_modules/.cache/portolan"
nodeModule.enableCompileCache(fileURLToPath(new URL(cache, import.meta.url)))
await import(installed ? "../dist/main.js" : "../src/main.ts")
