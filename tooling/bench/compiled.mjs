/**
 * Loaded before the gateway's own code: puts the compiled files of the workspace in the place of its sources, so that what
 * is measured is what an installed package runs. `npm run bench` builds them first.
 */
import { registerHooks } from "node:module"

const source = /(\/(?:apps|packages)\/[^/]+)\/src\/(.+)\.ts$/

registerHooks({
  resolve: (specifier, context, next) => {
    const found = next(specifier, context)
    return source.test(found.url)
      ? { ...found, url: found.url.replace(source, "$1/dist/$2.js"), format: "module" }
      : found
  }
})
