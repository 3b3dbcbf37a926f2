/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi/enclave.h - the boundary between the host and the enclave.
 *
 * Compiled by both sides; src/abi/enclave.ts repeats the numbers for
 * TypeScript and a test compares the two.
 *
 * One entry point. The host enters with RDI = address of a request in host
 * memory (8-byte aligned). A request starts with struct tresor_head, whose op
 * selects the struct that follows. The enclave copies the whole struct in
 * once, believes only the copy, and copies it back when the operation ended;
 * head.status is part of that copy. The status is also returned in RDI, for
 * requests that cannot be read or written.
 *
 * Rules that hold for every struct and every buffer:
 *  - fixed-size little-endian fields, no padding, no pointers: a u64 named
 *    "address" is a host address and lies, with its length, wholly outside
 *    the enclave; the enclave checks that, and that nothing wraps;
 *  - addresses are 8-byte aligned. Buffers whose length is not a multiple of
 *    8 are readable and writable up to the next multiple (the enclave moves
 *    host memory in aligned quadwords only, INTEL-SA-00615/-00657);
 *  - reserved fields are zero;
 *  - outputs are written on TRESOR_OK only, unless a field says otherwise;
 *  - all sizes are in bytes, all sector numbers in units of 512 bytes.
 */
#ifndef TRESOR_ABI_ENCLAVE_H
#define TRESOR_ABI_ENCLAVE_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define TRESOR_ABI_VERSION	2u

/* Limits. */
#define TRESOR_THREADS		8u	/* TCS pages in the image */
#define TRESOR_KEYSLOTS		32u	/* LUKS2: 32 keyslots at most */
#define TRESOR_VOLUMES		16u	/* handles live at once in one enclave */
#define TRESOR_RANGES		256u	/* ranges or blocks in one entry */
#define TRESOR_RANGE_SIZE	(64u << 20)	/* bytes in one range */
#define TRESOR_SECRET_SIZE	(8u << 20)	/* one passphrase or key file (cryptsetup's limit) */
#define TRESOR_NONCES		16u	/* challenges outstanding; the oldest is dropped */
#define TRESOR_SALT_SIZE	64u
#define TRESOR_KEY_MAX		64u
#define TRESOR_STRIPES		4000u	/* LUKS AF stripes */
#define TRESOR_ANY_SLOT		0xffffffffu

enum tresor_op {
	TRESOR_OP_HELLO		= 1,	/* first and once; everything else needs it */
	TRESOR_OP_CHALLENGE	= 2,	/* a single-use nonce for one sealed request */
	TRESOR_OP_REPORT	= 3,	/* EREPORT binding the HPKE public key */
	TRESOR_OP_CREATE	= 4,	/* new volume key and its first keyslot */
	TRESOR_OP_UNLOCK	= 5,	/* keyslot + sealed passphrase -> handle */
	TRESOR_OP_ENROL		= 6,	/* existing + new passphrase -> new keyslot */
	TRESOR_OP_SECTORS	= 7,	/* encrypt or decrypt ranges of a volume */
	TRESOR_OP_CLOSE		= 8,	/* wipe a handle's keys */
	TRESOR_OP_LEGACY	= 9,	/* KDF(bytes, sealed salt) -> handle, as in 2016 */
	TRESOR_OP_BLOCKS	= 10,	/* the kernel ring: IV-addressed requests */
	TRESOR_OP_SELFTEST	= 11,	/* one published vector set */
	TRESOR_OP_BENCHMARK	= 12,	/* run a KDF on fixed input, for calibration */
	TRESOR_OP_ASSIST	= 13,	/* lend this thread to a running Argon2 */
	TRESOR_OP_BEQUEATH	= 14,	/* keyslot + sealed passphrase -> its salt, for the successor the user named */
	TRESOR_OP_INHERIT	= 15,	/* what a predecessor bequeathed -> sealed salt of ours */
	TRESOR_OP_REENCRYPT	= 16,	/* sealed passphrase, a keyslot of the old key and one of the new -> pass */
	TRESOR_OP_ZONE		= 17,	/* open or close the pass's hot zone, and authenticate that */
	TRESOR_OP_CONVERT	= 18,	/* ranges of the hot zone: old ciphertext -> new ciphertext */
	TRESOR_OP_APPROVE	= 19,	/* sealed passphrase -> the enclave that may take an open volume over */
	TRESOR_OP_YIELD		= 20,	/* an open volume's key, for an enclave that may take it over */
	TRESOR_OP_TAKE_OVER	= 21,	/* what another enclave yielded -> handle */
	TRESOR_OP_FINISH	= 22,	/* a pass at its end -> handle of the new key alone */
};

