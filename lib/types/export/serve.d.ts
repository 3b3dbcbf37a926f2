/** One request served on its own, from what is wrong with it to its reply. */
import { type IoError } from "../base/io-error.ts";
import type { Volume, Wanted } from "../volume/volume.ts";
import { type Negotiated } from "./handshake.ts";
import { type Request } from "./request.ts";
/** The reply's parts. */
export declare function refusal({ cookie }: Request, { structured }: Negotiated, error: IoError): Uint8Array[];
/** The reply's parts, an error's too: never rejects. `payload`: of a write. */
export declare function answer(volume: Volume, request: Request, payload: Buffer | null, negotiated: Negotiated, wanted: Wanted): Promise<Uint8Array[]>;
