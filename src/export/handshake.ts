/** Option haggling, fixed newstyle: from the greeting to the chosen export. There is one, and it has no name. */
import {
  BASE_ALLOCATION,
  Handshake,
  IHAVEOPT,
  Info,
  MAX_OPTION,
  MAX_PAYLOAD,
  NBDMAGIC,
  Option,
  OptionReply,
} from "../nbd/protocol.ts"
import { optionReply } from "./reply.ts"

/** What is served; the flags depend on what was negotiated. */
export interface ExportDescription {
  readonly size: number
  readonly preferredBlock: number
  flags(structured: boolean): number
}

export interface Negotiated {
  readonly structured: boolean
  readonly allocation: boolean
}

export interface Wire {
  /** `null`: the peer left. */
  read(length: number): Promise<Buffer | null>
  /** Resolves when the peer has room for more: it may ask without ever reading. */
  write(bytes: Uint8Array): Promise<void>
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(Option))

/** Number of base:allocation in block status replies. */
export const ALLOCATION_CONTEXT = 1

class Haggling {
  structured = false
  allocation = false
  readonly #wire: Wire
  readonly #served: ExportDescription

  constructor(wire: Wire, served: ExportDescription) {
    this.#wire = wire
    this.#served = served
  }

  #reply(option: number, type: number, data?: Uint8Array): Promise<void> {
    return this.#wire.write(optionReply(option, type, data))
  }

  async #acknowledge(option: number, data: Buffer): Promise<boolean> {
    await this.#reply(option, data.length > 0 ? OptionReply.invalid : OptionReply.ack)
    return data.length === 0
  }

  /** True: transmission begins; false: the connection ends; `null`: the next option. */
  async option(option: number, data: Buffer): Promise<boolean | null> {
    switch (option) {
      case Option.abort:
        await this.#reply(option, OptionReply.ack)
        return false
      case Option.list:
        // The one server entry: a name of no bytes.
        if (data.length === 0) await this.#reply(option, OptionReply.server, Buffer.alloc(4))
        await this.#acknowledge(option, data)
        return null
      case Option.startTls:
        await this.#reply(option, data.length > 0 ? OptionReply.invalid : OptionReply.policy)
        return null
      case Option.structuredReply:
        if (await this.#acknowledge(option, data)) this.structured = true
        return null
      case Option.listMetaContext:
      case Option.setMetaContext:
        await this.#contexts(option, data)
        return null
      case Option.info:
      case Option.go:
        return (await this.#describe(option, data)) && option === Option.go ? true : null
      default:
        await this.#reply(option, OptionReply.unsupported)
        return null
    }
  }

  /** u32 length, name; where the rest begins, or `null` when it does not fit. */
  #name(data: Buffer): { readonly length: number; readonly end: number } | null {
    const length = data.length >= 4 ? data.readUInt32BE(0) : Number.POSITIVE_INFINITY
    return length <= data.length - 4 ? { length, end: 4 + length } : null
  }

  /** INFO and GO: name, u16 count, count times u16. */
  async #describe(option: number, data: Buffer): Promise<boolean> {
    const name = this.#name(data)
    if (name === null || data.length < name.end + 2 || data.length !== name.end + 2 + 2 * data.readUInt16BE(name.end)) {
      await this.#reply(option, OptionReply.invalid)
      return false
    }
    if (name.length > 0) {
      await this.#reply(option, OptionReply.unknown)
      return false
    }
    const { size, preferredBlock } = this.#served
    const description = Buffer.alloc(12)
    description.writeUInt16BE(Info.export, 0)
    description.writeBigUInt64BE(BigInt(size), 2)
    description.writeUInt16BE(this.#served.flags(this.structured), 10)
    await this.#reply(option, OptionReply.info, description)
    const blocks = Buffer.alloc(14)
    blocks.writeUInt16BE(Info.blockSize, 0)
    blocks.writeUInt32BE(1, 2)
    blocks.writeUInt32BE(preferredBlock, 6)
    blocks.writeUInt32BE(MAX_PAYLOAD, 10)
    await this.#reply(option, OptionReply.info, blocks)
    await this.#reply(option, OptionReply.ack)
    return true
  }

  /** Name, u32 count, count times (u32 length, query). */
  async #contexts(option: number, data: Buffer): Promise<void> {
    const setting = option === Option.setMetaContext
    if (setting) this.allocation = false
    const name = this.#name(data)
    const queries = name === null ? null : parseQueries(data, name.end)
    if (!this.structured || name === null || queries === null) return this.#reply(option, OptionReply.invalid)
    if (name.length > 0) return this.#reply(option, OptionReply.unknown)
    const wanted = queries.includes(BASE_ALLOCATION)
    const listed = !setting && (queries.length === 0 || queries.includes("base:"))
    if (wanted || listed) {
      const context = Buffer.alloc(4 + BASE_ALLOCATION.length)
      context.writeUInt32BE(setting ? ALLOCATION_CONTEXT : 0, 0)
      context.write(BASE_ALLOCATION, 4)
      await this.#reply(option, OptionReply.metaContext, context)
    }
    if (setting) this.allocation = wanted
    await this.#reply(option, OptionReply.ack)
  }

  /** The answer to EXPORT_NAME has no place for an error. */
  async exportName(data: Buffer, noZeroes: boolean): Promise<boolean> {
    if (data.length > 0) return false
    const info = Buffer.alloc(noZeroes ? 10 : 134)
    info.writeBigUInt64BE(BigInt(this.#served.size), 0)
    info.writeUInt16BE(this.#served.flags(this.structured), 8)
    await this.#wire.write(info)
    return true
  }
}

function parseQueries(data: Buffer, start: number): string[] | null {
  if (data.length < start + 4) return null
  const count = data.readUInt32BE(start)
  const queries: string[] = []
  let at = start + 4
  for (let n = 0; n < count; n++) {
    if (data.length < at + 4) return null
    const end = at + 4 + data.readUInt32BE(at)
    if (end > data.length) return null
    queries.push(data.toString("latin1", at + 4, end))
    at = end
  }
  return at === data.length ? queries : null
}

/** `null`: the connection ends here, as the peer wished or because it does not keep to the protocol. */
export async function negotiate(wire: Wire, served: ExportDescription): Promise<Negotiated | null> {
  const hello = Buffer.alloc(18)
  hello.writeBigUInt64BE(NBDMAGIC, 0)
  hello.writeBigUInt64BE(IHAVEOPT, 8)
  hello.writeUInt16BE(Handshake.fixedNewstyle | Handshake.noZeroes, 16)
  await wire.write(hello)
  const answer = await wire.read(4)
  if (answer === null) return null
  const flags = answer.readUInt32BE(0)
  if ((flags & ~(Handshake.fixedNewstyle | Handshake.noZeroes)) !== 0) return null
  const haggling = new Haggling(wire, served)
  for (;;) {
    const head = await wire.read(16)
    if (head === null || head.readBigUInt64BE(0) !== IHAVEOPT) return null
    const option = head.readUInt32BE(8)
    const length = head.readUInt32BE(12)
    if (length > MAX_OPTION) {
      // It is read and dropped, for as long as a handshake may take: the next option is served as if it had not been.
      for (let left = length; left > 0; left -= MAX_OPTION) {
        if ((await wire.read(Math.min(left, MAX_OPTION))) === null) return null
      }
      // Its answer has no place for an error.
      if (option === Option.exportName) return null
      if (option === Option.setMetaContext) haggling.allocation = false
      await wire.write(optionReply(option, KNOWN.has(option) ? OptionReply.tooBig : OptionReply.unsupported))
      continue
    }
    const data = await wire.read(length)
    if (data === null) return null
    const done =
      option === Option.exportName
        ? await haggling.exportName(data, (flags & Handshake.noZeroes) !== 0)
        : await haggling.option(option, data)
    if (done !== null) return done ? { structured: haggling.structured, allocation: haggling.allocation } : null
  }
}
