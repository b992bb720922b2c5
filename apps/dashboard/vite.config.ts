import { svelte } from "@sveltejs/vite-plugin-svelte"
import { defineConfig } from "vite"
import { bounds, compressed, fontLicenses, pages, typesOnly } from "./bundle.ts"

const gateway = process.env["GATEWAY"] ?? "http://127.0.0.1:7420"

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
        // A few files of what is read together: many small ones compress a tenth worse.
        codeSplitting: {
          groups: [
            { name: "shared", test: /node_modules\/(?!.*uplot)|src\/(?!pages|parts\/[Pp]lot)/, priority: 1 },
            { name: "fleet", test: /src\/pages\/(services?|instances?)\// },
            { name: "calls", test: /src\/pages\/(tools?|traffic)\// },
            { name: "gateway", test: /src\/pages\/(events|sources|configuration)\// }
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
