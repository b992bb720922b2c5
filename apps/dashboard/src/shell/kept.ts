/**
 * What a person chose, kept by their browser for this gateway. Where it keeps nothing, a choice lasts as long as the page.
 */

export const kept = (name: string): string | undefined => {
  try {
    return localStorage.getItem(`portolan.${name}`) ?? undefined
  } catch {
    return undefined
  }
}

export const keep = (name: string, value: string | undefined): void => {
  try {
    if (value === undefined) localStorage.removeItem(`portolan.${name}`)
    else localStorage.setItem(`portolan.${name}`, value)
  } catch {
    // Not allowed here: it holds for this page.
  }
}
