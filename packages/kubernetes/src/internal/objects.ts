/**
 * What is read of the objects of Kubernetes. Lists that Go has none of are `null` in its JSON.
 *
 * @since 0.2.0
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * What every annotation of ours begins with.
 *
 * @category constants
 * @since 0.2.0
 */
export const prefix = "portolan.dev/"

/**
 * Labels that Kubernetes and its tools agree on.
 *
 * @category constants
 * @since 0.2.0
 */
export const labels = {
  /** Of a slice: the Service that it belongs to. */
  service: "kubernetes.io/service-name",
  name: "app.kubernetes.io/name",
  version: "app.kubernetes.io/version",
  component: "app.kubernetes.io/component",
  managedBy: "app.kubernetes.io/managed-by",
  /** Of a slice: who writes it. Controllers leave those of others alone. */
  sliceManagedBy: "endpointslice.kubernetes.io/managed-by",
  /** Of what no kube-proxy needs to hear of. */
  headless: "service.kubernetes.io/headless"
} as const

const Texts = Schema.Record(Schema.String, Schema.String)
const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const described = {
  name: Schema.String,
  namespace: Schema.String,
  labels: optional(Texts),
  annotations: optional(Texts)
}
const Described = Schema.Struct(described)
const Metadata = Schema.Struct({ ...described, uid: Schema.String, resourceVersion: Schema.String })

const Port = Schema.Struct({
  name: optional(Schema.String),
  port: optional(Schema.Int),
  protocol: optional(Schema.String),
  appProtocol: optional(Schema.String)
})

const ServiceSchema = Schema.Struct({
  metadata: Described,
  spec: optional(Schema.Struct({
    type: optional(Schema.String),
    externalName: optional(Schema.String),
    ipFamilies: optional(Schema.Array(Schema.String)),
    ports: optional(Schema.Array(Port))
  })),
  status: optional(Schema.Struct({
    loadBalancer: optional(Schema.Struct({
      ingress: optional(Schema.Array(Schema.Struct({ ip: optional(Schema.String), hostname: optional(Schema.String) })))
    }))
  }))
})

const EndpointSliceSchema = Schema.Struct({
  metadata: Described,
  addressType: Schema.String,
  endpoints: optional(Schema.Array(Schema.Struct({
    addresses: Schema.Array(Schema.String),
    conditions: optional(Schema.Struct({
      ready: optional(Schema.Boolean),
      terminating: optional(Schema.Boolean)
    })),
    zone: optional(Schema.String),
    targetRef: optional(Schema.Struct({ kind: optional(Schema.String), name: optional(Schema.String) }))
  }))),
  ports: optional(Schema.Array(Port))
})

/**
 * A port of a Service or of a slice.
 *
 * @category models
 * @since 0.2.0
 */
export type Port = typeof Port.Type

/**
 * What is read of a Service.
 *
 * @category models
 * @since 0.2.0
 */
export type Service = typeof ServiceSchema.Type

/**
 * What is read of an EndpointSlice.
 *
 * @category models
 * @since 0.2.0
 */
export type EndpointSlice = typeof EndpointSliceSchema.Type

const reader = <A extends { readonly metadata: typeof Described.Type }, I>(schema: Schema.Codec<A, I>) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (object: unknown): A | string =>
    Result.match(decode(object), {
      onFailure: ({ issue }) => ServiceInstance.explain(issue),
      onSuccess: (object) => ({ ...object, metadata: { ...object.metadata, annotations: ours(object.metadata) } })
    })
}

// The others change often, and may be large.
const ours = ({ annotations }: typeof Described.Type) =>
  Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => key.startsWith(prefix)))

/** The object, or in one line what is wrong with it. */
export const readService: (object: unknown) => Service | string = reader(ServiceSchema)
export const readSlice: (object: unknown) => EndpointSlice | string = reader(EndpointSliceSchema)

const readMetadata = Schema.decodeUnknownOption(Schema.Struct({ metadata: Metadata }))

/** What any object is known by. */
export interface Known {
  readonly key: string
  readonly uid: string
  readonly resourceVersion: string
  /** The Service that it belongs to, by its label. */
  readonly service: string
}

/** None: it is no object. */
export const knownOf = (object: unknown): Known | undefined =>
  Option.getOrUndefined(
    Option.map(readMetadata(object), ({ metadata: { labels: said, name, namespace, resourceVersion, uid } }) => ({
      key: `${namespace}/${name}`,
      uid,
      resourceVersion,
      service: `${namespace}/${said?.[labels.service] ?? ""}`
    }))
  )
