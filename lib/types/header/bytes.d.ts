import type { Store } from "../store/store.ts";
/** Exactly `length` bytes; throws LUKS2_TRUNCATED (exit 4) when they are not there, or IoError. */
export declare function readBytes(store: Store, offset: number, length: number): Promise<Uint8Array>;
