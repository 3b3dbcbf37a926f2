export interface Caller {
    readonly uid: number;
    readonly name: string;
    /** The directory of that user's machine secret. */
    readonly state: string;
}
/** The one found by `adoptCaller`. */
export declare const sudoCaller: () => Caller | null;
/**
 * From here on this process uses the machine secret of the user who called sudo, when root works on a file
 * of that user's and there is such a secret. TRESOR_STATE_DIR stands above it. `null`: root's own is used.
 */
export declare function adoptCaller(path: string): Caller | null;
/** A user and that user's state directory, which may not exist; `null`: no such user, or one without a home. */
export declare function stateOf(uid: number): Caller | null;
