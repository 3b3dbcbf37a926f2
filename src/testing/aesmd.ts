/** An aesmd for tests. */
import assert from "node:assert/strict"
import { createServer, type Server, type Socket } from "node:net"

/**
 * aesmd as its messages.proto has it, written without the library the client
 * uses: tags and varints by hand.
 */
export type Fields = Map<number, bigint | Buffer>

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  for (; value >= 0x80n; value >>= 7n) bytes.push(Number(value & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(value)])
}
export const numberField = (field: number, value: number) =>
  Buffer.concat([varint(BigInt(field << 3)), varint(BigInt(value))])
export const bytesField = (field: number, value: Uint8Array) =>
  Buffer.concat([varint(BigInt((field << 3) | 2)), varint(BigInt(value.length)), value])

function parse(message: Buffer): Fields {
  const fields: Fields = new Map()
  let at = 0
  const next = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]
      assert.ok(byte !== undefined, "a varint ends within the message")
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const tag = Number(next())
    assert.ok((tag & 7) === 0 || (tag & 7) === 2, `wire type ${tag & 7}`)
    const value = next()
    if ((tag & 7) === 0) fields.set(tag >> 3, value)
    else {
      assert.ok(at + Number(value) <= message.length)
      fields.set(tag >> 3, message.subarray(at, at + Number(value)))
      at += Number(value)
    }
  }
  return fields
}

export type Answer = Buffer | ((socket: Socket) => void)

/** Answers one frame to a connection and hangs up, as aesmd does. */
export async function serveAesmd(path: string, answer: (call: number, body: Fields) => Answer): Promise<Server> {
  const server = createServer((socket) => {
    let received = Buffer.alloc(0)
    socket.on("error", () => {})
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 4 || received.length < 4 + received.readUInt32LE(0)) return
      const request = [...parse(received.subarray(4))]
      assert.equal(request.length, 1)
      const [call, body] = request[0]!
      const reply = answer(call, parse(body as Buffer))
      if (typeof reply === "function") return reply(socket)
      const frame = bytesField(call, reply)
      const length = Buffer.alloc(4)
      length.writeUInt32LE(frame.length)
      // In pieces: the client must put frames together.
      socket.write(Buffer.concat([length.subarray(0, 3)]))
      setTimeout(() => socket.end(Buffer.concat([length.subarray(3), frame])), 5)
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return server
}

export const targetInfo = Buffer.alloc(512, 0x74)
export const report = Buffer.alloc(432, 0x72)
export const quote = Buffer.alloc(436 + 700, 0x71)
quote.writeUInt32LE(700, 432)
export const ok = numberField(1, 0)

function checkKeyId(id: bigint | Buffer | undefined): void {
  assert.ok(Buffer.isBuffer(id) && id.length === 256)
  assert.equal(id.readUInt16LE(0), 0, "id")
  assert.equal(id.readUInt16LE(4), 32, "mrsigner length")
  assert.equal(
    id.subarray(6, 54).toString("hex"),
    `8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff${"00".repeat(16)}`,
  )
  assert.equal(id.readUInt32LE(54), 1, "product")
  assert.equal(id.readUInt32LE(154), 2, "ECDSA P-256")
  assert.ok(id.subarray(158).every((byte) => byte === 0))
}

/** The whole conversation; `initialised` may be lost once. */
export function aesmd({ loseKey = 0 } = {}): { readonly calls: number[]; answer(call: number, body: Fields): Answer } {
  const calls: number[] = []
  return {
    calls,
    answer(call, body) {
      calls.push(call)
      assert.equal(body.get(9), 30_000_000n, "timeout in microseconds")
      if (call === 15) {
        checkKeyId(body.get(1))
        if (body.get(3) === 0n) return Buffer.concat([ok, numberField(3, 32)])
        assert.deepEqual([body.get(3), body.get(4)], [1n, 32n])
        return Buffer.concat([ok, bytesField(2, targetInfo), numberField(3, 32), bytesField(4, Buffer.alloc(32, 1))])
      }
      if (call === 16) {
        checkKeyId(body.get(1))
        return Buffer.concat([ok, numberField(2, 8192)])
      }
      assert.equal(call, 17)
      checkKeyId(body.get(2))
      assert.deepEqual(body.get(1), report)
      assert.equal(body.get(4), 8192n, "buffer size")
      if (loseKey-- > 0) return numberField(1, 42)
      // A field of a later version does not matter.
      return Buffer.concat([
        ok,
        numberField(77, 300),
        bytesField(2, Buffer.concat([quote, Buffer.alloc(8192 - quote.length)])),
      ])
    },
  }
}
