/** One request served on its own, from what is wrong with it to its reply. */
import { asIoError, type IoError } from "../base/io-error.ts"
import { Command, CommandFlag } from "../nbd/protocol.ts"
import type { Wanted } from "../volume/slow-path.ts"
import type { Volume } from "../volume/volume.ts"
import { ALLOCATION_CONTEXT, type Negotiated } from "./handshake.ts"
import { errorChunk, readChunk, simpleReply, statusChunk } from "./reply.ts"
import { checkRequest, type Request } from "./request.ts"

/** The reply's parts. */
export function refusal({ cookie }: Request, { structured }: Negotiated, error: IoError): Uint8Array[] {
  return [structured ? errorChunk(cookie, error) : simpleReply(cookie, error)]
}

/** The reply's parts, an error's too: never rejects. `payload`: of a write. */
export async function answer(
  volume: Volume,
  request: Request,
  payload: Buffer | null,
  negotiated: Negotiated,
  wanted: Wanted,
): Promise<Uint8Array[]> {
  const { structured, allocation } = negotiated
  const { cookie, type, offset, length } = request
  try {
    const { size, readOnly, discards } = volume
    checkRequest(request, { size, readOnly, trims: discards, structured, allocation })
    const data = await perform(volume, request, payload, wanted)
    if (type === Command.blockStatus) return [statusChunk(cookie, ALLOCATION_CONTEXT, length)]
    if (data === null) return [simpleReply(cookie, null)]
    return [structured ? readChunk(cookie, offset, length) : simpleReply(cookie, null), data]
  } catch (error) {
    return refusal(request, negotiated, asIoError(error))
  }
}

async function perform(
  volume: Volume,
  { type, flags, offset, length }: Request,
  payload: Buffer | null,
  wanted: Wanted,
): Promise<Buffer | null> {
  const fua = (flags & CommandFlag.fua) !== 0
  switch (type) {
    case Command.read:
      return volume.read(offset, length, wanted)
    case Command.write:
      await volume.write(offset, payload!, fua, wanted)
      return null
    case Command.flush:
      await volume.flush()
      return null
    case Command.trim:
      await volume.discard(offset, length)
      if (fua) await volume.flush()
      return null
    case Command.cache:
      await volume.cache(offset, length, wanted)
      return null
    case Command.writeZeroes:
      // Zeros are always written: there is no hole to leave out, so NO_HOLE asks for nothing more.
      await volume.zero(offset, length, fua, wanted)
      return null
    default:
      return null
  }
}
