/**
 * Everything that passes between clients and servers of either era.
 */
import { calls } from "./calls.ts"
import type { Feature } from "./cell.ts"
import { listing } from "./listing.ts"
import { questions } from "./questions.ts"
import { tasks } from "./tasks.ts"

export const features: ReadonlyArray<Feature> = [...questions, ...calls, ...listing, ...tasks]
