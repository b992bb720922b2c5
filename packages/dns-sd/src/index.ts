export * as DnsSdRecord from "./DnsSdRecord.ts"
export * as DnsSdRegistry from "./DnsSdRegistry.ts"
