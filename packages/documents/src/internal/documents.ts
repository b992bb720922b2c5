/**
 * Documents of one kind, each read anew only where it changed.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { DocumentError, type Get, shown, type Tag } from "./http.ts"

export interface Document<A> {
  /** Where it came from: what is relative in it is relative to this. */
  readonly url: URL
  readonly value: A
}

interface Held<A> extends Document<A>, Tag {}

export class Documents<A> {
  private held = new Map<string, Held<A>>()
  private used = new Map<string, Held<A>>()
  private readonly accept: string
  /** Makes a document of parsed JSON, or tells in a line why not. */
  readonly decode: (value: unknown) => Result.Result<A, string>

  constructor(accept: string, decode: (value: unknown) => Result.Result<A, string>) {
    this.accept = `${accept}, application/json;q=0.9`
    this.decode = decode
  }

  /** Reads the document at an address; `from` is the one that names it. */
  get(get: Get, url: URL, from?: URL): Effect.Effect<Document<A>, DocumentError> {
    return Effect.gen({ self: this }, function*() {
      const known = this.used.get(url.href) ?? this.held.get(url.href)
      if (known !== undefined) this.used.set(url.href, known)
      const answer = yield* get({ url, from, accept: this.accept, known })
      if (!("text" in answer)) return answer
      const { text, ...tag } = answer
      const parsed = Result.try({ try: (): unknown => JSON.parse(text, withoutNull), catch: () => "not JSON" })
      const value = yield* Effect.mapError(
        Effect.fromResult(Result.flatMap(parsed, this.decode)),
        (reason) => new DocumentError({ reason: `${shown(tag.url)} can't be read: ${reason}` })
      )
      const document = { ...tag, value }
      this.used.set(url.href, document)
      return document
    })
  }

  /** The last good form of a document that can't be had now. */
  last(url: URL): Document<A> | undefined {
    return this.used.get(url.href)
  }

  /** Forgets what was not asked for since this was last called. */
  turn(): void {
    this.held = this.used
    this.used = new Map()
  }
}

/** Some write null for what isn't there. */
const withoutNull = (_: string, value: unknown): unknown => value === null ? undefined : value
