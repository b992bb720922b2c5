import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vite"
import { bounds, compressed, fontLicenses, pages, typesOnly } from "./bundle.ts"

const gateway = process.env["GATEWAY"] ?? "http://127.0.0.1:7420"

/** Parts that the first page has no use for. */
const later =
  /src\/parts\/([Pp]lot|Table|PageHead|Tabs|Became|Bar|Checks|Trends|Explanation|explanation|explained|hints)\b/

// Everything is relative, so that it works under whatever path a proxy gives it.
export default defineConfig({
  base: "./",
  plugins: [
    svelte({ compilerOptions: { cssHash: ({ filename = "", hash }) => `s${hash(filename).slice(0, 4)}` } }),
    pages(),
    typesOnly(),
    bounds(),
    fontLicenses(),
    compressed()
  ],
  worker: { format: "es", plugins: () => [typesOnly()] },
  build: {
    target: "es2023",
    modulePreload: { polyfill: false },
    // Inlined, it would be refused by the policy.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    license: { fileName: "licenses/code.md" },
    rolldownOptions: {
      output: {
        // One file for all pages but the first: many small ones compress worse, and it is loaded once.
        codeSplitting: {
          groups: [
            {
              name: "shared",
              test: (id) => /node_modules\/(?!.*uplot)|src\/(?!pages)/.test(id) && !later.test(id),
              priority: 1
            },
            { name: "pages", test: /src\/(parts|pages\/(?!chart\/))/ }
          ]
        }
      }
    }
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/api": gateway, "/mcp": gateway }
  }
})
