/**
 * A varlink service on a Unix socket: one handler per method, calls of one
 * connection answered in order, peers refused before their first byte is looked at.
 */
import { chmodSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { type ListenAt, Listener } from "../native/listener.ts"
import {
  type Call,
  decodeCall,
  encodeMessage,
  FrameReader,
  FramingError,
  type Parameters,
  type Reply,
  VarlinkError,
} from "./varlink.ts"

export interface ServiceInfo {
  readonly vendor: string
  readonly product: string
  readonly version: string
  readonly url: string
}

/** A method: returns the reply's parameters, or yields several for a caller that set `more`. */
export type Method = (
  parameters: Parameters,
  call: { readonly more: boolean; readonly signal: AbortSignal },
) => Promise<Parameters> | AsyncGenerator<Parameters, Parameters>

export interface Interface {
  readonly name: string
  /** The interface definition, in varlink's language. */
  readonly description: string
  readonly methods: Readonly<Record<string, Method>>
}

export interface ServerOptions {
  readonly listen: ListenAt
  readonly info: ServiceInfo
  readonly interfaces: readonly Interface[]
  /** Decides by the peer's credentials; default: everybody the socket's mode admits. */
  readonly admit?: (socket: Socket) => boolean
  /** Connections at once. */
  readonly maxConnections?: number
  /** What a handler threw, unless it is a VarlinkError, as an error reply. */
  readonly translate?: (error: unknown) => VarlinkError
}

const SERVICE_DESCRIPTION = `# The Varlink Service Interface is provided by every varlink service
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
`

function serviceInterface(info: ServiceInfo, interfaces: readonly Interface[]): Interface {
  return {
    name: "org.varlink.service",
    description: SERVICE_DESCRIPTION,
    methods: {
      GetInfo: async () => ({
        ...info,
        interfaces: ["org.varlink.service", ...interfaces.map((each) => each.name)],
      }),
      GetInterfaceDescription: async (parameters) => {
        const wanted = parameters["interface"]
        if (typeof wanted !== "string") throw invalidParameter("interface")
        const description =
          wanted === "org.varlink.service"
            ? SERVICE_DESCRIPTION
            : interfaces.find((each) => each.name === wanted)?.description
        if (description === undefined) {
          throw new VarlinkError("org.varlink.service.InterfaceNotFound", { interface: wanted })
        }
        return { description }
      },
    },
  }
}

export function invalidParameter(parameter: string): VarlinkError {
  return new VarlinkError("org.varlink.service.InvalidParameter", { parameter })
}

/** Node's own. */
const BACKLOG = 511

/** How long a refused peer may take to close its end. */
const REFUSED_MS = 2000

export class ControlServer implements AsyncDisposable {
  readonly #sockets = new Set<Socket>()
  #listener!: Listener
  /** Calls whose answer is still to be written. */
  #pending = 0
  #idle: (() => void) | null = null

  static async listen(options: ServerOptions): Promise<ControlServer> {
    const methods = new Map<string, Method>()
    const names = new Set<string>()
    for (const each of [serviceInterface(options.info, options.interfaces), ...options.interfaces]) {
      names.add(each.name)
      for (const [name, method] of Object.entries(each.methods)) methods.set(`${each.name}.${name}`, method)
    }
    const find = (method: string): Method => {
      const found = methods.get(method)
      if (found !== undefined) return found
      const name = method.slice(0, method.lastIndexOf("."))
      throw names.has(name)
        ? new VarlinkError("org.varlink.service.MethodNotFound", { method })
        : new VarlinkError("org.varlink.service.InterfaceNotFound", { interface: name })
    }
    const translate = options.translate ?? (() => new VarlinkError("org.varlink.service.MethodNotImplemented"))

    const control = new ControlServer()
    const create = (): Server => {
      // A client may shut its sending side down and still wait for the answer.
      const server = createServer({ allowHalfOpen: true })
      server.maxConnections = options.maxConnections ?? 64
      server.on("connection", (socket) => {
        socket.on("error", () => socket.destroy())
        control.#sockets.add(socket)
        socket.on("close", () => control.#sockets.delete(socket))
        if (options.admit !== undefined && !options.admit(socket)) {
          refuse(socket)
          return
        }
        void control.#converse(socket, find, translate)
      })
      return server
    }
    control.#listener = await Listener.open(options.listen, BACKLOG, create)
    // The directory is 0700 already; the mode keeps the promise when it is moved.
    chmodSync(options.listen.path, 0o600)
    return control
  }

  /** Accepts nobody; calls of those who are connected are answered. The listening socket is the caller's. */
  pause(): number {
    return this.#listener.pause()
  }

  /** With what `pause` returned. */
  resume(fd: number): Promise<void> {
    return this.#listener.resume(fd)
  }

  async #converse(socket: Socket, find: (method: string) => Method, translate: (error: unknown) => VarlinkError) {
    const reader = new FrameReader()
    const gone = new AbortController()
    socket.once("close", () => gone.abort())
    try {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        for (const frame of reader.push(chunk)) {
          const call = decodeCall(frame)
          this.#pending++
          try {
            await answer(socket, call, find, translate, gone.signal)
          } finally {
            this.#pending--
            if (this.#pending === 0) this.#idle?.()
          }
        }
      }
      socket.end()
    } catch (error) {
      // A peer that cannot be understood is cut off; one that left needs nothing.
      socket.destroy(error instanceof FramingError ? undefined : (error as Error))
    }
  }

  /** Stops listening, lets calls in flight be answered for at most `graceMs`, then ends every connection. */
  async close(graceMs = 1000): Promise<void> {
    const closed = this.#listener.close()
    if (this.#pending > 0) {
      let timer: NodeJS.Timeout | undefined
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#idle = resolve
        }),
        new Promise<void>((resolve) => {
          timer = setTimeout(resolve, graceMs)
        }),
      ])
      clearTimeout(timer)
    }
    for (const socket of this.#sockets) socket.destroySoon()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Answers and reads on without looking: closing a socket with unread data resets
 * it, and the peer would get ECONNRESET instead of the answer.
 */
function refuse(socket: Socket): void {
  socket.end(encodeMessage({ error: "org.varlink.service.PermissionDenied", parameters: {} }))
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), REFUSED_MS)
  socket.on("close", () => clearTimeout(timer))
}

async function send(socket: Socket, reply: Partial<Reply>): Promise<void> {
  if (socket.destroyed) return
  if (socket.write(encodeMessage(reply))) return
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off("drain", done)
      socket.off("close", done)
      resolve()
    }
    socket.on("drain", done)
    socket.on("close", done)
  })
}

async function answer(
  socket: Socket,
  call: Call,
  find: (method: string) => Method,
  translate: (error: unknown) => VarlinkError,
  signal: AbortSignal,
): Promise<void> {
  try {
    const result = find(call.method)(call.parameters, { more: call.more, signal })
    if (!(Symbol.asyncIterator in result)) {
      const parameters = await result
      if (!call.oneway) await send(socket, { parameters })
      return
    }
    for (;;) {
      const { value, done } = await result.next()
      if (call.oneway) {
        if (done === true) return
        continue
      }
      await send(socket, done === true ? { parameters: value } : { parameters: value, continues: true })
      if (done === true) return
      if (!call.more || socket.destroyed) {
        await result.return({})
        return
      }
    }
  } catch (error) {
    const failure = error instanceof VarlinkError ? error : translate(error)
    if (!call.oneway) await send(socket, { error: failure.error, parameters: failure.parameters })
  }
}
