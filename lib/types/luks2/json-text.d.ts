/** Values as the JSON text cryptsetup writes. Pure. */
import { type Extensible } from "./json.ts";
/** `null` texts are left out. */
export type Fields = readonly (readonly [string, string | null])[];
export declare const text: (value: string | number | readonly string[]) => string;
export declare const uint64: (value: bigint) => string;
export declare const numbers: (values: readonly number[]) => string;
export declare function base64(bytes: Uint8Array): string;
/** A member of ours stands for one of the same name that was kept. */
export declare function whole(fields: Fields, source: Extensible): string;
export declare function numbered<T>(items: ReadonlyMap<number, T>, emit: (item: T) => string): string;
