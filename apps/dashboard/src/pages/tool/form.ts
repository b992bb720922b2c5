/**
 * What all fields of one form share.
 */
import { createContext } from "svelte"
import type { Schema } from "./schema.ts"

interface FormContext {
  /** The whole, which references are of. */
  readonly root: Schema
  /** By the path of the field. */
  readonly mistakes: ReadonlyMap<string, ReadonlyArray<string>>
}

export const [formOf, setForm] = createContext<FormContext>()
