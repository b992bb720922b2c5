/**
 * What Kubernetes refuses to store. Only what a client of ours may get wrong: names, labels, annotations, ports, addresses.
 *
 * @since 0.2.0
 */
import { BlockList, isIP } from "node:net"
import type { Problem } from "./Answer.ts"
import { at, isObject, type Json, type JsonObject, listOf, objectOf, same, textOf } from "./Json.ts"
import type { Resource } from "./Resource.ts"

const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const label1035 = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/
const subdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const word = /^[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/

const wrong = (field: string, found: Json | undefined, why: string): Problem => ({
  reason: "FieldValueInvalid",
  field,
  message: `Invalid value: ${JSON.stringify(found ?? null)}: ${why}`
})

const lacking = (field: string, why = ""): Problem => ({
  reason: "FieldValueRequired",
  field,
  message: why === "" ? "Required value" : `Required value: ${why}`
})

const isKey = (text: string): boolean => {
  const [name = "", prefix, more] = text.split("/").toReversed()
  return more === undefined && word.test(name) && (prefix === undefined || subdomain.test(prefix.toLowerCase()))
}

const keyed = "a qualified name must consist of alphanumeric characters, '-', '_' or '.'"

const metadataProblems = (resource: Resource, metadata: JsonObject): Array<Problem> => {
  const problems: Array<Problem> = []
  const name = textOf(metadata["name"])
  if (name === "") problems.push(lacking("metadata.name", "name or generateName is required"))
  else if (resource.kind === "Service" && !label1035.test(name)) {
    problems.push(wrong(
      "metadata.name",
      name,
      "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character"
    ))
  } else if (resource.kind === "Namespace" ? !label.test(name) : !subdomain.test(name)) {
    problems.push(wrong(
      "metadata.name",
      name,
      "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'"
    ))
  }
  for (const [key, text] of Object.entries(objectOf(metadata["labels"]))) {
    if (!isKey(key)) problems.push(wrong("metadata.labels", key, keyed))
    if (text !== "" && !word.test(textOf(text))) {
      problems.push(wrong("metadata.labels", text, "a valid label must be an empty string or a word of at most 63"))
    }
  }
  let bytes = 0
  for (const [key, text] of Object.entries(objectOf(metadata["annotations"]))) {
    if (!isKey(key.toLowerCase())) problems.push(wrong("metadata.annotations", key, keyed))
    bytes += Buffer.byteLength(key) + Buffer.byteLength(textOf(text))
  }
  if (bytes > 262_144) {
    problems.push({
      reason: "FieldValueTooMany",
      field: "metadata.annotations",
      message: "Too long: may not be more than 262144 bytes"
    })
  }
  return problems
}

const isPort = (found: Json | undefined) =>
  typeof found === "number" && Number.isInteger(found) && found > 0 && found < 65_536

const portProblems = (ports: ReadonlyArray<Json>, field: string): Array<Problem> => {
  const names = new Set<string>()
  return ports.flatMap((port, index) => {
    const problems: Array<Problem> = []
    const path = `${field}[${index}]`
    const name = textOf(at(port, "name"))
    if (name !== "" && !label.test(name)) {
      problems.push(
        wrong(
          `${path}.name`,
          name,
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
        )
      )
    }
    if (name === "" && ports.length > 1 && field === "spec.ports") problems.push(lacking(`${path}.name`))
    if (names.has(name)) {
      problems.push({ reason: "FieldValueDuplicate", field: `${path}.name`, message: `Duplicate value: "${name}"` })
    }
    names.add(name)
    if (!isPort(at(port, "port"))) {
      problems.push(wrong(`${path}.port`, at(port, "port"), "must be between 1 and 65535, inclusive"))
    }
    return problems
  })
}

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")

const linkLocal = new BlockList()
linkLocal.addSubnet("169.254.0.0", 16, "ipv4")
linkLocal.addSubnet("fe80::", 10, "ipv6")
linkLocal.addSubnet("224.0.0.0", 24, "ipv4")

const addressProblem = (
  address: Json,
  field: string,
  type: string,
  allowLoopback: boolean
): Problem | undefined => {
  const text = textOf(address)
  if (type === "FQDN") return subdomain.test(text) ? undefined : wrong(field, address, "must be a domain name")
  const family = isIP(text)
  if (type === "IPv4" ? family !== 4 : family !== 6) return wrong(field, address, `must be an ${type} address`)
  const version = family === 4 ? "ipv4" : "ipv6"
  if (text === "0.0.0.0" || text === "::") return wrong(field, address, "may not be unspecified (0.0.0.0 or ::)")
  if (!allowLoopback && loopback.check(text, version)) {
    return wrong(field, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
  }
  return linkLocal.check(text, version)
    ? wrong(field, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    : undefined
}

const sliceProblems = (slice: JsonObject, before: JsonObject | undefined, allowLoopback: boolean): Array<Problem> => {
  const problems: Array<Problem> = []
  const type = textOf(slice["addressType"])
  const types = ["IPv4", "IPv6", "FQDN"]
  if (type === "") problems.push(lacking("addressType"))
  else if (!types.includes(type)) {
    problems.push({
      reason: "FieldValueNotSupported",
      field: "addressType",
      message: `Unsupported value: "${type}": supported values: ${types.map((one) => `"${one}"`).join(", ")}`
    })
  }
  if (before !== undefined && !same(before["addressType"], slice["addressType"])) {
    problems.push(wrong("addressType", type, "field is immutable"))
  }
  const endpoints = listOf(slice["endpoints"])
  if (endpoints.length > 1000) {
    const message = `Too many: ${endpoints.length}: must have at most 1000 items`
    problems.push({ reason: "FieldValueTooMany", field: "endpoints", message })
  }
  endpoints.forEach((endpoint, index) => {
    const field = `endpoints[${index}].addresses`
    const addresses = listOf(at(endpoint, "addresses"))
    if (addresses.length === 0) problems.push(lacking(field, "must contain at least 1 address"))
    if (addresses.length > 100) {
      const message = `Too many: ${addresses.length}: must have at most 100 items`
      problems.push({ reason: "FieldValueTooMany", field, message })
    }
    addresses.forEach((address, place) => {
      const problem = addressProblem(address, `${field}[${place}]`, type, allowLoopback)
      if (problem !== undefined) problems.push(problem)
    })
  })
  return problems.concat(portProblems(listOf(slice["ports"]), "ports"))
}

const serviceProblems = (service: JsonObject): Array<Problem> => {
  const ports = listOf(at(service, "spec", "ports"))
  const type = textOf(at(service, "spec", "type"))
  const headless = at(service, "spec", "clusterIP") === "None"
  if (type === "ExternalName") {
    return subdomain.test(textOf(at(service, "spec", "externalName"))) ? [] : [lacking("spec.externalName")]
  }
  return ports.length === 0 && !headless ? [lacking("spec.ports")] : portProblems(ports, "spec.ports")
}

const deploymentProblems = (deployment: JsonObject): Array<Problem> => {
  const replicas = at(deployment, "spec", "replicas")
  const selected = objectOf(at(deployment, "spec", "selector", "matchLabels"))
  const labels = at(deployment, "spec", "template", "metadata", "labels")
  return [
    ...(typeof replicas === "number" && replicas < 0
      ? [wrong("spec.replicas", replicas, "must be greater than or equal to 0")]
      : []),
    ...(isObject(at(deployment, "spec", "selector")) ? [] : [lacking("spec.selector")]),
    ...(Object.entries(selected).every(([name, text]) => at(labels, name) === text)
      ? []
      : [wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")])
  ]
}

/**
 * What is wrong with an object that shall take the place of another, or of none.
 *
 * @category accessors
 * @since 0.2.0
 */
export const problemsOf = (
  resource: Resource,
  object: JsonObject,
  before: JsonObject | undefined,
  allowLoopback: boolean
): ReadonlyArray<Problem> => {
  const problems = metadataProblems(resource, objectOf(object["metadata"]))
  switch (resource.kind) {
    case "Service":
      return problems.concat(serviceProblems(object))
    case "EndpointSlice":
      return problems.concat(sliceProblems(object, before, allowLoopback))
    case "Deployment":
      return problems.concat(deploymentProblems(object))
    default:
      return problems
  }
}
