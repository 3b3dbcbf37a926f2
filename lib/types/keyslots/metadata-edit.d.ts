/** Changes of the JSON area that keep it whole: no token or digest names a keyslot that is gone. Pure. */
import type { ForeignToken, LuksDigest, LuksKeyslot, Metadata } from "../luks2/metadata.ts";
import { type TresorToken } from "../luks2/tresor-token.ts";
import type { HeaderMacs } from "../luks2/types.ts";
export type Token = TresorToken | ForeignToken;
export declare function isLuksKeyslot(keyslot: NonNullable<ReturnType<Metadata["keyslots"]["get"]>>): keyslot is LuksKeyslot;
/** The digest of segment 0: its keyslots hold the volume key; others are unbound. */
export declare function segmentDigest(metadata: Metadata): readonly [number, LuksDigest];
/** Numbers of the keyslots that hold the volume key, ascending. */
export declare function volumeSlots(metadata: Metadata): readonly number[];
export declare function tresorToken(metadata: Metadata, slot: number): TresorToken | null;
/** Numbers of the keyslots marked by a token of `type`, ascending. */
export declare function slotsOfTokens(metadata: Metadata, type: string): readonly number[];
/** The mark of a recovery keyslot as systemd-cryptenroll makes it. */
export declare function recoveryToken(slot: number, adopted: boolean): ForeignToken;
/** Recovery keyslots that adopt made. */
export declare function adoptedRecoverySlots(metadata: Metadata): readonly number[];
export declare function hasTresorToken(metadata: Metadata): boolean;
/** A keyslot of segment 0's digest. */
export declare function putKeyslot(metadata: Metadata, slot: number, keyslot: LuksKeyslot): Metadata;
/** Throws LUKS2_TOKENS_FULL (exit 4). */
export declare function addToken(metadata: Metadata, token: Token): Metadata;
/** All tresor tokens of a volume carry the same MACs. */
export declare function setMacs(metadata: Metadata, mac: HeaderMacs): Metadata;
/**
 * Without a keyslot, its MAC and what names it. A token that named only this
 * keyslot goes with it when it is ours or a recovery key's mark; another
 * program's stays without keyslots, as cryptsetup leaves it.
 */
export declare function dropKeyslot(metadata: Metadata, slot: number): Metadata;
