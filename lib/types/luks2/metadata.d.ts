/**
 * The JSON area of a LUKS2 header as we use it (LUKS2 On-Disk Format
 * Specification 1.1, chapter 3). Numbers that LUKS2 writes as decimal strings
 * are bigints here. Members we do not know are kept (json.ts: `extra`) and
 * written back unchanged.
 */
import type { Extensible } from "./json.ts";
import type { Fault } from "./reader.ts";
import type { TresorToken } from "./tresor-token.ts";
export interface LuksArea extends Extensible {
    readonly type: string;
    /** Bytes from the start of the header device. */
    readonly offset: bigint;
    readonly size: bigint;
    /** "aes-xts-plain64"; bytes. Absent in areas without encryption (reencrypt). */
    readonly encryption: string | null;
    readonly keySize: number | null;
}
export type LuksKdf = Extensible & {
    readonly salt: Uint8Array;
} & ({
    readonly type: "pbkdf2";
    readonly hash: string;
    readonly iterations: number;
} | {
    readonly type: "argon2i" | "argon2id";
    readonly time: number;
    readonly memoryKib: number;
    readonly cpus: number;
});
/** A keyslot of type "luks2". */
export interface LuksKeyslot extends Extensible {
    readonly type: "luks2";
    /** Of the key it holds, bytes. */
    readonly keySize: number;
    readonly af: Extensible & {
        readonly type: "luks1";
        readonly stripes: number;
        readonly hash: string;
    };
    readonly area: LuksArea;
    readonly kdf: LuksKdf;
    /** 0 ignore (only when named), 1 normal, 2 preferred; `null`: absent, as 1. */
    readonly priority: 0 | 1 | 2 | null;
}
/** "reencrypt" and whatever comes, or one of ours that is damaged: its area is respected, it is never opened. */
export interface ForeignKeyslot extends Extensible {
    readonly type: string;
    readonly area: LuksArea;
    readonly foreign: true;
    /** Why a keyslot of type luks2 cannot be used; absent: of another program. */
    readonly fault?: Fault;
}
export interface LuksSegment extends Extensible {
    readonly type: string;
    readonly offset: bigint;
    /** `null`: "dynamic". */
    readonly size: bigint | null;
    readonly ivTweak: bigint;
    readonly encryption: string;
    readonly sectorSize: number;
    readonly integrity: boolean;
    readonly flags: readonly string[];
}
/** A note of cryptsetup's on what was or will be, not a segment in use. */
export declare const isBackup: ({ flags }: LuksSegment) => boolean;
export interface LuksDigest extends Extensible {
    readonly type: string;
    readonly keyslots: readonly number[];
    readonly segments: readonly number[];
    readonly hash: string;
    readonly iterations: number;
    readonly salt: Uint8Array;
    readonly digest: Uint8Array;
    /** Why it cannot be used; its hash is "" then. */
    readonly fault?: Fault;
}
export interface ForeignToken extends Extensible {
    readonly type: string;
    readonly keyslots: readonly number[];
    readonly foreign: true;
    /** Why a token of type tresor cannot be used; absent: of another program. */
    readonly fault?: Fault;
}
export interface LuksConfig extends Extensible {
    readonly jsonSize: bigint;
    readonly keyslotsSize: bigint;
    readonly flags: readonly string[];
    /** Mandatory ones. */
    readonly requirements: readonly string[];
    /** Other members of the object of requirements; absent: no such object. */
    readonly otherRequirements?: Extensible;
}
export interface Metadata extends Extensible {
    readonly keyslots: ReadonlyMap<number, LuksKeyslot | ForeignKeyslot>;
    readonly segments: ReadonlyMap<number, LuksSegment>;
    readonly digests: ReadonlyMap<number, LuksDigest>;
    readonly tokens: ReadonlyMap<number, TresorToken | ForeignToken>;
    readonly config: LuksConfig;
}
/** One header copy: binary header (4096 bytes) plus its JSON area. */
export interface LuksHeader {
    readonly uuid: string;
    readonly label: string;
    readonly subsystem: string;
    readonly sequenceId: bigint;
    /** Bytes of binary header and JSON area: 16 KiB … 4 MiB. */
    readonly headerSize: number;
    readonly metadata: Metadata;
}
