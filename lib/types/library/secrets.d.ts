/** Runs `work`, and wipes the secrets however it ends. Throws PASSPHRASE_NOT_BYTES (exit 1) for a string: it could not be wiped. */
export declare function wiping<T>(secrets: readonly unknown[], work: () => Promise<T>): Promise<T>;
