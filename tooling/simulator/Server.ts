import type { VirtualTime } from "./VirtualTime.ts"

/**
 * What a caller gets: a result; an error that the server answered; no connection, so that nothing was sent; or a connection
 * that broke, so that the call may have run.
 */
export type Answer = "result" | "error" | "refused" | "lost"

interface Request {
  /** ms that it takes a server of speed 1. */
  readonly work: number
  /** It got to the server. */
  readonly arrived: () => void
  answer: ((answer: Answer) => void) | undefined
}

/** ms from the gateway to a server, and back. */
const hop = 0.5

/** ms that a server takes to answer with an error. */
const failsIn = 1

/**
 * A simulated server: so many calls at a time, the others wait in it. Calls that are under way when it stops are lost; one
 * that is paused (SIGSTOP) holds everything until it goes on. What a caller cancels while it runs runs to its end.
 */
export class Server {
  readonly id: string
  readonly slots: number
  /** By how much longer than usual a call takes now. */
  factor: (at: number) => number = () => 1
  /** Whether it answers the next call with an error. */
  fails: () => boolean = () => false
  #state: "up" | "paused" | "stopped" = "up"
  readonly #time: VirtualTime
  #running = new Set<Request>()
  #waiting: Array<Request> = []
  #held: Array<() => void> = []
  #idle: (() => void) | undefined

  constructor(id: string, slots: number, time: VirtualTime) {
    this.id = id
    this.slots = slots
    this.#time = time
  }

  /** Sends a call; what it answers cancels it. */
  call(work: number, arrived: () => void, answer: (answer: Answer) => void): () => void {
    const request: Request = { work, arrived, answer }
    this.#time.after(hop, () => this.#receive(request))
    return () => {
      request.answer = undefined
    }
  }

  /** Sends a ping, which any server answers that runs. */
  ping(answer: (alive: boolean) => void): void {
    this.#time.after(hop, () => {
      if (this.#state === "stopped") this.#time.after(hop, () => answer(false))
      else this.#whenUp(() => this.#time.after(hop, () => answer(true)))
    })
  }

  start(): void {
    this.#state = "up"
  }

  /** SIGKILL. */
  kill(): void {
    this.#state = "stopped"
    const lost = [...this.#running, ...this.#waiting]
    this.#running = new Set()
    this.#waiting = []
    this.#held = []
    for (const request of lost) this.#reply(request, "lost")
  }

  /** SIGTERM: stops when nothing is under way any more. */
  stop(then: () => void = () => {}): void {
    this.#idle = () => {
      this.#idle = undefined
      this.kill()
      then()
    }
    this.#settle()
  }

  /** SIGSTOP. */
  pause(): void {
    this.#state = "paused"
  }

  /** SIGCONT. */
  resume(): void {
    this.#state = "up"
    const held = this.#held
    this.#held = []
    for (const go of held) go()
  }

  #receive(request: Request): void {
    if (this.#state === "stopped") return this.#reply(request, "refused")
    request.arrived()
    this.#whenUp(() => {
      if (this.fails()) return void this.#time.after(failsIn, () => this.#reply(request, "error"))
      this.#waiting.push(request)
      this.#settle()
    })
  }

  #settle(): void {
    while (this.#running.size < this.slots) {
      const request = this.#waiting.shift()
      if (request === undefined) break
      // Cancelled while it waited.
      if (request.answer === undefined) continue
      this.#running.add(request)
      this.#time.after(request.work * this.factor(this.#time.now()), () => this.#whenUp(() => this.#finish(request)))
    }
    if (this.#running.size === 0 && this.#waiting.length === 0) this.#idle?.()
  }

  #finish(request: Request): void {
    // Lost with an earlier life of the server.
    if (!this.#running.delete(request)) return
    this.#reply(request, "result")
    this.#settle()
  }

  #reply(request: Request, answer: Answer): void {
    this.#time.after(hop, () => request.answer?.(answer))
  }

  #whenUp(run: () => void): void {
    if (this.#state === "paused") this.#held.push(run)
    else run()
  }
}