enum tresor_status {
	TRESOR_OK		= 0,
	TRESOR_E_REQUEST	= 1,	/* malformed, out of range, or inside the enclave */
	TRESOR_E_STATE		= 2,	/* HELLO missing or repeated */
	TRESOR_E_HANDLE		= 3,	/* no such volume */
	TRESOR_E_PASSPHRASE	= 4,	/* no keyslot opened; which, and why, is not told */
	TRESOR_E_MESSAGE	= 5,	/* sealed request: forged, replayed or for something else */
	TRESOR_E_MEMORY		= 6,	/* the KDF wants more memory than there is: see needed_kib */
	TRESOR_E_UNSUPPORTED	= 7,	/* cipher, hash or KDF outside the allow-list, or below the floor */
	TRESOR_E_HEADER		= 8,	/* the header's MAC does not match its segment or digest, or is missing */
	TRESOR_E_BUSY		= 9,	/* another KDF runs, or no volume is free */
	TRESOR_E_RANDOM		= 10,	/* RDRAND/RDSEED failed its health check */
	TRESOR_E_DEAD		= 11,	/* a self-test failed; the enclave serves nothing */
	TRESOR_E_SEAL_DAMAGED	= 16,	/* sealed salt: checksum, format, or of another volume, slot or KDF */
	TRESOR_E_SEAL_SIGNER	= 17,	/* sealed by an enclave of another MRSIGNER or product */
	TRESOR_E_SEAL_ENCLAVE	= 18,	/* policy mrenclave, other MRENCLAVE */
	TRESOR_E_SEAL_VERSION	= 19,	/* sealed by a newer ISVSVN (or CPUSVN) than ours */
	TRESOR_E_SEAL_BACKEND	= 20,	/* sealed under other attributes (software <-> sgx) */
	TRESOR_E_SEAL_MACHINE	= 21,	/* everything named agrees: another machine */
	TRESOR_E_SUCCESSOR	= 22,	/* the successor's report: forged, of another CPU or enclave, or of another kind */
	TRESOR_E_APPROVAL	= 23,	/* YIELD: genuine, but no enclave that may take this volume over */
};

/* What a sealed request may be used for; part of its associated data. */
enum tresor_purpose {
	TRESOR_PURPOSE_CREATE	= 1,
	TRESOR_PURPOSE_UNLOCK	= 2,
	TRESOR_PURPOSE_ENROL	= 3,
	TRESOR_PURPOSE_AUTHENTICATE = 4,	/* unlock and re-authenticate the header */
	TRESOR_PURPOSE_LEGACY	= 5,
	TRESOR_PURPOSE_SUCCEED	= 6,
	TRESOR_PURPOSE_REENCRYPT = 7,
	TRESOR_PURPOSE_APPROVE	= 8,
	TRESOR_PURPOSE_TAKE_OVER = 9,	/* no sealed request: the nonce of one takeover */
};

enum tresor_kdf_type { TRESOR_KDF_PBKDF2 = 1, TRESOR_KDF_ARGON2I = 2, TRESOR_KDF_ARGON2ID = 3 };
enum tresor_hash {
	TRESOR_HASH_NONE = 0,
	TRESOR_SHA1 = 1,
	TRESOR_SHA224 = 2,
	TRESOR_SHA256 = 3,
	TRESOR_SHA384 = 4,
	TRESOR_SHA512 = 5
};
enum tresor_cipher { TRESOR_LINEAR = 0 /* plaintext: on one side of a pass only */, TRESOR_AES_XTS_PLAIN64 = 1 };
enum tresor_policy { TRESOR_POLICY_MRENCLAVE = 1, TRESOR_POLICY_MRSIGNER = 2 };	/* KEYPOLICY bits */
enum tresor_mode { TRESOR_XTS = 1, TRESOR_CBC = 2, TRESOR_CTR = 3, TRESOR_ECB = 4, TRESOR_CBC_ESSIV = 5 };

/* CPU features the host found. A hint: it selects among safe code paths and
 * the enclave masks it with its own XFRM. A wrong hint costs speed or the
 * enclave (#UD), never a key. */
#define TRESOR_CPU_SHA		(1u << 0)
#define TRESOR_CPU_AVX2		(1u << 1)
#define TRESOR_CPU_VAES256	(1u << 2)	/* VAES + VPCLMULQDQ + AVX2 */
#define TRESOR_CPU_VAES512	(1u << 3)	/* the same + AVX512F/BW/VL/DQ */
#define TRESOR_CPU_RDSEED	(1u << 4)

struct tresor_head {
	uint32_t op;
	uint32_t size;		/* of the whole struct, head included */
	uint32_t status;	/* out */
	uint32_t reserved;
};

/* ---- sealed requests: HPKE (RFC 9180) base mode, DHKEM(X25519,
 * HKDF-SHA256), HKDF-SHA256, AES-256-GCM, single shot.
 * info = "tresor sealed request v2" (24 bytes, no NUL)
 * aad  = struct tresor_context
 * bytes on the wire = enc(32) || ciphertext || tag(16)
 * plaintext = u32 existing_size, u32 fresh_size, existing, fresh
 * The sizes make up the whole message but for 56 bytes.
 * CREATE carries fresh; UNLOCK, AUTHENTICATE, LEGACY, SUCCEED, REENCRYPT and APPROVE carry existing;
 * ENROL carries both. An absent secret has size 0; ENROL and CREATE accept an empty
 * fresh passphrase no more than cryptsetup does (size >= 1).
 *
 * The client decides what is done with its passphrase, so the context names the
 * whole request: context.request is SHA-256 over
 *   "tresor request v2" (17 bytes, no NUL)
 *   u32 purpose, u32 policy, u32 macs (1: given, 0: none), u32 count
 *   struct tresor_segment, struct tresor_digest
 *   struct tresor_keyslot[count], as given but for area and sealed, which are 0
 *   struct tresor_keyslot fresh, the same and salt 0, all zero when none is written
 *   SUCCEED and APPROVE: the successor's MRENCLAVE, 32 bytes
 * CREATE: count and macs are 0, digest's salt and digest are zero. UNLOCK,
 * AUTHENTICATE and APPROVE: policy is 0. LEGACY: over
 *   "tresor legacy v2" (16 bytes, no NUL)
 *   u32 make, u32 policy, struct tresor_kdf
 * without mode and key size: each has a key of its own, and a passphrase may come
 * before the mapping it is for. REENCRYPT: over
 *   "tresor reencrypt v1" (19 bytes, no NUL)
 *   the digest above of the header with the old key, and of the one with the new, where there is one
 *   struct tresor_pass, struct tresor_progress, u32 start, u32 vouched, u32 use
 * A request with another digest is E_MESSAGE.
 */
