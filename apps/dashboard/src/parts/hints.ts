/**
 * What a tool says of itself. Nobody checks that it is true.
 */

interface Hint {
  readonly word: "read only" | "destructive" | "idempotent" | "open world"
  readonly note: string
}

export const hintsOf = (annotations: unknown): ReadonlyArray<Hint> => {
  const says = (name: string) =>
    typeof annotations === "object" && annotations !== null && Reflect.get(annotations, name) === true
  // What changes nothing destroys nothing, whatever else is said.
  const changes = !says("readOnlyHint")
  const hints: ReadonlyArray<Hint & { readonly holds: boolean }> = [
    { word: "read only", note: "It says that it changes nothing", holds: !changes },
    {
      word: "destructive",
      note: "It says that it may delete or overwrite something",
      holds: changes && says("destructiveHint")
    },
    {
      word: "idempotent",
      note: "It says that two same calls do no more than one",
      holds: changes && says("idempotentHint")
    },
    { word: "open world", note: "It says that it reaches what is outside of its server", holds: says("openWorldHint") }
  ]
  return hints.filter(({ holds }) => holds)
}

export const isDestructive = (annotations: unknown): boolean =>
  hintsOf(annotations).some(({ word }) => word === "destructive")
