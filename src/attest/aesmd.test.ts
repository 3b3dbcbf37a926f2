import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, afterEach, test } from "node:test"
import { getQuote, initQuote, quoteFrom } from "./aesmd.ts"

/**
 * aesmd as its messages.proto has it, written without the library the client
 * uses: tags and varints by hand.
 */
type Fields = Map<number, bigint | Buffer>

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  for (; value >= 0x80n; value >>= 7n) bytes.push(Number(value & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(value)])
}
const numberField = (field: number, value: number) => Buffer.concat([varint(BigInt(field << 3)), varint(BigInt(value))])
const bytesField = (field: number, value: Uint8Array) =>
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

const folder = mkdtempSync(join(tmpdir(), "tresor-aesm-"))
const path = join(folder, "aesm.socket")
after(() => rmSync(folder, { recursive: true }))
let server: Server | undefined
afterEach(async () => {
  if (server !== undefined) await new Promise((resolve) => server!.close(resolve))
  server = undefined
})

type Answer = Buffer | ((socket: Socket) => void)

/** Answers one frame to a connection and hangs up, as aesmd does. */
async function serve(answer: (call: number, body: Fields) => Answer): Promise<void> {
  server = createServer((socket) => {
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
  await new Promise<void>((resolve) => server!.listen(path, resolve))
}

const targetInfo = Buffer.alloc(512, 0x74)
const report = Buffer.alloc(432, 0x72)
const quote = Buffer.alloc(436 + 700, 0x71)
quote.writeUInt32LE(700, 432)
const ok = numberField(1, 0)

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
function aesmd({ loseKey = 0 } = {}): { readonly calls: number[]; answer(call: number, body: Fields): Answer } {
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

test("a quote through the three calls, cut to its length", async () => {
  const fake = aesmd()
  await serve(fake.answer)
  const made = await quoteFrom(async (info) => {
    assert.deepEqual(Buffer.from(info), targetInfo)
    return report
  }, path)
  assert.deepEqual(Buffer.from(made), quote)
  assert.deepEqual(fake.calls, [15, 15, 16, 17])
})

test("an attestation key that went away is initialised again, once", async () => {
  const fake = aesmd({ loseKey: 1 })
  await serve(fake.answer)
  assert.deepEqual(Buffer.from(await quoteFrom(async () => report, path)), quote)
  assert.deepEqual(fake.calls, [15, 15, 16, 17, 15, 15, 16, 17])
})

test("it gives up when the key goes away every time", async () => {
  await serve(aesmd({ loseKey: 9 }).answer)
  await assert.rejects(
    quoteFrom(async () => report, path),
    { code: "AESM_42", message: /not initialised/ },
  )
})

test("nobody there: what to install", async () => {
  await assert.rejects(initQuote(join(folder, "none")), {
    code: "AESM_MISSING",
    message: /nothing listens at .*; install and start sgx-aesm-service/,
  })
})

const refusals: readonly (readonly [string, Answer, string, RegExp])[] = [
  ["no plugin", numberField(1, 30), "AESM_30", /libsgx-aesm-quote-ex-plugin/],
  ["no certificate", numberField(1, 44), "AESM_44", /PCCS/],
  ["a report of elsewhere", numberField(1, 47), "AESM_47", /refuses the report/],
  ["an error we have no words for", numberField(1, 99), "AESM_99", /error 99/],
  ["no error code", numberField(3, 32), "AESM_PROTOCOL", /another request/],
  ["success without content", ok, "AESM_PROTOCOL", /no key id size/],
  ["a hangup", (socket) => socket.end(), "AESM_PROTOCOL", /hung up/],
  ["a frame of 4 GiB", (socket) => socket.write(Buffer.alloc(4, 0xff)), "AESM_PROTOCOL", /malformed/],
  ["more than the frame", (socket) => socket.write(Buffer.from([1, 0, 0, 0, 0, 0])), "AESM_PROTOCOL", /malformed/],
  ["no protobuf", (socket) => socket.write(Buffer.from([2, 0, 0, 0, 0x7a, 0xff])), "AESM_PROTOCOL", /no protobuf/],
]
for (const [name, answer, code, message] of refusals) {
  test(`refused: ${name}`, async () => {
    await serve(() => answer)
    await assert.rejects(initQuote(path), { code, message })
  })
}

test("a TARGETINFO of another size and a truncated quote are refused", async () => {
  await serve((_, body) =>
    Buffer.concat([ok, numberField(3, 32), ...(body.get(3) === 1n ? [bytesField(2, targetInfo.subarray(1))] : [])]),
  )
  await assert.rejects(initQuote(path), { code: "AESM_PROTOCOL", message: /511 bytes/ })
  await new Promise((resolve) => server!.close(resolve))
  for (const cut of [quote.subarray(0, -1), quote.subarray(0, 100)]) {
    await serve((call) => Buffer.concat([ok, call === 16 ? numberField(2, 8192) : bytesField(2, cut)]))
    await assert.rejects(getQuote(report, path), { code: "AESM_PROTOCOL", message: /truncated/ })
    await new Promise((resolve) => server!.close(resolve))
    server = undefined
  }
  await assert.rejects(getQuote(report.subarray(1), path), RangeError)
})