/* A keyslot without a sealed salt may be tried or written. */
#define TRESOR_ADMIT_UNSEALED	1u
/* SUCCEED: the successor may have a lower ISVSVN. */
#define TRESOR_ADMIT_DOWNGRADE	2u

struct tresor_context {
	uint32_t version;	/* TRESOR_ABI_VERSION */
	uint32_t purpose;
	char uuid[40];		/* LUKS2 UUID text, NUL padded */
	uint32_t slot;		/* keyslot that must open; TRESOR_ANY_SLOT: any given */
	uint32_t fresh_slot;	/* keyslot written; TRESOR_ANY_SLOT: none */
	uint32_t flags;		/* TRESOR_ADMIT_*, all the client's */
	uint32_t reserved;
	uint8_t nonce[32];	/* from TRESOR_OP_CHALLENGE, deleted on first use */
	uint8_t request[32];	/* digest of the public parameters, see above */
};

struct tresor_message {
	uint64_t address;	/* enc || ciphertext || tag */
	uint32_t size;		/* <= 2 * TRESOR_SECRET_SIZE + 56 */
	uint32_t reserved;
	struct tresor_context context;
};

/* ---- public LUKS2 parameters ---- */
struct tresor_kdf {
	uint32_t type;		/* enum tresor_kdf_type */
	uint32_t hash;		/* PBKDF2 only */
	uint32_t time;		/* iterations or passes, >= 1; see TRESOR_KDF_FLOOR_* */
	uint32_t memory_kib;	/* Argon2 only */
	uint32_t lanes;		/* Argon2 only, 1..64 */
	uint32_t reserved;
};

/* What a keyslot that is written costs at least: cryptsetup's minima. */
#define TRESOR_KDF_FLOOR_ITERATIONS	1000u	/* PBKDF2 */
#define TRESOR_KDF_FLOOR_PASSES_KIB	128u	/* Argon2: time x memory_kib */

struct tresor_segment {
	uint32_t cipher;	/* enum tresor_cipher */
	uint32_t sector_size;	/* 512, 1024, 2048, 4096 */
	uint32_t key_size;	/* 32 or 64 */
	uint32_t dynamic;	/* 1: size follows the device and is 0 here */
	uint64_t offset;	/* bytes */
	uint64_t size;		/* bytes, 0 when dynamic */
	uint64_t iv_tweak;	/* added to the sector number */
};

struct tresor_digest {
	uint32_t hash;
	uint32_t iterations;
	uint32_t salt_size;
	uint32_t digest_size;	/* the hash's, or 20: volumes converted from LUKS1 */
	uint8_t salt[TRESOR_SALT_SIZE];
	uint8_t digest[64];
};

struct tresor_keyslot {
	uint32_t slot;		/* 0..31 */
	uint32_t flags;		/* TRESOR_KEYSLOT_* */
	struct tresor_kdf kdf;	/* the LUKS2 keyslot's own */
	uint32_t af_hash;
	uint32_t af_stripes;	/* 4000 */
	uint32_t area_key_size;	/* 32 or 64: aes-xts-plain64 over the area */
	uint32_t key_size;	/* of the volume key: 32 or 64 */
	uint32_t salt_size;	/* 1..64 */
	uint32_t sealed_size;	/* sizeof(struct tresor_sealed_salt) for a tresor slot, else 0 */
	uint64_t area_offset;	/* on disk; authenticated, not used */
	uint64_t area_size;	/* on disk; authenticated, not used */
	uint64_t area;		/* address: AF material as on disk, key_size * stripes rounded up to 512 */
	uint64_t sealed;	/* address of struct tresor_sealed_salt */
	struct tresor_kdf pass_kdf;	/* tresor slot: passphrase + sealed salt -> slot passphrase */
	uint8_t salt[TRESOR_SALT_SIZE];
};
/* Try the passphrase on this slot (in array order). Others are only authenticated. */
#define TRESOR_KEYSLOT_TRY	1u

/* What the token of a Tresor volume stores so that a header cannot be edited:
 * HMAC-SHA256 under HKDF(volume key, "tresor header v1").
 * segment: uuid[40] || struct tresor_segment || struct tresor_digest
 * keyslot: uuid[40] || struct tresor_keyslot with flags, area and sealed zero,
 *          and sealed_size as given */
