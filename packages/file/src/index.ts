export * as FileRegistry from "./FileRegistry.ts"
