/**
 * Events of a session, kept for clients that come back.
 */
import type { EventStore } from "@modelcontextprotocol/server"

interface Kept {
  readonly id: string
  readonly stream: string
  readonly message: Parameters<EventStore["storeEvent"]>[1]
}

/** Keeps all of them: a session of a test is short. */
export const memory = (): EventStore => {
  const kept: Array<Kept> = []
  const streamOf = (eventId: string): string | undefined => kept.find(({ id }) => id === eventId)?.stream
  return {
    storeEvent: async (stream, message) => {
      const id = `${stream}/${kept.length}`
      kept.push({ id, stream, message })
      return id
    },
    getStreamIdForEventId: async (eventId) => streamOf(eventId),
    replayEventsAfter: async (eventId, { send }) => {
      const stream = streamOf(eventId) ?? eventId
      const after = kept.findIndex(({ id }) => id === eventId)
      for (const event of kept.slice(after + 1)) {
        // A priming event has nothing to say.
        if (event.stream === stream && "jsonrpc" in event.message) await send(event.id, event.message)
      }
      return stream
    }
  }
}
