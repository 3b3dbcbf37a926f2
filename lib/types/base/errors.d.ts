/**
 * The one error class of the product. `code` is stable and for programs,
 * `exitCode` is cryptsetup's, `message` is one line for people: what could not
 * be done, the fact found, the way out.
 */
/** cryptsetup(8), EXIT STATUS. */
export declare const Exit: {
    readonly badArguments: 1;
    readonly denied: 2;
    readonly noMemory: 3;
    readonly wrongDevice: 4;
    readonly busy: 5;
};
export type ExitCode = (typeof Exit)[keyof typeof Exit];
import type { ErrorCode } from "./error-codes.ts";
export declare class TresorError extends Error {
    readonly name = "TresorError";
    /** `<AREA>_<WHAT>`, e.g. `LUKS2_BAD_CHECKSUM`. */
    readonly code: ErrorCode;
    readonly exitCode: ExitCode;
    constructor(code: ErrorCode, exitCode: ExitCode, message: string, options?: ErrorOptions);
}
