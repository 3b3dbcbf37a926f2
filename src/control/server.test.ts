import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { deferred } from "../base/deferred.ts"
import { ControlClient } from "./client.ts"
import { ControlServer, invalidParameter, type ServerOptions } from "./server.ts"
import { FramingError, type Parameters, VarlinkError } from "./varlink.ts"

const folder = mkdtempSync(join(tmpdir(), "tresor-control-"))
after(() => rmSync(folder, { recursive: true }))

let sockets = 0
let released = 0

/** `begun`: a call of Slow has reached the server. */
async function serve(
  more: Partial<ServerOptions> = {},
): Promise<{ server: ControlServer; path: string; begun: Promise<void> }> {
  const begun = deferred<void>()
  const path = join(folder, `${++sockets}.sock`)
  const server = await ControlServer.listen({
    listen: { path },
    info: { vendor: "Tresor", product: "test", version: "1", url: "https://example.org" },
    interfaces: [
      {
        name: "org.example.test",
        description: "interface org.example.test\nmethod Echo(text: string) -> (text: string)\n",
        methods: {
          Echo: async ({ text }) => {
            if (typeof text !== "string") throw invalidParameter("text")
            return { text }
          },
          Fail: async () => {
            throw new Error("inside")
          },
          Slow: () => {
            begun.resolve()
            return new Promise<Parameters>((resolve) => setTimeout(resolve, 100, { slow: true }))
          },
          Count: async function* () {
            try {
              for (let n = 0; n < 3; n++) yield { n }
              return { n: 3 }
            } finally {
              released++
            }
          },
        },
      },
    ],
    translate: (error) => new VarlinkError("org.example.test.Broken", { message: (error as Error).message }),
    ...more,
  })
  return { server, path, begun: begun.promise }
}

/** Writes bytes, half-closes, and returns every byte that came back. */
async function exchange(path: string, bytes: string | Uint8Array): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true })
  let text = ""
  socket.setEncoding("utf8").on("data", (chunk) => {
    text += chunk
  })
  socket.on("error", () => {})
  socket.end(bytes)
  await once(socket, "close")
  return text
}

test("GetInfo, byte for byte", async () => {
  await using service = (await serve()).server
  assert.ok(service)
  const answer = await exchange(join(folder, `${sockets}.sock`), '{"method":"org.varlink.service.GetInfo"}\0')
  assert.equal(
    answer,
    '{"parameters":{"vendor":"Tresor","product":"test","version":"1","url":"https://example.org",' +
      '"interfaces":["org.varlink.service","org.example.test"]}}\0',
  )
})

test("the socket is the owner's alone", async () => {
  const { server, path } = await serve()
  assert.equal(statSync(path).mode & 0o777, 0o600)
  await server.close()
})

test("calls written at once are answered in order; oneway has no answer", async () => {
  const { server, path } = await serve()
  const call = (text: string, oneway = false) =>
    `${JSON.stringify({ method: "org.example.test.Echo", parameters: { text }, oneway })}\0`
  const slow = '{"method":"org.example.test.Slow"}\0'
  assert.equal(
    await exchange(path, slow + call("a") + call("b", true) + call("c")),
    '{"parameters":{"slow":true}}\0{"parameters":{"text":"a"}}\0{"parameters":{"text":"c"}}\0',
  )
  await server.close()
})

test("more: one reply each, all but the last continue; without more only the first", async () => {
  const { server, path } = await serve()
  assert.equal(
    await exchange(path, '{"method":"org.example.test.Count","more":true}\0'),
    '{"parameters":{"n":0},"continues":true}\0{"parameters":{"n":1},"continues":true}\0' +
      '{"parameters":{"n":2},"continues":true}\0{"parameters":{"n":3}}\0',
  )
  released = 0
  const client = await ControlClient.connect(path)
  const seen: unknown[] = []
  for await (const { n } of client.stream("org.example.test.Count")) seen.push(n)
  assert.deepEqual(seen, [0, 1, 2, 3])
  assert.equal(released, 1)
  client.close()
  await server.close()
})