struct tresor_macs {
	uint32_t present;	/* bit n: keyslot[n] holds a MAC */
	uint32_t segment_present;
	uint8_t segment[32];
	uint8_t keyslot[TRESOR_KEYSLOTS][32];
};

/* The salt of a tresor slot: AES-256-GCM under HKDF(EGETKEY(SEAL)). Associated
 * data: every byte before ciphertext except checksum, iv and tag. */
struct tresor_sealed_salt {
	uint8_t magic[8];	/* "TRSRSEAL" */
	uint32_t version;	/* 1 */
	uint32_t policy;	/* enum tresor_policy */
	uint8_t checksum[32];	/* SHA-256 of the rest of the struct: tells damage from denial */
	uint8_t key_request[512];	/* the whole KEYREQUEST: CPUSVN, ISVSVN, KEYID, masks */
	uint8_t mrenclave[32];
	uint8_t mrsigner[32];
	uint64_t attributes;	/* FLAGS of the sealing enclave */
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint32_t slot;
	char uuid[40];
	struct tresor_kdf kdf;
	uint8_t iv[12];
	uint8_t tag[16];
	uint8_t reserved[4];
	uint8_t ciphertext[32];
};

/* ---- operations ---- */
struct tresor_hello {
	struct tresor_head head;
	uint32_t abi_version;	/* in: the host's; out: ours */
	uint32_t cpu;		/* in: hint TRESOR_CPU_*; out: what is used */
	uint64_t dynamic_size;	/* in: bytes of dynamic heap the backend can add (SGX2), 0 without */
	uint64_t heap_size;	/* out: bytes a KDF can have */
	uint8_t public_key[32];	/* out: X25519, fresh per start */
	uint8_t mrenclave[32];	/* out */
	uint8_t mrsigner[32];	/* out */
	uint8_t cpu_svn[16];	/* out */
	uint64_t attributes;	/* out: FLAGS */
	uint64_t xfrm;		/* out */
	uint16_t isv_prod_id;	/* out */
	uint16_t isv_svn;	/* out */
	uint32_t reserved;
};

struct tresor_challenge {
	struct tresor_head head;
	uint32_t purpose;	/* the nonce is good for this purpose only */
	uint32_t reserved;
	uint8_t nonce[32];	/* out */
};

/* REPORTDATA = SHA-256("tresor report v1" || public_key || nonce) || 32 zero bytes. */
struct tresor_report {
	struct tresor_head head;
	uint8_t nonce[32];	/* of whoever asks */
	uint64_t target_info;	/* address, 512 bytes */
	uint64_t report;	/* address, out, 432 bytes */
};

struct tresor_create {
	struct tresor_head head;
	uint32_t policy;	/* seal policy, when the slot is a tresor slot */
	uint32_t reserved;
	struct tresor_message message;
	struct tresor_segment segment;
	struct tresor_digest digest;	/* in: hash, iterations, sizes; out: salt, digest */
	struct tresor_keyslot keyslot;	/* in: parameters; out: salt, area, sealed */
	uint64_t macs;		/* address, out: struct tresor_macs */
};

struct tresor_unlock {
	struct tresor_head head;
	struct tresor_message message;	/* UNLOCK or AUTHENTICATE */
	struct tresor_segment segment;
	struct tresor_digest digest;
	uint64_t keyslots;	/* address: struct tresor_keyslot[count], all luks2 keyslots of the digest */
	uint32_t count;		/* 1..32 */
	uint32_t macs_missing;	/* out also with E_HEADER: 1: the keyslot that opened is sealed and macs is 0 */
	/* Address of struct tresor_macs, or 0: header not authenticated; then a
	 * sealed keyslot opens for AUTHENTICATE only. */
	uint64_t macs;
	uint64_t macs_out;	/* address, out: written for AUTHENTICATE; may equal macs; 0 otherwise */
	uint64_t sealed_out;	/* address or 0, out: salt sealed again under its own policy when resealed is 1 */
	uint32_t resealed;	/* out: 1 when the seal was stale and sealed_out was written */
	uint32_t slot;		/* out: the keyslot that opened */
	uint32_t handle;	/* out: 0 for AUTHENTICATE */
	uint32_t slots_changed;	/* out also with E_HEADER: bit n: keyslot n differs from its MAC */
	uint32_t slots_added;	/* out: bit n: keyslot n has no MAC */
	uint32_t slots_removed;	/* out: bit n: a MAC but no keyslot n */
	uint32_t segment_changed;	/* out also with E_HEADER */
	uint32_t seal_status;	/* out always: first E_SEAL_* met among tried slots, else 0 */
	uint32_t needed_kib;	/* out always: most memory a tried slot was passed over for, else 0 */
	uint32_t reserved;
};

/* Proves the existing passphrase, then writes one keyslot for the fresh one. */
struct tresor_enrol {
	struct tresor_head head;
	struct tresor_message message;
	struct tresor_segment segment;
	struct tresor_digest digest;
	uint64_t keyslots;	/* as in tresor_unlock */
	uint32_t count;
	uint32_t policy;	/* seal policy of the fresh slot */
	struct tresor_keyslot fresh;	/* in: parameters; out: salt, area, sealed */
	uint64_t macs;		/* as in tresor_unlock; E_HEADER when the segment's differs */
	uint64_t macs_out;	/* address, out: macs + the fresh slot's (made whole when macs is 0) */
	uint32_t slot;		/* out: the keyslot that opened */
	uint32_t seal_status;	/* out always */
	uint32_t needed_kib;	/* out always, as in tresor_unlock */
	uint32_t slots_changed;	/* out also with E_HEADER */
	uint32_t segment_changed;	/* out also with E_HEADER */
	uint32_t macs_missing;	/* as in tresor_unlock */
};

