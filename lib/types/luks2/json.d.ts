/** Members of an object that are not ours: name -> text of the value. */
export declare const extra: unique symbol;
export interface Extensible {
    readonly [extra]?: ReadonlyMap<string, string>;
}
/** Throws SyntaxError for what is not one JSON object, and for equal names in it or in any object within. */
export declare function members(text: string): Map<string, string>;
/** Text of an object of these members, in order; `null` texts are left out. */
export declare function object(fields: Iterable<readonly [string, string | null]>): string;
/** The members in `text` that are not in `known`; `undefined` when there are none. */
export declare function unknownMembers(found: ReadonlyMap<string, string>, known: readonly string[]): Extensible;
