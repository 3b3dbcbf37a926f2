/**
 * Intel's architectural enclave service, through its Unix socket: the quoting
 * enclave's TARGETINFO, and quotes of reports made for it. A frame is a
 * little-endian u32 length and a protobuf message, one request to a connection
 * (linux-sgx, psw/ae/aesm_service: messages.proto and the socket transport).
 */
import { connect } from "node:net"
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire"
import { report as sgxReport, TARGET_INFO_SIZE } from "../../abi/sgx.ts"
import type { ErrorCode } from "../../base/error-codes.ts"
import { Exit, TresorError } from "../../base/errors.ts"
import { concat, fromHex, viewOf } from "../judge/bytes.ts"
import { endOfQuote } from "../judge/quote.ts"

export const AESM_SOCKET = "/var/run/aesmd/aesm.socket"
const REPORT_SIZE = sgxReport.size

/** aesmd's own limit for quotes is far below. */
const ANSWER_LIMIT = 1 << 20
const CALL_TIMEOUT_MS = 30_000

/** Fields of Request and Response; a request's answer has its number. */
const Call = { initQuoteEx: 15, getQuoteSizeEx: 16, getQuoteEx: 17 } as const
type CallNumber = (typeof Call)[keyof typeof Call]

/** aesm_error.h: what each means here, and the way out. */
const ERRORS: Readonly<Record<number, string>> = {
  30: "its ECDSA service is not available; install libsgx-aesm-quote-ex-plugin and libsgx-aesm-ecdsa-plugin",
  38: "it does not know Intel's ECDSA attestation key; install libsgx-aesm-ecdsa-plugin",
  42: "its attestation key is not initialised; try again",
  44: "it has no certificate for this platform; set up a PCCS in /etc/sgx_default_qcnl.conf",
  46: "the quoting enclave was lost (suspend or migration); try again",
  47: "it refuses the report: the enclave does not run on this machine",
}
const KEY_NOT_INITIALISED = 42

/**
 * sgx_att_key_id_ext_t of Intel's ECDSA P-256 key: the quoting enclave's
 * signer and product, algorithm 2; padded to what aesmd expects.
 */
function attestationKeyId(): Uint8Array {
  const id = new Uint8Array(256)
  const view = viewOf(id)
  view.setUint16(4, 32, true)
  id.set(fromHex("8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff")!, 6)
  view.setUint32(54, 1, true)
  view.setUint32(154, 2, true)
  return id
}

function fail(code: ErrorCode, fact: string, cause?: unknown): TresorError {
  return new TresorError(code, Exit.wrongDevice, `Cannot get a quote from aesmd: ${fact}`, { cause })
}

/** One field's value, by number; what is sent twice counts last, as protobuf says. Unknown fields are skipped. */
function fieldsOf(message: Uint8Array): ReadonlyMap<number, number | Uint8Array> {
  const fields = new Map<number, number | Uint8Array>()
  const reader = new BinaryReader(message)
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (wire === WireType.Varint) fields.set(field, reader.uint32())
    else if (wire === WireType.LengthDelimited) fields.set(field, reader.bytes())
    else reader.skip(wire, field)
  }
  return fields
}

/** Sends one frame, returns the content of the frame that comes back. */
function exchange(path: string, message: Uint8Array): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    let received = new Uint8Array(0)
    const settle = (error: TresorError | null): void => {
      socket.destroy()
      if (error === null) resolve(received.subarray(4))
      else reject(error)
    }
    socket.setTimeout(CALL_TIMEOUT_MS, () =>
      settle(fail("AESM_SILENT", `it does not answer within ${CALL_TIMEOUT_MS / 1000} s; restart aesmd`)),
    )
    socket.on("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT" || cause.code === "ECONNREFUSED"
      const fact =
        cause.code === "EACCES"
          ? `no permission for ${path}; its group is named in aesmd's unit`
          : missing
            ? `nothing listens at ${path}; install and start sgx-aesm-service`
            : `${path}: ${cause.message}; restart aesmd`
      settle(fail(missing ? "AESM_MISSING" : "AESM_UNREACHABLE", fact, cause))
    })
    socket.on("connect", () => {
      const length = new Uint8Array(4)
      viewOf(length).setUint32(0, message.length, true)
      socket.write(concat(length, message))
    })
    socket.on("data", (chunk: Uint8Array) => {
      received = concat(received, chunk)
      if (received.length < 4) return
      const length = viewOf(received).getUint32(0, true)
      if (length > ANSWER_LIMIT || received.length > 4 + length) {
        settle(fail("AESM_PROTOCOL", "its answer is malformed; it may be of another version"))
      } else if (received.length === 4 + length) {
        settle(null)
      }
    })
    socket.on("end", () => settle(fail("AESM_PROTOCOL", "it closed the connection; see its log (journalctl -u aesmd)")))
  })
}

