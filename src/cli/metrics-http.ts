/** `metrics --http`: one request of HTTP/1.x (RFC 9112) and its answer. Pure. */

/** Bytes of a request's head. */
export const HEAD_LIMIT = 8192

/** OpenMetrics 1.0, "Overall Structure". */
const TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

/** Whether the head has come: an empty line ends it (RFC 9112, 2.1). */
export const isWhole = (head: string): boolean => /\r?\n\r?\n/.test(head)

function response(status: string, type: string, body: string, { head = false, more = "" } = {}): string {
  const length = new TextEncoder().encode(body).length
  return `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n${more}Connection: close\r\n\r\n${head ? "" : body}`
}

const plain = (status: string, options = {}) => response(status, "text/plain", `${status}\n`, options)

/** `head`: the request's, as latin1; not whole: what came before the client stopped. `metrics`: asked for when it is wanted. */
export async function answerTo(head: string, metrics: () => Promise<string>): Promise<string> {
  const [line = ""] = head.split(/\r?\n/, 1)
  const [, method, target] = /^(\S+) (\S+) HTTP\/1\.\d$/.exec(line) ?? []
  if (!isWhole(head) || method === undefined) return plain("400 Bad Request")
  if (method !== "GET" && method !== "HEAD") return plain("405 Method Not Allowed", { more: "Allow: GET, HEAD\r\n" })
  // A proxy's form has a scheme and a host (RFC 9112, 3.2.2).
  const path = target!.replace(/^http:\/\/[^/]*/, "").replace(/\?.*$/, "")
  if (path !== "/metrics") return plain("404 Not Found", { head: method === "HEAD" })
  return response("200 OK", TYPE, await metrics(), { head: method === "HEAD" })
}
