export * as DocumentsRegistry from "./DocumentsRegistry.ts"
