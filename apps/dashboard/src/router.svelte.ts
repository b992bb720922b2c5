/**
 * Where the person is: the path and query of the address, and going elsewhere without loading anew.
 *
 * **Details**: paths are relative to the document's base, so that everything works under whatever path a proxy gives it.
 */

export type Query = Readonly<Record<string, string | undefined>>

// Frozen when the document was parsed: `pushState` doesn't move it.
const base = new URL(".", document.baseURI)

const textOf = (url: URL): string => url.pathname + url.search + url.hash

/** Browsers take long to keep a state, and refuse those who do so often: it is kept once the scrolling has come to rest, ms. */
const rest = 150

class Router {
  #resting: ReturnType<typeof setTimeout> | undefined
  #url = $state.raw(new URL(location.href))
  readonly path = $derived(this.#pathOf(this.#url))
  readonly query = $derived(this.#url.searchParams)

  constructor() {
    // Pages load late, and only then have the height to scroll back to.
    history.scrollRestoration = "manual"
    // Some browsers don't tell the end.
    addEventListener("onscrollend" in globalThis ? "scrollend" : "scroll", () => {
      clearTimeout(this.#resting)
      this.#resting = setTimeout(() => history.replaceState({ top: scrollY }, ""), rest)
    })
    addEventListener("popstate", () => this.#moved())
    document.addEventListener("click", (event) => this.#clicked(event))
  }

  /** How far down the person was when they were here last; 0 where they come for the first time. */
  get top(): number {
    const state: unknown = history.state
    const top: unknown = typeof state === "object" && state !== null ? Reflect.get(state, "top") : undefined
    return typeof top === "number" ? top : 0
  }

  /** `path`: without a query, and encoded. Asked for often, and so put together without an URL that is parsed. */
  href(path: string, query: Query = {}): string {
    const given = Object.entries(query).flatMap(([name, value = ""]) => value === "" ? [] : [[name, value]])
    return `${base.pathname}${path.slice(1)}${given.length === 0 ? "" : `?${new URLSearchParams(given)}`}`
  }

  go(path: string, { query = {}, replace = false }: { replace?: boolean; query?: Query } = {}): void {
    this.#to(this.href(path, query), replace)
  }

  set(query: Query): void {
    const url = new URL(location.href)
    for (const [name, value] of Object.entries(query)) {
      if (value === undefined || value === "") url.searchParams.delete(name)
      else url.searchParams.set(name, value)
    }
    this.#to(textOf(url), true)
  }

  #to(address: string, replace: boolean): void {
    if (replace) history.replaceState(history.state, "", address)
    else {
      history.replaceState({ top: scrollY }, "")
      history.pushState(null, "", address)
    }
    this.#moved()
  }

  #moved(): void {
    clearTimeout(this.#resting)
    if (location.href !== this.#url.href) this.#url = new URL(location.href)
  }

  #pathOf(url: URL): string {
    return url.pathname.startsWith(base.pathname) ? `/${url.pathname.slice(base.pathname.length)}` : "/"
  }

  // Only plain clicks on links into these pages: all others are the browser's.
  #clicked(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null
    if (!(link instanceof HTMLAnchorElement) || link.target !== "" || link.hasAttribute("download")) return
    const url = new URL(link.href)
    if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) return
    if (url.hash !== "" && url.pathname === location.pathname && url.search === location.search) return
    // Served by the gateway itself.
    if (/^\/(api|mcp|metrics)(\/|$)/.test(this.#pathOf(url))) return
    event.preventDefault()
    if (url.href !== location.href) this.#to(textOf(url), false)
  }
}

export const router = new Router()
