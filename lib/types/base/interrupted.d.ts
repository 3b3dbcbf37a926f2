/** What is half done goes when we are told to end. */
/** Runs `work`; on a signal that ends us `undo` is called first. Otherwise undoing is the caller's. */
export declare function undoneWhenInterrupted<T>(undo: () => void, work: () => Promise<T>): Promise<T>;
