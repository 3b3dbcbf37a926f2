/** Bytes. */
export declare const SECRET_SIZE = 32;
/** $TRESOR_STATE_DIR; else /var/lib/tresor for root, $XDG_STATE_HOME/tresor for others. */
export declare function stateDir(): string;
/** Where the machine secret is: in stateDir, or under sudo with the user whose volume it is (sudo-caller.ts). */
export declare const secretDir: () => string;
/** The bytes are the caller's, to be wiped. Makes file and directory when there are none. */
export declare function readMachineSecret(directory: string): Buffer;
