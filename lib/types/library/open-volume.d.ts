import type { Enclave } from "../enclave/types.ts";
import { type NbdServer } from "../export/server.ts";
import type { Volume } from "../volume/volume.ts";
import { type TrustOptions, type WorldOptions } from "./options.ts";
export interface OpenOptions extends TrustOptions, WorldOptions {
    /** Wiped by the call. */
    readonly passphrase: Uint8Array;
    /** Only this keyslot, 0 to 31; default: those that cryptsetup would try. */
    readonly keySlot?: number;
    readonly readOnly?: boolean;
    /** Pass `discard` on to what is below; it shows which sectors are unused. */
    readonly discards?: boolean;
    /** O_DIRECT below. */
    readonly direct?: boolean;
    /** Path of a detached header. */
    readonly header?: string;
}
/** An NBD server over an open volume; closing it answers what has begun and leaves the volume open. */
export declare class NbdExport implements AsyncDisposable {
    #private;
    /** NBD URI of the export. */
    readonly uri: string;
    constructor(path: string, server: NbdServer);
    /** Clients connected now. */
    get connections(): number;
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Offsets and lengths are bytes, safe integers, of any alignment. I/O rejects with IoError: EINVAL (outside the volume),
 * EPERM (read-only), EIO, ENOSPC, ESHUTDOWN (closed).
 */
export declare class OpenVolume implements AsyncDisposable {
    #private;
    readonly path: string;
    readonly uuid: string;
    readonly label: string;
    /** The keyslot that opened. */
    readonly keySlot: number;
    constructor({ path, uuid, label, keySlot }: Pick<OpenVolume, "path" | "uuid" | "label" | "keySlot">, volume: Volume, enclave: Enclave);
    /** Bytes of plaintext. */
    get size(): number;
    /** Bytes. */
    get sectorSize(): number;
    get readOnly(): boolean;
    /** `length` bytes of plaintext, the caller's to wipe. */
    read(offset: number, length: number): Promise<Uint8Array>;
    /** `bytes` must not change until this has resolved; on stable storage after the next `flush`. */
    write(offset: number, bytes: Uint8Array): Promise<void>;
    /** Resolves when every write resolved before is on stable storage. */
    flush(): Promise<void>;
    /** The range is not needed any more: what it reads as is undefined. Does nothing without the option `discards`. */
    discard(offset: number, length: number): Promise<void>;
    /** Serves it on a new Unix socket, mode 0600, to any number of NBD clients. Throws Node's errors for the socket. */
    serve(socket: string): Promise<NbdExport>;
    /** Drains, flushes, wipes the key. Rejects when data may be lost; the key is wiped all the same. */
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
/**
 * Opens a volume without a daemon; nobody else may have it open (STORE_BUSY, VOLUME_IN_USE, exit 5). `path`: a file, a
 * block device, or an NBD URI. Throws TresorError, among others: ENCLAVE_PASSPHRASE (exit 2), STORE_MISSING, NOT_LUKS,
 * LUKS2_UNSUPPORTED (exit 4), ATTEST_UNKNOWN (exit 2).
 *
 * @example
 * await using volume = await open("disk.img", { passphrase })
 * await volume.write(0, bytes)
 * await volume.flush()
 */
export declare function open(path: string, options: OpenOptions): Promise<OpenVolume>;
