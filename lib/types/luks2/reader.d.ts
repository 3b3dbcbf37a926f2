import { type Extensible } from "./json.ts";
/** Why an object is kept and not used. */
export interface Fault {
    /** One clause: "keyslots.0.kdf.salt is not base64". */
    readonly fact: string;
    /** Whether something is broken; else it is of a kind that is unknown here. */
    readonly damaged: boolean;
}
/** What is wrong with a header, as one clause: "keyslots.0.area is missing". */
export declare class Odd extends Error {
    readonly name = "Odd";
    readonly fault: Fault;
    constructor(fact: string, { damaged }?: {
        damaged?: boolean | undefined;
    });
}
export declare const isNumber: (text: string, limit?: number) => boolean;
export declare class Reader {
    #private;
    constructor(text: string, path: string);
    fail(field: string, what: string): Odd;
    /** A value whose meaning is unknown here, which another program or version may know. */
    unknownValue(field: string, value: string | number): Odd;
    has(field: string): boolean;
    unknown(...known: readonly string[]): Extensible;
    /** What `read` returns, or `null` for a member that is missing or of another kind. */
    optional<T>(field: string, read: (field: string) => T): T | null;
    /** Not empty: cryptsetup takes an empty string for a missing one. */
    string(field: string): string;
    /** JSON number without fraction, exponent or sign that json-c takes for an int. */
    integer(field: string, low: number, high?: number): number;
    /** Decimal text of 64 bits. */
    uint64(field: string): bigint;
    base64(field: string): Uint8Array;
    strings(field: string): string[];
    /** Numbers of objects, written as strings. */
    references(field: string): number[];
    object(field: string): Reader;
    /** Objects under their numbers, in ascending order. */
    numbered<T>(field: string, parse: (reader: Reader, number: number) => T): Map<number, T>;
}