async function call(
  path: string,
  number: CallNumber,
  body: Uint8Array,
): Promise<ReadonlyMap<number, number | Uint8Array>> {
  const request = new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(body).finish()
  let answer: number | Uint8Array | undefined
  let fields: ReadonlyMap<number, number | Uint8Array>
  const message = await exchange(path, request)
  try {
    answer = fieldsOf(message).get(number)
    fields = answer instanceof Uint8Array ? fieldsOf(answer) : new Map()
  } catch (cause) {
    throw fail("AESM_PROTOCOL", "its answer is not a protobuf message; it may be of another version", cause)
  }
  const code = fields.get(1)
  if (typeof code !== "number") throw fail("AESM_PROTOCOL", "its answer is to another request")
  if (code !== 0) {
    const fact = ERRORS[code] ?? `it answers error ${code}; see its log (journalctl -u aesmd)`
    throw fail(`AESM_${code}`, fact)
  }
  return fields
}

function bytesOf(fields: ReadonlyMap<number, number | Uint8Array>, field: number, what: string): Uint8Array {
  const value = fields.get(field)
  if (value instanceof Uint8Array) return value
  throw fail("AESM_PROTOCOL", `its answer has no ${what}`)
}

function numberOf(fields: ReadonlyMap<number, number | Uint8Array>, field: number, what: string): number {
  const value = fields.get(field)
  if (typeof value === "number") return value
  throw fail("AESM_PROTOCOL", `its answer has no ${what}`)
}

const writeKeyId = (writer: BinaryWriter, field: number): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).bytes(attestationKeyId())
const writeNumber = (writer: BinaryWriter, field: number, value: number): BinaryWriter =>
  writer.tag(field, WireType.Varint).uint32(value)

/** Microseconds, as aesmd counts. */
const writeTimeout = (writer: BinaryWriter): BinaryWriter => writeNumber(writer, 9, CALL_TIMEOUT_MS * 1000)

/** Makes sure the attestation key is there; the TARGETINFO reports must be made for. */
export async function initQuote(path = AESM_SOCKET): Promise<Uint8Array> {
  const ask = async (keySize: number | null): Promise<ReadonlyMap<number, number | Uint8Array>> => {
    const writer = writeKeyId(new BinaryWriter(), 1)
    writer.tag(3, WireType.Varint).bool(keySize !== null)
    if (keySize !== null) writeNumber(writer, 4, keySize)
    return call(path, Call.initQuoteEx, writeTimeout(writer).finish())
  }
  // Intel's sequence: first the key id's size, then the key id itself, which certifies the key.
  const size = numberOf(await ask(null), 3, "key id size")
  const targetInfo = bytesOf(await ask(size), 2, "TARGETINFO")
  if (targetInfo.length !== TARGET_INFO_SIZE)
    throw fail("AESM_PROTOCOL", `its TARGETINFO has ${targetInfo.length} bytes`)
  return targetInfo
}

/** `report` (432 bytes) was made for `initQuote`'s TARGETINFO. The quote is cut to its length. */
export async function getQuote(report: Uint8Array, path = AESM_SOCKET): Promise<Uint8Array> {
  if (report.length !== REPORT_SIZE) throw new RangeError(`a report has ${REPORT_SIZE} bytes, not ${report.length}`)
  const sizeRequest = writeTimeout(writeKeyId(new BinaryWriter(), 1)).finish()
  const size = numberOf(await call(path, Call.getQuoteSizeEx, sizeRequest), 2, "quote size")
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(report)
  writeNumber(writeKeyId(writer, 2), 4, size)
  const quote = bytesOf(await call(path, Call.getQuoteEx, writeTimeout(writer).finish()), 2, "quote")
  // Padded to the size asked for.
  const end = endOfQuote(quote)
  if (end === null) throw fail("AESM_PROTOCOL", `its quote is truncated: ${quote.length} bytes`)
  return quote.slice(0, end)
}

/**
 * A quote of what `report` says when asked for that TARGETINFO. Once more when
 * the attestation key went away in between, as aesmd documents.
 */
export async function quoteFrom(
  report: (targetInfo: Uint8Array) => Promise<Uint8Array>,
  path = AESM_SOCKET,
): Promise<Uint8Array> {
  for (let again = true; ; again = false) {
    try {
      return await getQuote(await report(await initQuote(path)), path)
    } catch (error) {
      if (!again || !(error instanceof TresorError) || error.code !== `AESM_${KEY_NOT_INITIALISED}`) throw error
    }
  }
}
