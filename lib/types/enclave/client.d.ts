/**
 * `Enclave` over the addon: puts requests together (place.ts), enters, takes the
 * answers apart. Nothing secret passes here but what is sealed to the enclave, and
 * in `legacy` the bytes dm-crypt handed down, which are wiped.
 */
import type { Backend } from "../abi/enclave.ts";
import type { Digest, Hash, Header, HeaderMacs, KeyslotParameters, MadeKeyslot, Segment } from "../luks2/types.ts";
import type { FileSectors } from "../native/addon.ts";
import { type NativeEnclave } from "../native/addon.ts";
import { Session } from "./session.ts";
import type { Authenticated, Block, Enclave, Purpose, Range, SealedRequest, SealPolicy, Unlocked, VolumeHandle } from "./types.ts";
export declare class EnclaveClient extends Session implements Enclave {
    #private;
    /** HELLO. `cpu`: features to use at most, for tests and benchmarks. Owns `native` from now on. */
    static start(native: NativeEnclave, backend: Backend, cpu?: number): Promise<EnclaveClient>;
    challenge(purpose: Purpose): Promise<Uint8Array>;
    report(targetInfo: Uint8Array, nonce: Uint8Array): Promise<Uint8Array>;
    create(sealed: SealedRequest, header: {
        readonly uuid: string;
        readonly segment: Segment;
        readonly digest: {
            readonly hash: Hash;
            readonly iterations: number;
        };
    }, keyslot: KeyslotParameters, policy: SealPolicy): Promise<{
        readonly digest: Digest;
        readonly keyslot: MadeKeyslot;
        readonly macs: HeaderMacs;
    }>;
    unlock(sealed: SealedRequest, header: Header): Promise<Unlocked>;
    authenticate(sealed: SealedRequest, header: Header): Promise<Authenticated>;
    enrol(sealed: SealedRequest, header: Header, fresh: KeyslotParameters, policy: SealPolicy): Promise<{
        readonly keyslot: MadeKeyslot;
        readonly macs: HeaderMacs;
        readonly slot: number;
    }>;
    legacy({ uuid, mode, keySize, kdf, salt, secret }: Parameters<Enclave["legacy"]>[0]): Promise<{
        handle: VolumeHandle;
        sealed: Uint8Array<ArrayBuffer>;
    }>;
    sectors(handle: VolumeHandle, decrypt: boolean, ranges: readonly Range[]): void;
    fileSectors(handle: VolumeHandle, fd: number): FileSectors;
    blocks(blocks: readonly Block[]): void;
    /** A lost or dead enclave has been wiped, keys and all. */
    closeVolume(handle: VolumeHandle): void;
}
