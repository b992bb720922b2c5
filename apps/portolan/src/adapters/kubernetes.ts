import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import { common, optional, text } from "./fields.ts"

const Namespace = text("the name of a namespace", (name) => /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name), "Name")

export const kubernetes = Configuration.adapter({
  type: "kubernetes",
  options: Schema.Struct({
    namespaces: optional(
      Schema.Union([Schema.Literal("all"), Schema.NonEmptyArray(Namespace)]).annotate({
        expected: "all, or a list such as [mcp]"
      }),
      "Namespaces that are read, or `all`; that of the service account or of the context by default"
    ),
    labelSelector: optional(
      Schema.NonEmptyString,
      "Only Services with these labels, as Kubernetes writes it: app=mcp-server,tier in (a, b)"
    ),
    portName: optional(Schema.NonEmptyString, "Name of the port; mcp by default, else the only port that there is"),
    instances: optional(
      Schema.Literals(["endpoints", "services"]),
      "Whether each endpoint of a Service is an instance, or the Service itself; endpoints by default"
    ),
    kubeconfig: optional(
      Schema.NonEmptyString,
      "Path of a kubeconfig, relative to the configuration file; the service account inside a cluster by default, " +
        "else what kubectl takes"
    ),
    context: optional(Schema.NonEmptyString, "Context of the kubeconfig; its current one by default")
  }),
  open: ({ kubeconfig, ...options }, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/kubernetes/KubernetesRegistry")),
      (KubernetesRegistry) =>
        KubernetesRegistry.make({
          ...common(context),
          ...options,
          kubeconfig: kubeconfig === undefined ? undefined : Path.resolve(context.directory, kubeconfig)
        })
    )
})
