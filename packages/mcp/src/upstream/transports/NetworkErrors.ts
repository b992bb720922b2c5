/**
 * Errors of the network in one line that says what to do.
 *
 * @since 0.1.0
 */
import { oneLine } from "./Connection.ts"

/** The code of a system or library error. */
export const codeOf = (error: Error): string | undefined =>
  "code" in error && typeof error.code === "string" ? error.code : undefined

const wantsCertificate = "the server asks for a client certificate: set `tls.cert` and `tls.key`"
/** The server closed the connection before its first byte. */
export const unanswered = "connection closed by the server before it said anything: " +
  "if it asks for a client certificate, set `tls.cert` and `tls.key`"
const noTls = "the server doesn't speak TLS on this port: check the URL"

/** Why a connection couldn't be had, or was lost. */
export const reason = (error: Error): string => {
  const code = codeOf(error)
  switch (code) {
    case "ECONNREFUSED":
      return "connection refused"
    case "ENOTFOUND":
      return "host not found"
    case "EAI_AGAIN":
      return "host not found (the name server doesn't answer)"
    case "ECONNRESET":
    case "EPIPE":
    case "UND_ERR_SOCKET":
      return "connection closed by the server"
    case "UND_ERR_CONNECT_TIMEOUT":
    case "ETIMEDOUT":
      return "no connection in time"
    case "UND_ERR_RES_EXCEEDED_MAX_SIZE":
      return "the answer is longer than is read"
    case "CERT_HAS_EXPIRED":
      return "the server's certificate has expired: it must be renewed there"
    case "CERT_NOT_YET_VALID":
      return "the server's certificate isn't valid yet: check the clocks of both sides"
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "CERT_SIGNATURE_FAILURE":
      return "the server's certificate comes from an unknown authority: name its CA in `tls.ca`"
    case "ERR_TLS_CERT_ALTNAME_INVALID": {
      const host = "host" in error && typeof error.host === "string" ? error.host : "this host"
      return `the server's certificate isn't for ${host}: correct the URL, or set \`tls.serverName\` to a name that it holds`
    }
    case "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED":
    case "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE":
    case "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE":
      return wantsCertificate
    case "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA":
    case "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE":
    case "ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN":
    case "ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE":
    case "ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN":
      return "the server doesn't take our certificate: check `tls.cert`"
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return noTls
    case "EPROTO":
      // The same, met while writing.
      if (/wrong version number|packet length too long/.test(error.message)) return noTls
      if (/certificate required|handshake failure/.test(error.message)) return wantsCertificate
      return oneLine(error.message)
    default:
      if (code?.startsWith("HPE_") === true) return "the server doesn't speak HTTP on this port: check the URL"
      return oneLine(code === undefined ? error.message : `${error.message} (${code})`)
  }
}
