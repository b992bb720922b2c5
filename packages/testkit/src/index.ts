export * as FaultProxy from "./FaultProxy.ts"
export * as FaultyRegistry from "./FaultyRegistry.ts"
export * as RegistryLaws from "./RegistryLaws.ts"
export * as ScriptedRegistry from "./ScriptedRegistry.ts"
