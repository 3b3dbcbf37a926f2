import type { TresorToken } from "../luks2/tresor-token.ts";
export interface Made {
    readonly host: string;
    /** UTC, "2026-11-28". */
    readonly on: string;
}
/** The member of a token that holds it, for its `extra`. */
export declare function madeMember({ host, on }: Made): readonly [string, string];
/** null: another program's token, or an older one, or nonsense. */
export declare function madeOf(token: TresorToken): Made | null;
