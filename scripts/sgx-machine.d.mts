/** Types of sgx-machine.mjs for test/sgx. */
export declare const firmware: readonly string[]
export declare function sgxMachine(say?: (text: string) => void): string
