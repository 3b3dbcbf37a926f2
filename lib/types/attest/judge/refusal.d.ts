import type { ErrorCode } from "../../base/error-codes.ts";
import { TresorError } from "../../base/errors.ts";
/** Evidence that does not hold. `message` is the fact found; the verifier adds which check found it. */
export declare class Refusal extends Error {
    readonly name = "Refusal";
}
/** The line people read when an enclave is not to have a passphrase; exit 2. `fact`: what was found. */
export declare function refuse(code: ErrorCode, fact: string, cause?: unknown): TresorError;
