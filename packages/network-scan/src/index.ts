export * as NetworkScanRegistry from "./NetworkScanRegistry.ts"
export * as Scan from "./Scan.ts"
