/** Removes what is half done when a signal ends the program. */
/** Runs `work`; on a signal that ends us `undo` is called first. Otherwise undoing is the caller's. */
export declare function undoneWhenInterrupted<T>(undo: () => void, work: () => Promise<T>): Promise<T>;
