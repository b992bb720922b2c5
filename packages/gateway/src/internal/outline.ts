/**
 * What a schema knows at a path: its keys, or its literals. For suggestions.
 */
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { Path } from "./document.ts"

const step = (ast: SchemaAST.AST, key: string | number): ReadonlyArray<SchemaAST.AST> => {
  switch (ast._tag) {
    case "Union":
      return ast.types.flatMap((member) => step(member, key))
    case "Objects": {
      const property = ast.propertySignatures.find((signature) => signature.name === key)
      return property === undefined ? ast.indexSignatures.map((signature) => signature.type) : [property.type]
    }
    case "Arrays":
      return [...ast.elements, ...ast.rest]
    default:
      return []
  }
}

const at = (schema: Schema.Top, path: Path): ReadonlyArray<SchemaAST.AST> =>
  path.reduce<ReadonlyArray<SchemaAST.AST>>((asts, key) => asts.flatMap((ast) => step(ast, key)), [
    Schema.toEncoded(schema).ast
  ])

const wordsOf = (ast: SchemaAST.AST): ReadonlyArray<string> => {
  switch (ast._tag) {
    case "Union":
      return ast.types.flatMap(wordsOf)
    case "Objects":
      return ast.propertySignatures.map((signature) => String(signature.name))
    case "Literal":
      return typeof ast.literal === "string" ? [ast.literal] : []
    default:
      return []
  }
}

/** Keys of the object, or texts allowed, at the path. */
export const words = (schema: Schema.Top, path: Path): ReadonlyArray<string> => at(schema, path).flatMap(wordsOf)
