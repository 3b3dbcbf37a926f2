import type { Socket } from "node:net";
import { TresorError } from "../base/errors.ts";
import { type Entry, type State } from "./runtime.ts";
export interface Root {
    readonly path: string;
    readonly owner: number;
}
export interface Found extends Root {
    readonly state: State | "damaged" | null;
}
/** One's own; root sees those of the users' sessions too, unless told where to look. */
export declare function roots(): Root[];
/** All volumes that have a directory; faults of another user's directory are ignored. */
export declare function allEntries(): (Entry & Root)[];
/** The volume of that name: one's own first, then for root the users'. `state` null: no such volume. */
export declare function find(name: string, { others }: {
    readonly others: boolean;
}): Found;
/**
 * Throws IMPOSTOR unless the peer is the tresord of state.json, run by `owner` or root: a passphrase is
 * about to go there, and a software enclave's report would look the same from anybody.
 */
export declare function checkPeer(socket: Socket, name: string, expected: {
    readonly pid: number;
    readonly owner: number;
}): void;
/** A volume whose tresord ended without closing it. */
export declare function dead(name: string, state: {
    readonly pid: number;
} | "damaged"): TresorError;
export declare function notOpen(name: string): TresorError;
