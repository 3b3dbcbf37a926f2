/**
 * Little-endian C structs without padding, described once and read and written
 * by field name. A description lists its fields in memory order.
 */
type Integer = "u8" | "u16" | "u32" | "u64";
/** An integer, a byte array of that length, or a struct. */
export type FieldType = Integer | number | Struct<Fields>;
type Fields = Readonly<Record<string, any>>;
export interface Struct<F extends Fields> {
    /** As in the C header. */
    readonly name: string;
    /** Bytes. */
    readonly size: number;
    readonly fields: F;
    readonly offsets: {
        readonly [K in keyof F]: number;
    };
}
type FieldValue<T> = T extends "u64" ? bigint : T extends Integer ? number : T extends number ? Uint8Array : T extends Struct<infer F> ? Value<F> : never;
type Value<F extends Fields> = {
    [K in keyof F]: FieldValue<F[K]>;
};
/** What `decode` gives. */
export type Decoded<S> = S extends Struct<infer F> ? Value<F> : never;
type PartialValue<F extends Fields> = {
    readonly [K in keyof F]?: F[K] extends Struct<infer G> ? PartialValue<G> : FieldValue<F[K]>;
};
/** What `encode` takes: absent fields are zero, byte arrays may be shorter. */
export type Encodable<S> = S extends Struct<infer F> ? PartialValue<F> : never;
export declare function struct<const F extends Readonly<Record<string, FieldType>>>(name: string, fields: F): Struct<F>;
/** Writes `value` over `into`, which has the struct's size; fields it does not name become zero. */
export declare function encode<F extends Fields>(type: Struct<F>, value: PartialValue<F>, into: Uint8Array): void;
/** Byte arrays are copies. */
export declare function decode<F extends Fields>(type: Struct<F>, from: Uint8Array): Value<F>;
export {};
