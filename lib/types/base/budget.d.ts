/**
 * Memory shared by many, handed out in the order asked for. Whoever holds some
 * asks for no more before giving it back, so nobody waits forever.
 */
export interface Pressure {
    /** Called when somebody begins to wait: what is held for later is to be given back. */
    readonly spare: () => void;
    /** Called again and again while somebody has waited longer than `patienceMs`. */
    readonly relieve: () => void;
    readonly patienceMs: number;
}
export declare class Budget {
    #private;
    constructor(bytes: number, pressure?: Pressure | null);
    /** Bytes nobody holds. */
    get free(): number;
    /** Somebody waits. */
    get contended(): boolean;
    /** Takes what can be had at once, ahead of nobody. */
    tryTake(bytes: number): boolean;
    /** False when `signal` was aborted first: then nothing is held. `bytes` must not exceed the whole. */
    take(bytes: number, signal?: AbortSignal): Promise<boolean> | boolean;
    give(bytes: number): void;
}