/* What came of a header that must be as it was authenticated: BEQUEATH, APPROVE. */
struct tresor_outcome {
	uint32_t slot;		/* out: the keyslot that opened, else 0 */
	uint32_t seal_status;	/* out always */
	uint32_t needed_kib;	/* out always, as in tresor_unlock */
	uint32_t macs_missing;	/* as in tresor_unlock */
	uint32_t segment_changed;	/* out also with E_HEADER */
};

/* Whole sectors of an open volume. in == out is allowed, other overlap is not. */
struct tresor_range {
	uint64_t in;		/* address */
	uint64_t out;		/* address */
	uint64_t sector;	/* 512-byte units from the segment's start; the enclave adds iv_tweak */
	uint32_t length;	/* bytes, a multiple of the volume's sector size */
	uint32_t reserved;
};

struct tresor_sectors {
	struct tresor_head head;
	uint32_t handle;
	uint32_t decrypt;	/* 0 encrypt, 1 decrypt */
	uint32_t count;		/* 1..TRESOR_RANGES */
	uint32_t reserved;
	uint64_t ranges;	/* address: struct tresor_range[count] */
};

struct tresor_close {
	struct tresor_head head;
	uint32_t handle;
	uint32_t reserved;
};

/*
 * The flow of 2016: secret = KDF(bytes, sealed salt), 32 bytes;
 * key = HKDF-SHA256(no salt, secret, "tresor legacy v2" || u32 mode || u32 key_size).
 */
struct tresor_legacy {
	struct tresor_head head;
	char uuid[40];		/* identity of the legacy record */
	uint32_t make;		/* 1: new salt, sealed_out is written; 0: use sealed */
	uint32_t policy;	/* seal policy of a new salt; 0 when make is 0: a seal keeps its own */
	uint32_t key_size;	/* 16, 24, 32; XTS also 64 */
	uint32_t mode;		/* enum tresor_mode the handle is good for */
	struct tresor_kdf kdf;
	uint64_t sealed;	/* address */
	uint64_t sealed_out;	/* address, out: the blob to keep (new, anew when stale, or the same) */
	struct tresor_message message;	/* setkey: purpose LEGACY; size 0: bytes below */
	uint32_t bytes_size;	/* 0 with a message; else 1..256 */
	uint32_t handle;	/* out */
	uint8_t bytes[256];	/* what dm-crypt's setkey delivered: a passphrase hash */
	uint32_t seal_status;	/* out always */
	uint32_t reserved;
};

/* One request of the kernel's Crypto API. The IV is read and written back as
 * the API demands (last block of CBC, next counter of CTR, running tweak of a
 * split XTS request). For XTS and ESSIV the iv is the plain sector number,
 * little endian, and the enclave encrypts it.
 * The handle of a LUKS2 volume takes one whole sector of its segment: length is
 * the sector size, iv the sector in units of 512 bytes with iv_tweak added,
 * flags 0; anything else is E_REQUEST. */
struct tresor_block {
	uint64_t in;		/* address */
	uint64_t out;		/* address; may equal in */
	uint32_t length;	/* bytes, 16..65536 */
	uint32_t handle;
	uint16_t mode;
	uint16_t decrypt;
	uint32_t flags;		/* TRESOR_BLOCK_* */
	uint8_t iv[16];		/* in, out */
	uint32_t status;	/* out: enum tresor_status of this one */
	uint32_t reserved[3];
};
/* The iv is the one the previous part returned: no sector number, nothing to encrypt. */
#define TRESOR_BLOCK_CONTINUED	1u

struct tresor_blocks {
	struct tresor_head head;
	uint32_t count;		/* 1..TRESOR_RANGES */
	uint32_t reserved;
	uint64_t blocks;	/* address: struct tresor_block[count], written back */
};

struct tresor_selftest {
	struct tresor_head head;
	uint32_t index;		/* enum tresor_test */
	uint32_t passed;	/* out: 1, or 0 with E_DEAD */
};
enum tresor_test {
	TRESOR_TEST_AES_FIPS197		= 0,
	TRESOR_TEST_MODES_SP800_38A	= 1,	/* ECB, CBC, CTR with 128/192/256-bit keys */
	TRESOR_TEST_XTS_IEEE1619	= 2,	/* also every vector width this CPU runs */
	TRESOR_TEST_SHA_FIPS180		= 3,
	TRESOR_TEST_HMAC_RFC4231	= 4,
	TRESOR_TEST_PBKDF2_RFC6070	= 5,
	TRESOR_TEST_PBKDF2_RFC7914	= 6,
	TRESOR_TEST_ARGON2_RFC9106	= 7,	/* Argon2i and Argon2id */
	TRESOR_TEST_HKDF_RFC5869	= 8,
	TRESOR_TEST_GCM_SP800_38D	= 9,
	TRESOR_TEST_X25519_RFC7748	= 10,
	TRESOR_TEST_HPKE_RFC9180	= 11,
	TRESOR_TEST_AF			= 12,	/* split then merge; merge of a cryptsetup area */
	TRESOR_TEST_SEAL		= 13,	/* seal, unseal, one flipped bit refused */
	TRESOR_TEST_RANDOM		= 14,	/* source health, DRBG vector (SP 800-90A) */
	TRESOR_TEST_CMAC_SP800_38B	= 15,
	TRESOR_TESTS			= 16,
};

