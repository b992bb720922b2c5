/**
 * Keys that lead somewhere from wherever the focus is, unless somebody types, or has switched them off.
 */
import { router } from "../router.svelte.ts"
import { keep, kept } from "./kept.ts"
import { places } from "./places.ts"

class Shortcuts {
  #on = $state(kept("shortcuts") !== "off")
  /** Whether the sheet with all of them is open. */
  sheet = $state(false)
  // `g` was pressed, until then.
  #goingUntil = 0

  get on(): boolean {
    return this.#on
  }

  set on(on: boolean) {
    this.#on = on
    keep("shortcuts", on ? undefined : "off")
  }

  pressed(event: KeyboardEvent): void {
    if (!this.#on || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.target instanceof Element && event.target.closest("input, select, textarea, dialog, [contenteditable]")) {
      return
    }
    const going = event.timeStamp < this.#goingUntil
    this.#goingUntil = 0
    if (event.key === "g") {
      this.#goingUntil = event.timeStamp + 1500
      return
    }
    if (event.key === "?") this.sheet = true
    else if (event.key === "/") {
      const filter = document.querySelector<HTMLElement>("[data-filter]")
      if (filter === null) return
      filter.focus()
    } else {
      const place = going ? places.flat().find(({ key }) => key === event.key) : undefined
      if (place === undefined) return
      router.go(place.path)
    }
    event.preventDefault()
  }
}

export const shortcuts = new Shortcuts()
