import * as AiCatalog from "../src/internal/aiCatalog.ts"
import * as ServerCard from "../src/internal/serverCard.ts"
import * as Publisher from "./Publisher.ts"

/** A catalog that holds its cards in itself. */
const catalog = (): Publisher.Publisher => {
  const cards = new Map<string, object>()
  return {
    answer: () => ({
      body: {
        specVersion: "1.0",
        entries: Array.from(cards, ([identifier, data]) => ({ identifier, type: ServerCard.mediaType, data }))
      },
      headers: { "content-type": AiCatalog.mediaType }
    }),
    put: (card) => cards.set(card.name, card),
    delete: (name) => cards.delete(name),
    clear: () => cards.clear()
  }
}

Publisher.suite("documents (catalog)", catalog, (catalog) => ({ catalog }))