struct tresor_benchmark {
	struct tresor_head head;
	struct tresor_kdf kdf;
	uint32_t key_size;	/* output bytes, 16..64 */
	uint32_t needed_kib;	/* out with E_MEMORY */
};

/* Returns when the Argon2 that was running has ended, or at once when none runs. */
struct tresor_assist {
	struct tresor_head head;
};

/*
 * Succession: a keyslot sealed to one enclave (policy mrenclave) opens in another on the same machine, because its
 * user says so to the first. The host starts both, and the predecessor
 *   1. opens the sealed request (purpose SUCCEED), which names the successor's MRENCLAVE, and a keyslot with it;
 *   2. checks the successor's REPORT: made on this CPU for the predecessor, of the named MRENCLAVE, the same
 *      ISVPRODID and class of attributes, and no lower ISVSVN unless TRESOR_ADMIT_DOWNGRADE;
 *   3. encrypts the keyslot's salt to the public key in that REPORT.
 * The successor seals it anew. It asks for no proof where the salt comes from: one that is not the keyslot's opens
 * nothing, since INHERIT makes seals for keyslots of LUKS2 headers alone, whose digest tells. A legacy record has no
 * digest, so it has no succession: its own enclave goes on serving it.
 */
struct tresor_handover {
	uint32_t version;	/* 1 */
	uint32_t policy;	/* of the seal to be made */
	uint32_t slot;
	uint32_t reserved;
	char uuid[40];
	struct tresor_kdf kdf;	/* the keyslot's pass_kdf */
	uint8_t successor[32];	/* MRENCLAVE */
	/* HPKE as in a sealed request; info = "tresor handover v1" (18 bytes, no NUL), aad = every byte before. */
	uint8_t salt[80];	/* enc(32) || ciphertext(32) || tag(16) */
};

struct tresor_bequeath {
	struct tresor_head head;
	struct tresor_message message;	/* SUCCEED */
	struct tresor_segment segment;
	struct tresor_digest digest;
	uint64_t keyslots;	/* as in tresor_unlock */
	uint32_t count;
	uint32_t policy;	/* of the seal that the successor makes */
	uint64_t macs;		/* as in tresor_unlock; E_HEADER when it is missing or the segment's differs */
	uint64_t report;	/* address: REPORT, 432 bytes: TRESOR_OP_REPORT of the successor, with us as its target */
	uint64_t handover;	/* address, out: struct tresor_handover */
	uint8_t successor[32];	/* MRENCLAVE that the user named */
	uint8_t public_key[32];	/* the successor's */
	uint8_t nonce[32];	/* of its REPORT */
	struct tresor_outcome outcome;
	uint32_t reserved;
};

struct tresor_inherit {
	struct tresor_head head;
	uint64_t handover;	/* address: struct tresor_handover */
	uint64_t sealed_out;	/* address, out: struct tresor_sealed_salt for its keyslot */
};

/*
 * Takeover: another start of an enclave goes on with an open volume, without its passphrase. The host starts the
 * successor on the same machine, whose challenge (purpose TAKE_OVER) is the nonce of its REPORT. The predecessor
 * yields the key to the public key in that REPORT, if it was made on this CPU for the predecessor, has the same
 * ISVPRODID and class of attributes and no lower ISVSVN, and is
 *   - of the predecessor's own MRENCLAVE, or
 *   - of the MRENCLAVE that the owner approved for this volume: a sealed request (APPROVE) that opens a keyslot of it, or
 *   - of the same MRSIGNER, where the keyslot that opened is sealed by policy mrsigner.
 * The successor uses up the nonce and checks the header with the key, as UNLOCK does: digest, and the segment's MAC.
 * It asks for no proof of the sender: a key that is not the volume's does not have its digest.
 */
struct tresor_approve {
	struct tresor_head head;
	struct tresor_message message;	/* APPROVE */
	struct tresor_segment segment;
	struct tresor_digest digest;
	uint64_t keyslots;	/* as in tresor_unlock */
	uint32_t count;
	uint32_t handle;	/* E_HANDLE unless it has the key that the keyslot holds */
	uint64_t macs;		/* as in tresor_unlock; E_HEADER when it is missing or the segment's differs */
	uint8_t successor[32];	/* MRENCLAVE; in place of one approved before */
	struct tresor_outcome outcome;
	uint32_t reserved;
};

struct tresor_yielded {
	uint32_t version;	/* 1 */
	uint32_t policy;	/* of the seal of the keyslot that opened; 0: not sealed */
	uint32_t key_size;
	uint32_t reserved;
	uint8_t successor[32];	/* MRENCLAVE */
	uint8_t nonce[32];
	/* HPKE as in a sealed request; info = "tresor takeover v1" (18 bytes, no NUL), aad = every byte before. */
	uint8_t key[112];	/* enc(32) || ciphertext(64) || tag(16); the volume key, zeros behind it */
};

