/** A promise that is settled from outside, and may reject while nobody waits for it. */
export interface Deferred<T> {
    readonly promise: Promise<T>;
    readonly resolve: (value: T) => void;
    readonly reject: (error: Error) => void;
}
export declare function deferred<T>(): Deferred<T>;
