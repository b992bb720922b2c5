/**
 * The calls of Consul's HTTP API that are about services: the catalog, their health, and registration at the agent.
 *
 * **Mental model**: one function a call. What wakes a blocking query is written at each, as seen on 1.8.7 and in the
 * source of later releases.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Consul, ConsulError, type Indexed } from "./Consul.ts"

// Consul writes lists and maps that are empty as null.
const Texts = Schema.NullOr(Schema.Array(Schema.String))
const Meta = Schema.NullOr(Schema.Record(Schema.String, Schema.String))

/**
 * Schema of the names of all services, each with the tags that any of its instances has.
 *
 * @category schemas
 * @since 0.2.0
 */
export const Services = Schema.Record(Schema.String, Texts)
export type Services = typeof Services.Type

/**
 * Schema of one row of a health query: a service of a node, with the checks of both.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceEntry = Schema.Struct({
  Node: Schema.Struct({ Node: Schema.String, Address: Schema.String }),
  Service: Schema.Struct({
    ID: Schema.String,
    Service: Schema.String,
    Tags: Schema.optionalKey(Texts),
    Address: Schema.String,
    Port: Schema.Int,
    Meta: Schema.optionalKey(Meta),
    CreateIndex: Schema.optionalKey(Schema.Int)
  }),
  Checks: Schema.Array(Schema.Struct({
    CheckID: Schema.String,
    Status: Schema.String,
    ServiceName: Schema.optionalKey(Schema.String)
  }))
})
export type ServiceEntry = typeof ServiceEntry.Type

const Entries = Schema.NullOr(Schema.Array(ServiceEntry))

/**
 * Schema of a check wherever it is. One of a node itself has no service; one of a service that got another name bears the
 * old one until it is written again.
 *
 * @category schemas
 * @since 0.2.0
 */
export const Check = Schema.Struct({
  Node: Schema.String,
  CheckID: Schema.String,
  ServiceID: Schema.String,
  ServiceName: Schema.String
})
export type Check = typeof Check.Type

const Checks = Schema.NullOr(Schema.Array(Check))
const AgentService = Schema.Struct({ Meta: Schema.optionalKey(Meta) })
const readService = Schema.decodeUnknownEffect(Schema.fromJsonString(AgentService))

/**
 * What is written to the agent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registration {
  readonly ID: string
  readonly Name: string
  readonly Tags: ReadonlyArray<string>
  readonly Address: string
  readonly Port: number
  readonly Meta: Readonly<Record<string, string>>
}

/**
 * A check that is critical unless it is passed within each TTL (seconds).
 *
 * @category models
 * @since 0.1.0
 */
export interface TtlCheck {
  readonly id: string
  readonly seconds: number
}

/**
 * The calls of a client.
 *
 * @category models
 * @since 0.2.0
 */
export interface ConsulCatalog {
  /**
   * Blocking: the names of all services, each with the tags that any of its instances has. It wakes for whatever is
   * written of any service, also where its answer stays the same, but not for checks.
   */
  readonly services: (index: number) => Effect.Effect<Indexed<Services>, ConsulError>
  /** Blocking: the checks that are critical. It wakes when one comes or goes, and now and then without reason. */
  readonly critical: (index: number) => Effect.Effect<Indexed<ReadonlyArray<Check>>, ConsulError>
  /** The instances of a service, whatever their checks say. */
  readonly health: (service: string) => Effect.Effect<Indexed<ReadonlyArray<ServiceEntry>>, ConsulError>
  /** The index that `health` would answer now, for a fifth of its cost. */
  readonly indexOf: (service: string) => Effect.Effect<number, ConsulError>
  /** Fails where the token may not read the service; Consul leaves such out of its answers without a word. */
  readonly mayRead: (service: string) => Effect.Effect<void, ConsulError>
  /** Writes the service with its check, which passes at first; other checks it had before are gone, if so asked. */
  readonly register: (
    registration: Registration,
    check: TtlCheck,
    replaceChecks: boolean
  ) => Effect.Effect<void, ConsulError>
  readonly deregister: (id: string) => Effect.Effect<void, ConsulError>
  /** Passes a check; false when the agent doesn't know it. */
  readonly pass: (check: string) => Effect.Effect<boolean, ConsulError>
  /** The meta values of a service of this agent; `undefined` when there is none of this id. */
  readonly metaOf: (id: string) => Effect.Effect<Readonly<Record<string, string>> | undefined, ConsulError>
}

/**
 * Makes the calls of a client.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ blocking, send }: Consul): ConsulCatalog => {
  const services = blocking(Services)
  const checks = blocking(Checks)
  const entries = blocking(Entries)
  const anything = blocking(Schema.Unknown)
  const change = (path: string, body?: unknown) => Effect.asVoid(send("PUT", `agent/${path}`, body))

  return {
    services: (index) => services("catalog/services", index),
    critical: (index) =>
      Effect.map(checks("health/state/critical", index), ({ body, index }) => ({ index, body: body ?? [] })),
    health: (service) =>
      Effect.map(
        entries(`health/service/${encodeURIComponent(service)}`, 0),
        ({ body, index }) => ({ index, body: body ?? [] })
      ),
    // Both are the index of the service, which its checks move too. The tag, which nothing has, spares Consul the rest.
    indexOf: (service) =>
      Effect.map(
        anything(`catalog/service/${encodeURIComponent(service)}`, 0, [["tag", "portolan-none"]]),
        ({ index }) => index
      ),
    mayRead: (service) =>
      Effect.mapError(
        Effect.asVoid(
          send("GET", `agent/health/service/name/${encodeURIComponent(service)}`, undefined, [200, 404, 429, 503])
        ),
        (error) =>
          error.unauthorized
            ? new ConsulError({ reason: `the token may not read service "${service}" any more`, status: error.status })
            : error
      ),
    register: (registration, check, replaceChecks) =>
      change(`service/register?replace-existing-checks=${replaceChecks}`, {
        ...registration,
        Check: {
          CheckID: check.id,
          Name: "Announced by Portolan",
          TTL: `${check.seconds}s`,
          Status: "passing",
          // Consul's own minimum; until then the service is there and critical.
          DeregisterCriticalServiceAfter: "1m"
        }
      }),
    deregister: (id) =>
      Effect.catchIf(change(`service/deregister/${encodeURIComponent(id)}`), isUnknown, () => Effect.void),
    pass: (check) =>
      Effect.catchIf(
        Effect.as(change(`check/pass/${encodeURIComponent(check)}`), true),
        isUnknown,
        () => Effect.succeed(false)
      ),
    metaOf: (id) =>
      send("GET", `agent/service/${encodeURIComponent(id)}`).pipe(
        Effect.flatMap(({ text }) =>
          Effect.mapBoth(readService(text), {
            onFailure: () => new ConsulError({ reason: "Consul's answer to agent/service can't be read" }),
            onSuccess: ({ Meta }) => Meta ?? {}
          })
        ),
        Effect.catchIf(isUnknown, () => Effect.succeed(undefined))
      )
  }
}

const isUnknown = (error: ConsulError): boolean =>
  error.status === 404 ||
  (error.status === 500 && /unknown (check|service)|does not have associated TTL/i.test(error.reason))
