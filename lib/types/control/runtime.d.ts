import * as v from "valibot";
declare const stateSchema: v.ObjectSchema<{
    readonly version: v.LiteralSchema<1, undefined>;
    readonly name: v.StringSchema<undefined>;
    readonly pid: v.SchemaWithPipe<readonly [v.NumberSchema<undefined>, v.IntegerAction<number, undefined>, v.MinValueAction<number, 1, undefined>]>;
    /** Field 22 of /proc/PID/stat: with the PID it names a process for one boot. */
    readonly startTime: v.StringSchema<undefined>;
    readonly bootId: v.StringSchema<undefined>;
    /** The volume's path, absolute. */
    readonly path: v.StringSchema<undefined>;
    /** What the path led to: storeIdentity. */
    readonly store: v.StringSchema<undefined>;
    /** The same of a detached header. */
    readonly header: v.OptionalSchema<v.StringSchema<undefined>, undefined>;
    readonly readonly: v.BooleanSchema<undefined>;
}, undefined>;
export type State = v.InferOutput<typeof stateSchema>;
/** Letters, digits and `_ . : + @ -`; no leading dot or dash: one path component, one dm name. */
export declare function checkName(name: string): void;
export interface RuntimePaths {
    readonly directory: string;
    readonly nbd: string;
    readonly control: string;
    readonly state: string;
    readonly log: string;
}
/** Throws for an invalid name, or one too long for a socket's path. */
export declare function runtimePaths(root: string, name: string): RuntimePaths;
/** Start time of a process in clock ticks since boot; `null` when there is none. A zombie is none. */
export declare function processStart(pid: number): string | null;
/**
 * `null`: no such volume. "damaged": a directory without a readable state of its owner.
 * Throws RUNTIME_NOT_PRIVATE. `owner`: see openRoot.
 */
export declare function readState(root: string, name: string, owner?: number): State | "damaged" | null;
export declare function isLive(state: State | "damaged" | null): state is State;
/** A volume's directory, and whether its tresord lives. */
export interface Entry {
    readonly name: string;
    readonly state: State | "damaged";
    readonly live: boolean;
}
/** Every volume that has a directory, the dead ones too. Throws RUNTIME_NOT_PRIVATE. `owner`: see openRoot. */
export declare function entries(root: string, owner?: number): Entry[];
/** Names of the volumes whose tresord lives. */
export declare function liveNames(root: string): string[];
/** The same for two paths to one file or device; a URI is its own. */
export declare function storeIdentity(path: string): string;
/**
 * Makes `<root>/<name>/` for this process. Clears the directory of a dead
 * tresord; throws NAME_IN_USE or VOLUME_IN_USE (exit 5) for a live one. Two
 * readers may share a volume, a writer shares with nobody.
 */
export declare function claimName(root: string, name: string, path: string, readonly: boolean, header?: string | null): RuntimePaths;
/** Removes what claimName made, unless somebody else owns it by now. */
export declare function releaseName(root: string, name: string): void;
export {};
