/** LUKS2 headers for programs: read, judged, written as bytes. Pure: runs in a browser. */
export { TresorError } from "../base/errors.ts";
export { type Copy, encodeCopy } from "./binary-header.ts";
export { emitMetadata } from "./emit.ts";
export { faultsOf, faultWords, type NamedFault } from "./faults.ts";
export { decodeHeader } from "./header.ts";
export type { ForeignKeyslot, ForeignToken, LuksArea, LuksConfig, LuksDigest, LuksHeader, LuksKdf, LuksKeyslot, LuksSegment, Metadata, } from "./metadata.ts";
export { parseMetadata } from "./parse.ts";
export { makeRecoveryKey, normalizeRecoveryKey, recoveryKeyFaults } from "./recovery-key.ts";
export { type Tampering, tampering, tamperingWords } from "./tampering.ts";
export { isTresorToken, type Sealer, sealerOf, type TresorToken } from "./tresor-token.ts";