struct tresor_yield {
	struct tresor_head head;
	uint32_t handle;
	uint32_t reserved;
	uint64_t report;	/* address: REPORT, 432 bytes: TRESOR_OP_REPORT of the successor, with us as its target */
	uint64_t yielded;	/* address, out: struct tresor_yielded */
	uint8_t public_key[32];	/* the successor's */
	uint8_t nonce[32];	/* of its REPORT */
};

struct tresor_take_over {
	struct tresor_head head;
	char uuid[40];
	struct tresor_segment segment;
	struct tresor_digest digest;
	uint64_t yielded;	/* address: struct tresor_yielded */
	uint64_t macs;		/* address of struct tresor_macs, or 0: not sealed, and not authenticated */
	uint32_t handle;	/* out */
	uint32_t macs_missing;	/* out also with E_HEADER: 1: it is sealed and macs is 0 */
	uint32_t segment_changed;	/* out also with E_HEADER */
	uint32_t reserved;
};

/*
 * Reencryption with both keys in here: ciphertext comes in and goes out. REENCRYPT proves a passphrase on a keyslot of
 * each key; what it makes is a pass, which CLOSE wipes. Of a pass, a hot zone at its position is opened (ZONE),
 * converted (CONVERT) and closed (ZONE), and so on to the end. Each state has a MAC, which the header stores:
 * HMAC-SHA256(K, struct tresor_progress), where
 * K = HKDF-SHA256(old key || new key, info = "tresor reencrypt v1" || struct tresor_pass).
 *
 * In the modes ENCRYPT and DECRYPT one side is plaintext, a segment with cipher TRESOR_LINEAR, sector_size 512 and
 * key_size 0; it has no digest (all zero), no keyslots and no MACs, and the other side's key is the only one. The
 * direction is LUKS2's for the mode: a pass is forward, but ENCRYPT with a shift of data and DECRYPT without one are
 * backward. DECRYPT with a shift moves the data down over their header, in whose place the volume's first bytes lie
 * first; the pass begins behind these, and they are its last zone, in their place.
 */
enum tresor_pass_mode { TRESOR_REENCRYPT = 1, TRESOR_ENCRYPT = 2, TRESOR_DECRYPT = 3 };
/* LUKS2's; checksums are of SHA-256. DATASHIFT goes with ENCRYPT alone; of DECRYPT with a shift, it is the last zone's. */
enum tresor_resilience { TRESOR_JOURNAL = 1, TRESOR_CHECKSUM = 2, TRESOR_DATASHIFT = 3 };

/* What stays while it lasts. Both segments lie at one place, but for the shift, and their iv_tweak is 0. */
struct tresor_pass {
	char uuid[40];
	struct tresor_segment previous;
	struct tresor_segment final;
	struct tresor_digest old_digest;	/* of the key of `previous` */
	struct tresor_digest new_digest;
	uint32_t resilience;	/* enum tresor_resilience */
	uint32_t block;		/* TRESOR_CHECKSUM: bytes with one hash; else 0 */
	uint64_t area_offset;	/* on disk, of the keyslot of type reencrypt */
	uint64_t area_size;
	uint32_t mode;		/* enum tresor_pass_mode */
	uint32_t reserved;
	uint64_t shift;		/* bytes between previous.offset and final.offset */
	/* With a shift, where the volume's first bytes lie: of ENCRYPT, linear; of DECRYPT, crypt. Else all zero. */
	struct tresor_segment moved;
};

struct tresor_progress {
	uint64_t
		position;	/* bytes from the volume's start: forward, those before it are converted; backward, those behind it */
	uint64_t hot;		/* bytes next to them that are being converted; 0: none */
	uint8_t probe[32];	/* the host's, of what comes behind those: a header of another time does not fit the data */
};

struct tresor_reencrypt {
	struct tresor_head head;
	struct tresor_message
		message;	/* REENCRYPT, both slots TRESOR_ANY_SLOT: one passphrase opens a keyslot of each key */
	uint64_t pass;		/* address: struct tresor_pass */
	struct tresor_progress
		progress;	/* start: hot 0, and position 0 or, backward, the volume's end; DECRYPT with a shift: moved.size */
	struct tresor_digest
		verification;	/* LUKS2's, over keys and metadata. start: out, with hash, iterations, sizes in */
	uint8_t mac[32];	/* of progress; start: ignored. out also when it was vouched for */
	uint64_t old_keyslots;	/* as in tresor_unlock, of the old key */
	uint64_t new_keyslots;
	uint64_t old_macs;	/* as in tresor_unlock, of the header before */
	uint64_t new_macs;	/* of the header after */
	uint32_t old_count;
	uint32_t new_count;
	uint32_t start;		/* 1: makes verification and mac; 0: they are checked, E_HEADER */
	uint32_t vouched;	/* 1: another program has gone on with the pass; mac is made, not checked */
	uint32_t use;		/* TRESOR_PASS_*, one at least */
	uint32_t slot;		/* out: the keyslot that opened, of the new key unless there is none */
	uint32_t handle;	/* out: for ZONE, CONVERT and CLOSE, and as `use` says */
	uint32_t seal_status;	/* out always */
	uint32_t needed_kib;	/* out always, as in tresor_unlock */
	uint32_t changed;	/* out also with E_HEADER: TRESOR_CHANGED_* */
	/* out: keyslots of the header after by new_macs, bit = slot; 0 without */
	uint32_t slots_changed;
	uint32_t slots_added;
	uint32_t slots_removed;
	uint32_t reserved;
};
/* ZONE opens zones; without it, only the one that is hot already is converted and closed. */
#define TRESOR_PASS_ZONES	1u
/* SECTORS serves the volume: below the position by the new key, behind the hot zone by the old one, in it not at all. */
#define TRESOR_PASS_SECTORS	2u
#define TRESOR_CHANGED_OLD	1u	/* segment or digest of the old key differ from their MAC, or it is missing */
#define TRESOR_CHANGED_NEW	2u	/* the same of the new key */
#define TRESOR_CHANGED_PASS	4u	/* verification or mac does not hold */

