export declare const ABI_VERSION = 2;
/** Where the enclave runs: in the CPU, or emulated in this process. */
export declare const BACKENDS: readonly ["software", "sgx"];
export type Backend = (typeof BACKENDS)[number];
export declare const Limit: {
    readonly threads: 8;
    readonly keyslots: 32;
    readonly volumes: 16;
    readonly ranges: 256;
    readonly rangeSize: number;
    readonly secretSize: number;
    readonly stripes: 4000;
};
export declare const ANY_SLOT = 4294967295;
export declare const Op: {
    readonly hello: 1;
    readonly challenge: 2;
    readonly report: 3;
    readonly create: 4;
    readonly unlock: 5;
    readonly enrol: 6;
    readonly sectors: 7;
    readonly close: 8;
    readonly legacy: 9;
    readonly blocks: 10;
    readonly selftest: 11;
    readonly benchmark: 12;
    readonly assist: 13;
};
export declare const Status: {
    readonly ok: 0;
    readonly request: 1;
    readonly state: 2;
    readonly handle: 3;
    readonly passphrase: 4;
    readonly message: 5;
    readonly memory: 6;
    readonly unsupported: 7;
    readonly header: 8;
    readonly busy: 9;
    readonly random: 10;
    readonly dead: 11;
    readonly seal_damaged: 16;
    readonly seal_signer: 17;
    readonly seal_enclave: 18;
    readonly seal_version: 19;
    readonly seal_backend: 20;
    readonly seal_machine: 21;
};
export declare const Purpose: {
    readonly create: 1;
    readonly unlock: 2;
    readonly enrol: 3;
    readonly authenticate: 4;
    readonly legacy: 5;
};
export declare const KdfType: {
    readonly pbkdf2: 1;
    readonly argon2i: 2;
    readonly argon2id: 3;
};
export declare const HashType: {
    readonly sha1: 1;
    readonly sha224: 2;
    readonly sha256: 3;
    readonly sha384: 4;
    readonly sha512: 5;
};
export declare const CipherType: {
    readonly "aes-xts-plain64": 1;
};
export declare const SealPolicy: {
    readonly mrenclave: 1;
    readonly mrsigner: 2;
};
export declare const Mode: {
    readonly xts: 1;
    readonly cbc: 2;
    readonly ctr: 3;
    readonly ecb: 4;
    readonly "cbc-essiv": 5;
};
export type Purpose = keyof typeof Purpose;
export type HashType = keyof typeof HashType;
export type SealPolicy = keyof typeof SealPolicy;
export type Mode = keyof typeof Mode;
export declare const Cpu: {
    readonly sha: 1;
    readonly avx2: 2;
    readonly vaes256: 4;
    readonly vaes512: 8;
    readonly rdseed: 16;
};
/** TRESOR_KEYSLOT_TRY */
export declare const KEYSLOT_TRY = 1;
/** TRESOR_ADMIT_* */
export declare const Admit: {
    readonly unsealed: 1;
};
/** TRESOR_KDF_FLOOR_*: what a keyslot that is written costs at least. */
export declare const KdfFloor: {
    readonly iterations: 1000;
    readonly passesKib: 128;
};
/** enum tresor_test, in order. */
export declare const SELFTESTS: readonly ["AES (FIPS 197)", "AES modes (SP 800-38A)", "AES-XTS (IEEE 1619)", "SHA (FIPS 180)", "HMAC (RFC 4231)", "PBKDF2 (RFC 6070)", "PBKDF2 (RFC 7914)", "Argon2 (RFC 9106)", "HKDF (RFC 5869)", "AES-GCM (SP 800-38D)", "X25519 (RFC 7748)", "HPKE (RFC 9180)", "AF splitter (LUKS)", "sealing", "random numbers (SP 800-90A)"];
export declare const head: import("./struct.ts").Struct<{
    readonly op: "u32";
    readonly size: "u32";
    readonly status: "u32";
    readonly reserved: "u32";
}>;
export declare const context: import("./struct.ts").Struct<{
    readonly version: "u32";
    readonly purpose: "u32";
    readonly uuid: 40;
    readonly slot: "u32";
    readonly fresh_slot: "u32";
    readonly flags: "u32";
    readonly reserved: "u32";
    readonly nonce: 32;
    readonly request: 32;
}>;
export declare const message: import("./struct.ts").Struct<{
    readonly address: "u64";
    readonly size: "u32";
    readonly reserved: "u32";
    readonly context: import("./struct.ts").Struct<{
        readonly version: "u32";
        readonly purpose: "u32";
        readonly uuid: 40;
        readonly slot: "u32";
        readonly fresh_slot: "u32";
        readonly flags: "u32";
        readonly reserved: "u32";
        readonly nonce: 32;
        readonly request: 32;
    }>;
}>;
export declare const kdf: import("./struct.ts").Struct<{
    readonly type: "u32";
    readonly hash: "u32";
    readonly time: "u32";
    readonly memory_kib: "u32";
    readonly lanes: "u32";
    readonly reserved: "u32";
}>;
export declare const segment: import("./struct.ts").Struct<{
    readonly cipher: "u32";
    readonly sector_size: "u32";
    readonly key_size: "u32";
    readonly dynamic: "u32";
    readonly offset: "u64";
    readonly size: "u64";
    readonly iv_tweak: "u64";
}>;
export declare const digest: import("./struct.ts").Struct<{
    readonly hash: "u32";
    readonly iterations: "u32";
    readonly salt_size: "u32";
    readonly digest_size: "u32";
    readonly salt: 64;
    readonly digest: 64;
}>;
export declare const keyslot: import("./struct.ts").Struct<{
    readonly slot: "u32";
    readonly flags: "u32";
    readonly kdf: import("./struct.ts").Struct<{
        readonly type: "u32";
        readonly hash: "u32";
        readonly time: "u32";
        readonly memory_kib: "u32";
        readonly lanes: "u32";
        readonly reserved: "u32";
    }>;
    readonly af_hash: "u32";
    readonly af_stripes: "u32";
    readonly area_key_size: "u32";
    readonly key_size: "u32";
    readonly salt_size: "u32";
    readonly sealed_size: "u32";
    readonly area_offset: "u64";
    readonly area_size: "u64";
    readonly area: "u64";
    readonly sealed: "u64";
    readonly pass_kdf: import("./struct.ts").Struct<{
        readonly type: "u32";
        readonly hash: "u32";
        readonly time: "u32";
        readonly memory_kib: "u32";
        readonly lanes: "u32";
        readonly reserved: "u32";
    }>;
    readonly salt: 64;
}>;
export declare const macs: import("./struct.ts").Struct<{
    readonly present: "u32";
    readonly segment_present: "u32";
    readonly segment: 32;
    readonly keyslot: number;
}>;
export declare const sealedSalt: import("./struct.ts").Struct<{
    readonly magic: 8;
    readonly version: "u32";
    readonly policy: "u32";
    readonly checksum: 32;
    readonly key_request: 512;
    readonly mrenclave: 32;
    readonly mrsigner: 32;
    readonly attributes: "u64";
    readonly isv_prod_id: "u16";
    readonly isv_svn: "u16";
    readonly slot: "u32";
    readonly uuid: 40;
    readonly kdf: import("./struct.ts").Struct<{
        readonly type: "u32";
        readonly hash: "u32";
        readonly time: "u32";
        readonly memory_kib: "u32";
        readonly lanes: "u32";
        readonly reserved: "u32";
    }>;
    readonly iv: 12;
    readonly tag: 16;
    readonly reserved: 4;
    readonly ciphertext: 32;
}>;
export declare const hello: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly abi_version: "u32";
    readonly cpu: "u32";
    readonly dynamic_size: "u64";
    readonly heap_size: "u64";
    readonly public_key: 32;
    readonly mrenclave: 32;
    readonly mrsigner: 32;
    readonly cpu_svn: 16;
    readonly attributes: "u64";
    readonly xfrm: "u64";
    readonly isv_prod_id: "u16";
    readonly isv_svn: "u16";
    readonly reserved: "u32";
}>;
export declare const challenge: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly purpose: "u32";
    readonly reserved: "u32";
    readonly nonce: 32;
}>;
export declare const report: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly nonce: 32;
    readonly target_info: "u64";
    readonly report: "u64";
}>;
export declare const create: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly policy: "u32";
    readonly reserved: "u32";
    readonly message: import("./struct.ts").Struct<{
        readonly address: "u64";
        readonly size: "u32";
        readonly reserved: "u32";
        readonly context: import("./struct.ts").Struct<{
            readonly version: "u32";
            readonly purpose: "u32";
            readonly uuid: 40;
            readonly slot: "u32";
            readonly fresh_slot: "u32";
            readonly flags: "u32";
            readonly reserved: "u32";
            readonly nonce: 32;
            readonly request: 32;
        }>;
    }>;
    readonly segment: import("./struct.ts").Struct<{
        readonly cipher: "u32";
        readonly sector_size: "u32";
        readonly key_size: "u32";
        readonly dynamic: "u32";
        readonly offset: "u64";
        readonly size: "u64";
        readonly iv_tweak: "u64";
    }>;
    readonly digest: import("./struct.ts").Struct<{
        readonly hash: "u32";
        readonly iterations: "u32";
        readonly salt_size: "u32";
        readonly digest_size: "u32";
        readonly salt: 64;
        readonly digest: 64;
    }>;
    readonly keyslot: import("./struct.ts").Struct<{
        readonly slot: "u32";
        readonly flags: "u32";
        readonly kdf: import("./struct.ts").Struct<{
            readonly type: "u32";
            readonly hash: "u32";
            readonly time: "u32";
            readonly memory_kib: "u32";
            readonly lanes: "u32";
            readonly reserved: "u32";
        }>;
        readonly af_hash: "u32";
        readonly af_stripes: "u32";
        readonly area_key_size: "u32";
        readonly key_size: "u32";
        readonly salt_size: "u32";
        readonly sealed_size: "u32";
        readonly area_offset: "u64";
        readonly area_size: "u64";
        readonly area: "u64";
        readonly sealed: "u64";
        readonly pass_kdf: import("./struct.ts").Struct<{
            readonly type: "u32";
            readonly hash: "u32";
            readonly time: "u32";
            readonly memory_kib: "u32";
            readonly lanes: "u32";
            readonly reserved: "u32";
        }>;
        readonly salt: 64;
    }>;
    readonly macs: "u64";
}>;
export declare const unlock: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly message: import("./struct.ts").Struct<{
        readonly address: "u64";
        readonly size: "u32";
        readonly reserved: "u32";
        readonly context: import("./struct.ts").Struct<{
            readonly version: "u32";
            readonly purpose: "u32";
            readonly uuid: 40;
            readonly slot: "u32";
            readonly fresh_slot: "u32";
            readonly flags: "u32";
            readonly reserved: "u32";
            readonly nonce: 32;
            readonly request: 32;
        }>;
    }>;
    readonly segment: import("./struct.ts").Struct<{
        readonly cipher: "u32";
        readonly sector_size: "u32";
        readonly key_size: "u32";
        readonly dynamic: "u32";
        readonly offset: "u64";
        readonly size: "u64";
        readonly iv_tweak: "u64";
    }>;
    readonly digest: import("./struct.ts").Struct<{
        readonly hash: "u32";
        readonly iterations: "u32";
        readonly salt_size: "u32";
        readonly digest_size: "u32";
        readonly salt: 64;
        readonly digest: 64;
    }>;
    readonly keyslots: "u64";
    readonly count: "u32";
    readonly macs_missing: "u32";
    readonly macs: "u64";
    readonly macs_out: "u64";
    readonly sealed_out: "u64";
    readonly resealed: "u32";
    readonly slot: "u32";
    readonly handle: "u32";
    readonly slots_changed: "u32";
    readonly slots_added: "u32";
    readonly slots_removed: "u32";
    readonly segment_changed: "u32";
    readonly seal_status: "u32";
    readonly needed_kib: "u32";
    readonly reserved: "u32";
}>;
export declare const enrol: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly message: import("./struct.ts").Struct<{
        readonly address: "u64";
        readonly size: "u32";
        readonly reserved: "u32";
        readonly context: import("./struct.ts").Struct<{
            readonly version: "u32";
            readonly purpose: "u32";
            readonly uuid: 40;
            readonly slot: "u32";
            readonly fresh_slot: "u32";
            readonly flags: "u32";
            readonly reserved: "u32";
            readonly nonce: 32;
            readonly request: 32;
        }>;
    }>;
    readonly segment: import("./struct.ts").Struct<{
        readonly cipher: "u32";
        readonly sector_size: "u32";
        readonly key_size: "u32";
        readonly dynamic: "u32";
        readonly offset: "u64";
        readonly size: "u64";
        readonly iv_tweak: "u64";
    }>;
    readonly digest: import("./struct.ts").Struct<{
        readonly hash: "u32";
        readonly iterations: "u32";
        readonly salt_size: "u32";
        readonly digest_size: "u32";
        readonly salt: 64;
        readonly digest: 64;
    }>;
    readonly keyslots: "u64";
    readonly count: "u32";
    readonly policy: "u32";
    readonly fresh: import("./struct.ts").Struct<{
        readonly slot: "u32";
        readonly flags: "u32";
        readonly kdf: import("./struct.ts").Struct<{
            readonly type: "u32";
            readonly hash: "u32";
            readonly time: "u32";
            readonly memory_kib: "u32";
            readonly lanes: "u32";
            readonly reserved: "u32";
        }>;
        readonly af_hash: "u32";
        readonly af_stripes: "u32";
        readonly area_key_size: "u32";
        readonly key_size: "u32";
        readonly salt_size: "u32";
        readonly sealed_size: "u32";
        readonly area_offset: "u64";
        readonly area_size: "u64";
        readonly area: "u64";
        readonly sealed: "u64";
        readonly pass_kdf: import("./struct.ts").Struct<{
            readonly type: "u32";
            readonly hash: "u32";
            readonly time: "u32";
            readonly memory_kib: "u32";
            readonly lanes: "u32";
            readonly reserved: "u32";
        }>;
        readonly salt: 64;
    }>;
    readonly macs: "u64";
    readonly macs_out: "u64";
    readonly slot: "u32";
    readonly seal_status: "u32";
    readonly needed_kib: "u32";
    readonly slots_changed: "u32";
    readonly segment_changed: "u32";
    readonly macs_missing: "u32";
}>;
export declare const range: import("./struct.ts").Struct<{
    readonly in: "u64";
    readonly out: "u64";
    readonly sector: "u64";
    readonly length: "u32";
    readonly reserved: "u32";
}>;
export declare const sectors: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly handle: "u32";
    readonly decrypt: "u32";
    readonly count: "u32";
    readonly reserved: "u32";
    readonly ranges: "u64";
}>;
export declare const close: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly handle: "u32";
    readonly reserved: "u32";
}>;
export declare const legacy: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly uuid: 40;
    readonly make: "u32";
    readonly policy: "u32";
    readonly key_size: "u32";
    readonly mode: "u32";
    readonly kdf: import("./struct.ts").Struct<{
        readonly type: "u32";
        readonly hash: "u32";
        readonly time: "u32";
        readonly memory_kib: "u32";
        readonly lanes: "u32";
        readonly reserved: "u32";
    }>;
    readonly sealed: "u64";
    readonly sealed_out: "u64";
    readonly message: import("./struct.ts").Struct<{
        readonly address: "u64";
        readonly size: "u32";
        readonly reserved: "u32";
        readonly context: import("./struct.ts").Struct<{
            readonly version: "u32";
            readonly purpose: "u32";
            readonly uuid: 40;
            readonly slot: "u32";
            readonly fresh_slot: "u32";
            readonly flags: "u32";
            readonly reserved: "u32";
            readonly nonce: 32;
            readonly request: 32;
        }>;
    }>;
    readonly bytes_size: "u32";
    readonly handle: "u32";
    readonly bytes: 256;
    readonly seal_status: "u32";
    readonly reserved: "u32";
}>;
export declare const block: import("./struct.ts").Struct<{
    readonly in: "u64";
    readonly out: "u64";
    readonly length: "u32";
    readonly handle: "u32";
    readonly mode: "u16";
    readonly decrypt: "u16";
    readonly flags: "u32";
    readonly iv: 16;
    readonly status: "u32";
    readonly reserved: 12;
}>;
export declare const blocks: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly count: "u32";
    readonly reserved: "u32";
    readonly blocks: "u64";
}>;
export declare const selftest: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly index: "u32";
    readonly passed: "u32";
}>;
export declare const benchmark: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
    readonly kdf: import("./struct.ts").Struct<{
        readonly type: "u32";
        readonly hash: "u32";
        readonly time: "u32";
        readonly memory_kib: "u32";
        readonly lanes: "u32";
        readonly reserved: "u32";
    }>;
    readonly key_size: "u32";
    readonly needed_kib: "u32";
}>;
export declare const assist: import("./struct.ts").Struct<{
    readonly head: import("./struct.ts").Struct<{
        readonly op: "u32";
        readonly size: "u32";
        readonly status: "u32";
        readonly reserved: "u32";
    }>;
}>;
declare const HASH_SIZE: {
    readonly sha1: 20;
    readonly sha224: 28;
    readonly sha256: 32;
    readonly sha384: 48;
    readonly sha512: 64;
};
/** Bytes of a hash's output. */
export declare function hashSize(hash: keyof typeof HASH_SIZE): number;
export {};
