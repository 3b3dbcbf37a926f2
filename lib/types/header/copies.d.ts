/** Reading both copies of a header, and judging which one counts. */
import { TresorError } from "../base/errors.ts";
import { type Copy } from "../luks2/binary-header.ts";
import type { LuksHeader } from "../luks2/metadata.ts";
import type { Store } from "../store/store.ts";
export type FoundCopy = {
    readonly copy: Copy;
    readonly offset: number;
    readonly header: LuksHeader;
    readonly json: string;
} | {
    readonly copy: Copy;
    readonly offset: number | null;
    readonly fault: string;
    readonly error: TresorError | null;
};
export interface FoundCopies {
    readonly primary: FoundCopy;
    readonly secondary: FoundCopy;
    /** The newer of the valid ones. */
    readonly header: LuksHeader;
    /** Its JSON area's text. */
    readonly json: string;
    /** Copies to be rewritten from `header`. */
    readonly stale: readonly Copy[];
}
/**
 * Both copies. Throws NOT_LUKS, LUKS1 (exit 4) when there is no trace of
 * LUKS2, LUKS2_BROKEN or LUKS2_INVALID when neither copy is valid.
 */
export declare function readCopies(device: Store): Promise<FoundCopies>;
