import { fileURLToPath } from "node:url"

export const files = fileURLToPath(new URL("dist", import.meta.url))