test("errors: unknown interface, unknown method, bad parameter, failure inside", async () => {
  const { server, path } = await serve()
  using client = await ControlClient.connect(path)
  const refusal = async (method: string, parameters = {}) => {
    const error = await client.call(method, parameters).catch((reason: unknown) => reason)
    assert.ok(error instanceof VarlinkError)
    return [error.error, error.parameters]
  }
  assert.deepEqual(await refusal("org.nobody.Echo"), [
    "org.varlink.service.InterfaceNotFound",
    { interface: "org.nobody" },
  ])
  assert.deepEqual(await refusal("org.example.test.Nothing"), [
    "org.varlink.service.MethodNotFound",
    { method: "org.example.test.Nothing" },
  ])
  assert.deepEqual(await refusal("org.example.test.Echo", { text: 1 }), [
    "org.varlink.service.InvalidParameter",
    { parameter: "text" },
  ])
  assert.deepEqual(await refusal("org.example.test.Fail"), ["org.example.test.Broken", { message: "inside" }])
  assert.deepEqual(await refusal("org.varlink.service.GetInterfaceDescription", { interface: "x" }), [
    "org.varlink.service.InterfaceNotFound",
    { interface: "x" },
  ])
  // The connection has survived all of it.
  assert.deepEqual(await client.call("org.example.test.Echo", { text: "still here" }), { text: "still here" })
  await server.close()
})

test("a peer that speaks no varlink is cut off, the others are not", async () => {
  const { server, path } = await serve()
  using other = await ControlClient.connect(path)
  for (const bytes of ["GET / HTTP/1.1\r\n\r\n\0", "\0", '{"method":7}\0', Buffer.from([0xff, 0])]) {
    assert.equal(await exchange(path, bytes), "")
  }
  assert.equal(await exchange(path, '{"method":"half'), "")
  assert.deepEqual(await other.call("org.example.test.Echo", { text: "x" }), { text: "x" })
  await server.close()
})

test("a peer that is not admitted is told so and heard no further", async () => {
  const { server, path } = await serve({ admit: () => false })
  assert.equal(
    await exchange(path, '{"method":"org.varlink.service.GetInfo"}\0'),
    '{"error":"org.varlink.service.PermissionDenied","parameters":{}}\0',
  )
  await server.close()
})

test("a refused peer gets the answer whatever it sends, and is cut off when it stays", async () => {
  const { server, path } = await serve({ admit: () => false })
  const denied = '{"error":"org.varlink.service.PermissionDenied","parameters":{}}\0'
  assert.equal(await exchange(path, Buffer.alloc(3 << 20, "x")), denied)
  using client = await ControlClient.connect(path)
  await assert.rejects(client.call("org.varlink.service.GetInfo"), /PermissionDenied/)
  const started = performance.now()
  const staying = connect({ path, allowHalfOpen: true }).resume()
  staying.on("error", () => {})
  const writing = setInterval(() => staying.write("x"), 50)
  await new Promise((resolve) => staying.once("close", resolve))
  clearInterval(writing)
  assert.ok(performance.now() - started < 30_000)
  await server.close()
})

test("close() waits for the call in flight", async () => {
  const { server, path, begun } = await serve()
  using client = await ControlClient.connect(path)
  const answer = client.call("org.example.test.Slow")
  await begun
  await server.close()
  assert.deepEqual(await answer, { slow: true })
  await assert.rejects(client.call("org.example.test.Slow"))
})

test("a client whose server dies before the answer says so", async () => {
  const { server, path, begun } = await serve()
  using client = await ControlClient.connect(path)
  const answer = client.call("org.example.test.Slow")
  await begun
  await Promise.all([assert.rejects(answer, FramingError), server.close(0)])
})

test("a client over a pair of pipes is closed quietly, whichever end left first", async () => {
  for (const left of ["other end", "nobody"]) {
    const script = `
      import { spawn } from "node:child_process"
      import { Duplex } from "node:stream"
      import { ControlClient } from ${JSON.stringify(new URL("./client.ts", import.meta.url).href)}
      const child = spawn(${left === "nobody" ? `"cat", []` : `"true", []`}, { stdio: ["pipe", "pipe", "inherit"] })
      const client = new ControlClient(Duplex.from({ readable: child.stdout, writable: child.stdin }))
      ${left === "nobody" ? "" : `await client.call("org.varlink.service.GetInfo").catch(() => {})`}
      client.close()
      process.exitCode = 7
      setTimeout(() => child.kill(), 100)
    `
    const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
    })
    assert.deepEqual([status, stderr], [7, ""], left)
  }
})
