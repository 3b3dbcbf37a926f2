import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { decodeCall, decodeReply, encodeMessage, FrameReader, FramingError } from "./varlink.ts"

function frames(chunks: readonly Uint8Array[], limit?: number): string[] {
  const reader = new FrameReader(limit)
  return chunks.flatMap((chunk) => [...reader.push(chunk)].map((frame) => Buffer.from(frame).toString()))
}

test("a reader does not care how the stream is cut", () => {
  const message = fc.record({ method: fc.string(), parameters: fc.dictionary(fc.string(), fc.jsonValue()) })
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), fc.array(fc.nat(500)), (messages, cuts) => {
      const wire = Buffer.concat(messages.map(encodeMessage))
      const at = [0, ...cuts.map((cut) => Math.min(cut, wire.length)).sort((a, b) => a - b), wire.length]
      const chunks = at.slice(1).map((end, i) => wire.subarray(at[i], end))
      assert.deepEqual(
        frames(chunks),
        messages.map((each) => JSON.stringify(each)),
      )
    }),
  )
})

test("a chunk may be reused once push has returned", () => {
  const reader = new FrameReader()
  const chunk = Buffer.from('{"method"')
  assert.deepEqual([...reader.push(chunk)], [])
  chunk.fill(0x20)
  const [frame] = [...reader.push(Buffer.from(':"a.b"}\0'))]
  assert.equal(decodeCall(frame!).method, "a.b")
})

test("a frame of the limit passes, one byte more does not, also without its end", () => {
  assert.deepEqual(frames([Buffer.from("12345678\0")], 8), ["12345678"])
  assert.throws(() => frames([Buffer.from("123456789\0")], 8), FramingError)
  assert.throws(() => frames([Buffer.from("12345"), Buffer.from("6789")], 8), FramingError)
})

test("an empty frame is refused", () => {
  assert.throws(() => frames([Buffer.from("\0")]), FramingError)
})

for (const [what, text] of [
  ["no JSON", "{"],
  ["no object", "[]"],
  ["no method", "{}"],
  ["a method that is no string", '{"method":1}'],
  ["parameters that are no object", '{"method":"a.b","parameters":7}'],
  ["more that is no boolean", '{"method":"a.b","more":"yes"}'],
] as const) {
  test(`a call with ${what} is refused`, () => {
    assert.throws(() => decodeCall(Buffer.from(text)), FramingError)
  })
}

test("bytes that are no UTF-8 are refused", () => {
  assert.throws(() => decodeCall(Buffer.from([0x22, 0xff, 0x22])), FramingError)
  // One program would see Status, another Unlock.
  assert.throws(() => decodeCall(Buffer.from('{"method":"a.Status","method":"a.Unlock"}')), FramingError)
  assert.throws(() => decodeReply(Buffer.from('{"parameters":{"x":1,"x":2}}')), FramingError)
})

test("a reply may lack parameters, and keeps its error", () => {
  assert.deepEqual(decodeReply(Buffer.from("{}")), { parameters: {}, continues: false })
  assert.equal(decodeReply(Buffer.from('{"error":"a.b.C"}')).error, "a.b.C")
})
