export * as FileHints from "./FileHints.ts"
export * as FileRegistry from "./FileRegistry.ts"
