/** LUKS2_KEYSLOTS_MAX, LUKS2_TOKENS_MAX of cryptsetup. */
export declare const KEYSLOTS: 32;
export declare const TOKENS = 32;
/** Of the anti-forensic splitter. */
export declare const STRIPES: 4000;
/** Of segments and keyslot areas: the one the enclave has. */
export declare const CIPHER = "aes-xts-plain64";
