/**
 * What a build of the dashboard may hold and weigh, and how it is left for the gateway to serve.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { brotliCompressSync, constants, gzipSync } from "node:zlib"
import type { Plugin, Rolldown } from "vite"

/** kB, after gzip. Fonts are as they are. */
const limits = { "first page": 70, "all pages": 140, "styles": 15, "fonts": 90 }

const firstPage = "/src/pages/chart/Chart.svelte"

const gzip = (content: string | Uint8Array): number => gzipSync(content, { level: 9 }).length

/**
 * Refuses modules of the gateway: the pages take nothing but types from it, and would take Effect with them.
 */
export const typesOnly = (): Plugin => ({
  name: "portolan:types-only",
  apply: "build",
  generateBundle(_, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type !== "chunk") continue
      const foreign = file.moduleIds.find((id) => /\/node_modules\/(effect|@effect|@portolan)\/|\/packages\//.test(id))
      if (foreign !== undefined) this.error(`${foreign} is in the bundle: import its types only`)
    }
  }
})

/** The files that these need at once, themselves among them. */
const withImports = (bundle: Rolldown.OutputBundle, names: ReadonlyArray<string>): ReadonlySet<string> => {
  const found = new Set<string>()
  const add = (name: string): void => {
    if (found.has(name)) return
    found.add(name)
    const file = bundle[name]
    if (file?.type === "chunk") { for (const imported of file.imports) add(imported) }
  }
  for (const name of names) add(name)
  return found
}

/** Refuses a build that weighs more than it may. */
export const bounds = (): Plugin => ({
  name: "portolan:bounds",
  apply: "build",
  generateBundle: {
    order: "post",
    handler(_, bundle) {
      const files = Object.values(bundle)
      const weigh = (chosen: typeof files, measure: (content: string | Uint8Array) => number): number =>
        chosen.reduce((sum, file) => sum + measure(file.type === "chunk" ? file.code : file.source), 0) / 1000
      const ending = (...extensions: ReadonlyArray<string>) =>
        files.filter(({ fileName }) => extensions.some((extension) => fileName.endsWith(extension)))
      const begun = withImports(
        bundle,
        files.flatMap((file) =>
          file.type === "chunk" && (file.isEntry || file.moduleIds.some((id) => id.endsWith(firstPage)))
            ? [file.fileName]
            : []
        )
      )
      const scripts = ending(".js")
      // Beside the modules there is the worker, which is an asset to this build.
      const first = scripts.filter(({ fileName, type }) => type === "asset" || begun.has(fileName))
      const weights = {
        "first page": weigh(first, gzip),
        "all pages": weigh(scripts, gzip),
        "styles": weigh(ending(".css"), gzip),
        "fonts": weigh(ending(".woff2"), (content) => content.length)
      }
      for (const [what, limit] of Object.entries(limits) as ReadonlyArray<[keyof typeof limits, number]>) {
        const weight = weights[what]
        this.info(`${what}: ${weight.toFixed(1)} kB of ${limit}`)
        if (weight > limit) this.error(`${what}: ${weight.toFixed(1)} kB, which is more than ${limit}`)
      }
    }
  }
})

/** Puts the licences of the fonts beside them, as those ask for. */
export const fontLicenses = (): Plugin => ({
  name: "portolan:font-licenses",
  apply: "build",
  generateBundle() {
    for (const name of ["@fontsource-variable/ibm-plex-sans", "@fontsource/ibm-plex-mono"]) {
      const source = readFileSync(fileURLToPath(import.meta.resolve(`${name}/LICENSE`)), "utf8")
      this.emitFile({ type: "asset", fileName: `licenses/${name.slice(name.indexOf("/") + 1)}.txt`, source })
    }
  }
})

/** Leaves a smaller file beside each that can be smaller, for whoever takes it. */
export const compressed = (): Plugin => {
  let folder = "dist"
  return {
    name: "portolan:compressed",
    apply: "build",
    configResolved({ build, root }) {
      folder = resolve(root, build.outDir)
    },
    writeBundle() {
      for (const { name, parentPath } of readdirSync(folder, { recursive: true, withFileTypes: true })) {
        if (!/\.(js|css|svg)$/.test(name)) continue
        const path = join(parentPath, name)
        const content = readFileSync(path)
        const smaller = {
          ".br": brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length } }),
          ".gz": gzipSync(content, { level: 9 })
        }
        for (const [extension, bytes] of Object.entries(smaller)) {
          if (bytes.length < content.length) writeFileSync(path + extension, bytes)
        }
      }
    }
  }
}

/**
 * The page itself: its font is asked for as soon as the page is there, and while developing its base is the server's root,
 * whatever page it is.
 */
export const pages = (): Plugin => ({
  name: "portolan:pages",
  transformIndexHtml: {
    order: "post",
    handler(html, { bundle, server }) {
      if (server !== undefined) return html.replace("<base href=\"./\">", "<base href=\"/\">")
      const font = Object.keys(bundle ?? {}).find((name) => /plex-sans-latin-wght-normal.*\.woff2$/.test(name))
      return font === undefined ? html : [{
        tag: "link",
        attrs: { rel: "preload", href: `./${font}`, as: "font", type: "font/woff2", crossorigin: true },
        injectTo: "head"
      }]
    }
  }
})
