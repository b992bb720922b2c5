#!/usr/bin/env node
import { setFlagsFromString } from "node:v8"

// Plain JavaScript that any Node.js can read, so that an old one gets an answer instead of a syntax error.
const [major, minor] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(`portolan needs Node.js 22.19 or newer; this is ${process.versions.node} (${process.execPath})`)
  process.exit(1)
}
// V8 lets the young generation grow to over 100 MB under load and never gives that back. Small, it is collected more often:
// that costs a tenth of the calls a second at most, and memory stays where it was.
setFlagsFromString("--semi-space-growth-factor=1")
// An installed package brings compiled files; in the workspace Node runs the sources.
const installed = import.meta.url.includes("/node_modules/")
await import(installed ? "../dist/main.js" : "../src/main.ts")
