/** $XDG_CONFIG_HOME/tresor, else ~/.config/tresor. */
export declare function configDir(): string;
/** Empty when there is none. Throws TresorError LIST_UNREADABLE: an existing list must not be ignored. */
export declare function readList(path: string): string;
/** What `change` makes of the list takes its place; no other process's line is lost. Throws the system's errors. */
export declare function changeList(path: string, change: (text: string) => string): void;
/** Whether the system refused, as it does for a home that cannot be written to. */
export declare function isSystemError(error: unknown): error is NodeJS.ErrnoException;
