/** Cost of guessing a keyslot's passphrase from a copy of the disk. Pure. */
import type { Metadata } from "../luks2/metadata.ts";
import { type Made } from "./made.ts";
/** "unknown": a token of a type that is not known here keeps the key, and what that is worth it does not say. */
export type Strength = "strong" | "passphrase" | "weak" | "unknown";
export interface SlotStrength {
    readonly slot: number;
    readonly kind: "tresor" | "recovery" | "portable";
    /** Types of the tokens that name the slot. */
    readonly tokens: readonly string[];
    readonly strength: Strength;
    /** Sealed keyslots: where and when; null where the token does not say. */
    readonly made: Made | null;
    /** One phrase for people. */
    readonly why: string;
}
/** Keyslots of the volume key; `except` leaves out one, say the recovery key just used. */
export declare function slotStrengths(metadata: Metadata, except?: readonly number[]): readonly SlotStrength[];
