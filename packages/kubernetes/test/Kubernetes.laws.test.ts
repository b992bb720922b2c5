import * as KubernetesRegistry from "@portolan/kubernetes/KubernetesRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as KubernetesBackend from "./KubernetesBackend.ts"

RegistryLaws.suite(
  "kubernetes",
  ({ kubeconfig }) => KubernetesRegistry.make({ kubeconfig, wait: "1 second" }),
  { controls: KubernetesBackend.make, instance: KubernetesBackend.instance, sizes: { storm: 400 } }
)
