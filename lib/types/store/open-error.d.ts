import { TresorError } from "../base/errors.ts";
/** `direct`: whether O_DIRECT was asked for. Codes: STORE_MISSING, STORE_DENIED, STORE_BUSY, STORE_UNFIT. */
export declare function openError(path: string, direct: boolean, error: NodeJS.ErrnoException, { readOnly, readonlyHelps }?: {
    readonly readOnly?: boolean;
    readonly readonlyHelps?: boolean;
}): TresorError;
