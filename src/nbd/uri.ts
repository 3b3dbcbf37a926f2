/** NBD URIs (doc/uri.md of the NBD project): nbd://host[:port]/export, nbd+unix:///export?socket=PATH. */
import { Exit, TresorError } from "../base/errors.ts"

export interface NbdTarget {
  readonly at: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly exportName: string
}

const PORT = 10809

export const isNbdUri = (text: string): boolean => /^nbds?(\+[a-z]+)?:/i.test(text)

/** Of the export without a name behind a Unix socket. */
export function nbdUri(socket: string): string {
  return `nbd+unix:///?socket=${socket.split("/").map(encodeURIComponent).join("/")}`
}

function refused(text: string, fact: string): TresorError {
  return new TresorError("NBD_URI", Exit.badArguments, `Cannot use ${text}: ${fact}`)
}

/** Throws TresorError NBD_URI. */
export function parseNbdUri(text: string): NbdTarget {
  if (!URL.canParse(text)) throw refused(text, "it is not a URI")
  const uri = new URL(text)
  let exportName: string
  try {
    // One slash separates; all others belong to the name.
    exportName = decodeURIComponent(uri.pathname.replace(/^\//, ""))
  } catch {
    throw refused(text, "its export name is not UTF-8")
  }
  if (Buffer.byteLength(exportName) > 4096) throw refused(text, "its export name is longer than 4096 bytes")
  if (uri.username !== "" || uri.password !== "") throw refused(text, "users belong to TLS, which is not spoken here")
  const path = uri.searchParams.get("socket")
  switch (uri.protocol) {
    case "nbd+unix:":
      if (path === null || path === "") throw refused(text, "it names no socket; add ?socket=PATH")
      return { at: { path }, exportName }
    case "nbd:": {
      if (path !== null) throw refused(text, "a socket goes with nbd+unix://")
      if (uri.hostname === "") throw refused(text, "it names no host")
      const host = uri.hostname.replace(/^\[(.*)\]$/, "$1")
      return { at: { host, port: uri.port === "" ? PORT : Number(uri.port) }, exportName }
    }
    case "nbds:":
    case "nbds+unix:":
      throw refused(text, "TLS is left to the socket's owner; put stunnel or nbdkit's nbd plugin in front")
    default:
      throw refused(text, `${uri.protocol} is not spoken here; nbd:// and nbd+unix:// are`)
  }
}