/*
 * hot != 0: opens it at the position. 0: the hot zone, if there is one, is converted, and the position moves behind it;
 * where there is none, only the probe is another.
 */
struct tresor_zone {
	struct tresor_head head;
	uint32_t handle;
	uint32_t last;		/* 1: of DECRYPT with a shift, opens the last zone: moved.size at position 0 */
	uint64_t hot;		/* bytes */
	uint8_t probe[32];	/* for tresor_progress */
	uint8_t mac[32];	/* out */
};

/* Ascending, in the hot zone: what was passed over or converted is not converted again before the zone is closed. */
struct tresor_convert {
	struct tresor_head head;
	uint32_t handle;
	uint32_t count;		/* 1..TRESOR_RANGES */
	uint64_t ranges;	/* address: struct tresor_range[count]; whole sectors of either size */
};

/*
 * Of a pass that served the volume: another handle, as UNLOCK makes it, for the new key. With CLOSE of the pass the old key
 * is gone. E_REQUEST while a zone is hot, and before the end where the size is fixed.
 */
struct tresor_finish {
	struct tresor_head head;
	uint32_t handle;	/* of the pass */
	uint32_t volume;	/* out */
};

#ifndef __KERNEL__
_Static_assert(sizeof(struct tresor_head) == 16, "abi");
_Static_assert(sizeof(struct tresor_context) == 128, "abi");
_Static_assert(sizeof(struct tresor_message) == 144, "abi");
_Static_assert(sizeof(struct tresor_kdf) == 24, "abi");
_Static_assert(sizeof(struct tresor_segment) == 40, "abi");
_Static_assert(sizeof(struct tresor_digest) == 144, "abi");
_Static_assert(sizeof(struct tresor_keyslot) == 176, "abi");
_Static_assert(sizeof(struct tresor_macs) == 1064, "abi");
_Static_assert(sizeof(struct tresor_sealed_salt) == 768, "abi");
_Static_assert(sizeof(struct tresor_hello) == 176, "abi");
_Static_assert(sizeof(struct tresor_challenge) == 56, "abi");
_Static_assert(sizeof(struct tresor_report) == 64, "abi");
_Static_assert(sizeof(struct tresor_create) == 536, "abi");
_Static_assert(sizeof(struct tresor_unlock) == 424, "abi");
_Static_assert(sizeof(struct tresor_enrol) == 576, "abi");
_Static_assert(sizeof(struct tresor_outcome) == 20, "abi");
_Static_assert(sizeof(struct tresor_range) == 32, "abi");
_Static_assert(sizeof(struct tresor_sectors) == 40, "abi");
_Static_assert(sizeof(struct tresor_close) == 24, "abi");
_Static_assert(sizeof(struct tresor_legacy) == 528, "abi");
_Static_assert(sizeof(struct tresor_block) == 64, "abi");
_Static_assert(sizeof(struct tresor_blocks) == 32, "abi");
_Static_assert(sizeof(struct tresor_selftest) == 24, "abi");
_Static_assert(sizeof(struct tresor_benchmark) == 48, "abi");
_Static_assert(sizeof(struct tresor_assist) == 16, "abi");
_Static_assert(sizeof(struct tresor_handover) == 192, "abi");
_Static_assert(sizeof(struct tresor_bequeath) == 504, "abi");
_Static_assert(sizeof(struct tresor_inherit) == 32, "abi");
_Static_assert(sizeof(struct tresor_approve) == 424, "abi");
_Static_assert(sizeof(struct tresor_yielded) == 192, "abi");
_Static_assert(sizeof(struct tresor_yield) == 104, "abi");
_Static_assert(sizeof(struct tresor_take_over) == 272, "abi");
_Static_assert(sizeof(struct tresor_pass) == 488, "abi");
_Static_assert(sizeof(struct tresor_progress) == 48, "abi");
_Static_assert(sizeof(struct tresor_reencrypt) == 480, "abi");
_Static_assert(sizeof(struct tresor_zone) == 96, "abi");
_Static_assert(sizeof(struct tresor_convert) == 32, "abi");
_Static_assert(sizeof(struct tresor_finish) == 24, "abi");
#endif

#endif /* TRESOR_ABI_ENCLAVE_H */
