/**
 * A value that is worked out of others, of which who reads it is told only where it differs.
 *
 * **Details**: whoever reads something derived is asked about by each change of what that is derived of, whether or not it
 * comes out as before. Where hundreds of readers hang on what hardly ever changes, that costs more than all that does.
 */
import { untrack } from "svelte"

/** To be made while a component is, whose end ends it. */
export class Settled<Value> {
  #value: Value

  constructor(of: () => Value) {
    this.#value = $state.raw(untrack(of))
    $effect.pre(() => {
      this.#value = of()
    })
  }

  get value(): Value {
    return this.#value
  }
}
