/**
 * io.tresor.Volume: what a tresord answers. The text is what varlinkctl shows,
 * the schemas are what both sides check. Only public data crosses in clear:
 * passphrases are sealed to the enclave by the asker.
 */
import * as v from "valibot";
export declare const VOLUME_INTERFACE = "io.tresor.Volume";
/** The `cipher` of a tresord that serves mappings of 2016's flow: its passphrases are sealed for "legacy". */
export declare const LEGACY_CIPHER = "legacy";
export declare const VOLUME_DESCRIPTION = "# One open (or waiting) Tresor volume.\n# Binary values are base64. Sizes are bytes.\ninterface io.tresor.Volume\n\ntype Identity (\n  backend: string,\n  mrenclave: string,\n  mrsigner: string,\n  isvProdId: int,\n  isvSvn: int,\n  cpuSvn: string,\n  debug: bool,\n  xfrm: string,\n  publicKey: string,\n  aes: string,\n  kdfMemoryKib: int,\n  # Each: EPC, memfd_secret, mlock or plain.\n  memory: (keys: string, stacks: string, heap: string)\n)\n\n# What changed in the header since it was authenticated; null when it never was.\ntype Header (slotsChanged: []int, slotsAdded: []int, slotsRemoved: []int)\n\ntype Volume (\n  name: string,\n  path: string,\n  # Data and detached header, where they are no NBD exports, as they were found at the start: \"file DEV INO\" or\n  # \"device RDEV\", in decimal. Both stay in use when the path comes to lead elsewhere.\n  opened: [](path: string, identity: string),\n  uuid: string,\n  label: string,\n  # \"locked\": waits for Unlock, I/O waits. \"unlocked\": serves. \"failed\": no key in time, I/O\n  # ends in EIO until Unlock. \"closing\": drains.\n  state: string,\n  pid: int,\n  uri: string,\n  socket: string,\n  size: int,\n  sectorSize: int,\n  cipher: string,\n  keySize: int,\n  readonly: bool,\n  discards: bool,\n  since: string,\n  keyslot: ?int,\n  header: ?Header,\n  enclave: Identity,\n  # Cycles the software backend burns per entry and exit to model SGX; 0: none.\n  transitionCycles: int,\n  counters: [string]int\n)\n\n# With \"more\": one reply now and one at each change of state.\nmethod Status() -> (volume: Volume)\n\n# A single-use nonce for one sealed request with this purpose (\"unlock\", \"legacy\"), and the public parameters that the\n# request has to name. \"unlock\": u32 1 with MACs or 0, struct tresor_segment, struct tresor_digest, struct\n# tresor_keyslot[], without host addresses. \"legacy\": u32 make, u32 policy, struct tresor_kdf. Structs of abi/enclave.h.\nmethod Challenge(purpose: string) -> (nonce: string, parameters: string, enclave: Identity)\n\n# EREPORT for a target, binding the enclave's public key and the asker's nonce; and the status.\nmethod Report(targetInfo: string, nonce: string) -> (report: string, volume: Volume)\n\n# A quote by that machine's aesmd, binding the same. Refused by the software backend, for which nobody vouches.\nmethod Quote(nonce: string) -> (quote: string)\n\n# message: HPKE enc, ciphertext and tag. slot null: any keyslot. unsealed: keyslots without a sealed salt may be tried.\n# request: SHA-256 of the parameters, as the message's context has it.\nmethod Unlock(\n  uuid: string,\n  slot: ?int,\n  unsealed: bool,\n  nonce: string,\n  request: string,\n  message: string\n) -> (volume: Volume)\n\n# Wipes the keys; I/O waits until Unlock.\nmethod Lock() -> ()\n\n# Takes the backing store's new size over.\nmethod Resize() -> (size: int)\n\n# Drains, wipes, flushes, ends the process. The reply comes once data is on stable storage. Refused with\n# exitCode 5 while clients are connected, unless force is true. deferred: the reply comes at once, and the\n# volume is closed when the last client leaves.\nmethod Close(force: ?bool, deferred: ?bool) -> ()\n\n# exitCode is cryptsetup's.\nerror Refused (code: string, exitCode: int, message: string)\n";
export declare const identitySchema: v.ObjectSchema<{
    readonly backend: v.PicklistSchema<readonly ["software", "sgx"], undefined>;
    readonly mrenclave: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
    readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
    readonly isvProdId: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly isvSvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly cpuSvn: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
    readonly debug: v.BooleanSchema<undefined>;
    readonly xfrm: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.TransformAction<string, bigint>]>;
    readonly publicKey: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
    readonly aes: v.StringSchema<undefined>;
    readonly kdfMemoryKib: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly memory: v.ObjectSchema<{
        readonly keys: v.StringSchema<undefined>;
        readonly stacks: v.StringSchema<undefined>;
        readonly heap: v.StringSchema<undefined>;
    }, undefined>;
}, undefined>;
export declare const volumeSchema: v.ObjectSchema<{
    readonly name: v.StringSchema<undefined>;
    readonly path: v.StringSchema<undefined>;
    readonly opened: v.ArraySchema<v.ObjectSchema<{
        readonly path: v.StringSchema<undefined>;
        readonly identity: v.StringSchema<undefined>;
    }, undefined>, undefined>;
    readonly uuid: v.StringSchema<undefined>;
    readonly label: v.StringSchema<undefined>;
    readonly state: v.PicklistSchema<["locked", "unlocked", "failed", "closing"], undefined>;
    readonly pid: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly uri: v.StringSchema<undefined>;
    readonly socket: v.StringSchema<undefined>;
    readonly size: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly sectorSize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly cipher: v.StringSchema<undefined>;
    readonly keySize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly readonly: v.BooleanSchema<undefined>;
    readonly discards: v.BooleanSchema<undefined>;
    readonly since: v.StringSchema<undefined>;
    readonly keyslot: v.NullableSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
    readonly header: v.NullableSchema<v.ObjectSchema<{
        readonly slotsChanged: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
        readonly slotsAdded: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
        readonly slotsRemoved: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
    }, undefined>, undefined>;
    readonly enclave: v.ObjectSchema<{
        readonly backend: v.PicklistSchema<readonly ["software", "sgx"], undefined>;
        readonly mrenclave: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
        readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
        readonly isvProdId: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
        readonly isvSvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
        readonly cpuSvn: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
        readonly debug: v.BooleanSchema<undefined>;
        readonly xfrm: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.TransformAction<string, bigint>]>;
        readonly publicKey: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
        readonly aes: v.StringSchema<undefined>;
        readonly kdfMemoryKib: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
        readonly memory: v.ObjectSchema<{
            readonly keys: v.StringSchema<undefined>;
            readonly stacks: v.StringSchema<undefined>;
            readonly heap: v.StringSchema<undefined>;
        }, undefined>;
    }, undefined>;
    readonly transitionCycles: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
    readonly counters: v.RecordSchema<v.StringSchema<undefined>, v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>, undefined>;
}, undefined>;
export type VolumeStatus = v.InferOutput<typeof volumeSchema>;
/** Per method: what goes in, what comes out. */
export declare const volumeMethods: {
    readonly Status: {
        readonly input: v.StrictObjectSchema<{}, undefined>;
        readonly output: v.ObjectSchema<{
            readonly volume: v.ObjectSchema<{
                readonly name: v.StringSchema<undefined>;
                readonly path: v.StringSchema<undefined>;
                readonly opened: v.ArraySchema<v.ObjectSchema<{
                    readonly path: v.StringSchema<undefined>;
                    readonly identity: v.StringSchema<undefined>;
                }, undefined>, undefined>;
                readonly uuid: v.StringSchema<undefined>;
                readonly label: v.StringSchema<undefined>;
                readonly state: v.PicklistSchema<["locked", "unlocked", "failed", "closing"], undefined>;
                readonly pid: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly uri: v.StringSchema<undefined>;
                readonly socket: v.StringSchema<undefined>;
                readonly size: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly sectorSize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly cipher: v.StringSchema<undefined>;
                readonly keySize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly readonly: v.BooleanSchema<undefined>;
                readonly discards: v.BooleanSchema<undefined>;
                readonly since: v.StringSchema<undefined>;
                readonly keyslot: v.NullableSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                readonly header: v.NullableSchema<v.ObjectSchema<{
                    readonly slotsChanged: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                    readonly slotsAdded: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                    readonly slotsRemoved: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                }, undefined>, undefined>;
                readonly enclave: v.ObjectSchema<{
                    readonly backend: v.PicklistSchema<readonly ["software", "sgx"], undefined>;
                    readonly mrenclave: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly isvProdId: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly isvSvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly cpuSvn: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly debug: v.BooleanSchema<undefined>;
                    readonly xfrm: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.TransformAction<string, bigint>]>;
                    readonly publicKey: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
                    readonly aes: v.StringSchema<undefined>;
                    readonly kdfMemoryKib: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly memory: v.ObjectSchema<{
                        readonly keys: v.StringSchema<undefined>;
                        readonly stacks: v.StringSchema<undefined>;
                        readonly heap: v.StringSchema<undefined>;
                    }, undefined>;
                }, undefined>;
                readonly transitionCycles: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly counters: v.RecordSchema<v.StringSchema<undefined>, v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>, undefined>;
            }, undefined>;
        }, undefined>;
    };
    readonly Challenge: {
        readonly input: v.StrictObjectSchema<{
            readonly purpose: v.PicklistSchema<["unlock", "legacy"], undefined>;
        }, undefined>;
        readonly output: v.ObjectSchema<{
            readonly nonce: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
            readonly parameters: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
            readonly enclave: v.ObjectSchema<{
                readonly backend: v.PicklistSchema<readonly ["software", "sgx"], undefined>;
                readonly mrenclave: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                readonly isvProdId: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly isvSvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly cpuSvn: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                readonly debug: v.BooleanSchema<undefined>;
                readonly xfrm: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.TransformAction<string, bigint>]>;
                readonly publicKey: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
                readonly aes: v.StringSchema<undefined>;
                readonly kdfMemoryKib: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly memory: v.ObjectSchema<{
                    readonly keys: v.StringSchema<undefined>;
                    readonly stacks: v.StringSchema<undefined>;
                    readonly heap: v.StringSchema<undefined>;
                }, undefined>;
            }, undefined>;
        }, undefined>;
    };
    readonly Report: {
        readonly input: v.StrictObjectSchema<{
            readonly targetInfo: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
            readonly nonce: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
        }, undefined>;
        readonly output: v.ObjectSchema<{
            readonly report: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
            readonly volume: v.ObjectSchema<{
                readonly name: v.StringSchema<undefined>;
                readonly path: v.StringSchema<undefined>;
                readonly opened: v.ArraySchema<v.ObjectSchema<{
                    readonly path: v.StringSchema<undefined>;
                    readonly identity: v.StringSchema<undefined>;
                }, undefined>, undefined>;
                readonly uuid: v.StringSchema<undefined>;
                readonly label: v.StringSchema<undefined>;
                readonly state: v.PicklistSchema<["locked", "unlocked", "failed", "closing"], undefined>;
                readonly pid: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly uri: v.StringSchema<undefined>;
                readonly socket: v.StringSchema<undefined>;
                readonly size: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly sectorSize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly cipher: v.StringSchema<undefined>;
                readonly keySize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly readonly: v.BooleanSchema<undefined>;
                readonly discards: v.BooleanSchema<undefined>;
                readonly since: v.StringSchema<undefined>;
                readonly keyslot: v.NullableSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                readonly header: v.NullableSchema<v.ObjectSchema<{
                    readonly slotsChanged: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                    readonly slotsAdded: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                    readonly slotsRemoved: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                }, undefined>, undefined>;
                readonly enclave: v.ObjectSchema<{
                    readonly backend: v.PicklistSchema<readonly ["software", "sgx"], undefined>;
                    readonly mrenclave: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly isvProdId: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly isvSvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly cpuSvn: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly debug: v.BooleanSchema<undefined>;
                    readonly xfrm: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.TransformAction<string, bigint>]>;
                    readonly publicKey: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
                    readonly aes: v.StringSchema<undefined>;
                    readonly kdfMemoryKib: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly memory: v.ObjectSchema<{
                        readonly keys: v.StringSchema<undefined>;
                        readonly stacks: v.StringSchema<undefined>;
                        readonly heap: v.StringSchema<undefined>;
                    }, undefined>;
                }, undefined>;
                readonly transitionCycles: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly counters: v.RecordSchema<v.StringSchema<undefined>, v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>, undefined>;
            }, undefined>;
        }, undefined>;
    };
    readonly Quote: {
        readonly input: v.StrictObjectSchema<{
            readonly nonce: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
        }, undefined>;
        readonly output: v.ObjectSchema<{
            readonly quote: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
        }, undefined>;
    };
    readonly Unlock: {
        readonly input: v.StrictObjectSchema<{
            readonly uuid: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.MaxLengthAction<string, number, undefined>]>;
            readonly slot: v.OptionalSchema<v.NullableSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>, null>;
            readonly unsealed: v.BooleanSchema<undefined>;
            readonly nonce: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
            readonly request: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
            readonly message: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
        }, undefined>;
        readonly output: v.ObjectSchema<{
            readonly volume: v.ObjectSchema<{
                readonly name: v.StringSchema<undefined>;
                readonly path: v.StringSchema<undefined>;
                readonly opened: v.ArraySchema<v.ObjectSchema<{
                    readonly path: v.StringSchema<undefined>;
                    readonly identity: v.StringSchema<undefined>;
                }, undefined>, undefined>;
                readonly uuid: v.StringSchema<undefined>;
                readonly label: v.StringSchema<undefined>;
                readonly state: v.PicklistSchema<["locked", "unlocked", "failed", "closing"], undefined>;
                readonly pid: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly uri: v.StringSchema<undefined>;
                readonly socket: v.StringSchema<undefined>;
                readonly size: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly sectorSize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly cipher: v.StringSchema<undefined>;
                readonly keySize: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly readonly: v.BooleanSchema<undefined>;
                readonly discards: v.BooleanSchema<undefined>;
                readonly since: v.StringSchema<undefined>;
                readonly keyslot: v.NullableSchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                readonly header: v.NullableSchema<v.ObjectSchema<{
                    readonly slotsChanged: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                    readonly slotsAdded: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                    readonly slotsRemoved: v.ArraySchema<v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>, v.MaxValueAction<number, number, undefined>]>, undefined>;
                }, undefined>, undefined>;
                readonly enclave: v.ObjectSchema<{
                    readonly backend: v.PicklistSchema<readonly ["software", "sgx"], undefined>;
                    readonly mrenclave: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly mrsigner: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly isvProdId: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly isvSvn: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly cpuSvn: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>]>;
                    readonly debug: v.BooleanSchema<undefined>;
                    readonly xfrm: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.RegexAction<string, undefined>, v.TransformAction<string, bigint>]>;
                    readonly publicKey: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.CheckAction<string, "not base64">, v.TransformAction<string, Uint8Array<ArrayBufferLike>>, v.CheckAction<Uint8Array<ArrayBufferLike>, "not undefined bytes" | `not ${number} bytes`>]>;
                    readonly aes: v.StringSchema<undefined>;
                    readonly kdfMemoryKib: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                    readonly memory: v.ObjectSchema<{
                        readonly keys: v.StringSchema<undefined>;
                        readonly stacks: v.StringSchema<undefined>;
                        readonly heap: v.StringSchema<undefined>;
                    }, undefined>;
                }, undefined>;
                readonly transitionCycles: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
                readonly counters: v.RecordSchema<v.StringSchema<undefined>, v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>, undefined>;
            }, undefined>;
        }, undefined>;
    };
    readonly Lock: {
        readonly input: v.StrictObjectSchema<{}, undefined>;
        readonly output: v.ObjectSchema<{}, undefined>;
    };
    readonly Resize: {
        readonly input: v.StrictObjectSchema<{}, undefined>;
        readonly output: v.ObjectSchema<{
            readonly size: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 0, undefined>]>;
        }, undefined>;
    };
    readonly Close: {
        readonly input: v.StrictObjectSchema<{
            readonly force: v.OptionalSchema<v.NullableSchema<v.BooleanSchema<undefined>, undefined>, null>;
            readonly deferred: v.OptionalSchema<v.NullableSchema<v.BooleanSchema<undefined>, undefined>, null>;
        }, undefined>;
        readonly output: v.ObjectSchema<{}, undefined>;
    };
};
export type VolumeMethod = keyof typeof volumeMethods;
export type VolumeInput<M extends VolumeMethod> = v.InferOutput<(typeof volumeMethods)[M]["input"]>;
export type VolumeOutput<M extends VolumeMethod> = v.InferOutput<(typeof volumeMethods)[M]["output"]>;
/** Parameters of the error io.tresor.Volume.Refused. */
export declare const refusedSchema: v.ObjectSchema<{
    readonly code: v.SchemaWithPipe<readonly [v.StringSchema<undefined>, v.TransformAction<string, import("../base/error-codes.ts").ErrorCode>]>;
    readonly exitCode: v.PicklistSchema<[1, 2, 3, 4, 5], undefined>;
    readonly message: v.StringSchema<undefined>;
}, undefined>;
