/** I/O errors, by the errno that an NBD reply carries. Pure. */
export type Errno = "EPERM" | "EIO" | "ENOMEM" | "EINVAL" | "ENOSPC" | "EOVERFLOW" | "ENOTSUP" | "ESHUTDOWN";
export declare class IoError extends Error {
    readonly name = "IoError";
    readonly code: Errno;
    constructor(code: Errno, message: string, options?: ErrorOptions);
}
/** Anything thrown, as the errno an NBD client is told; what has no name of its own is EIO. */
export declare function asIoError(error: unknown): IoError;
