/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi/sgx.h - what the CPU defines: structures, flags and numbers of SGX, once
 * for the enclave and for the host.
 *
 * Intel SDM vol. 3D. Sections are those of the editions whose chapter 38 is
 * "Enclave Access Control and Data Structures"; others count its chapter
 * differently and its sections alike. Types carry the alignment that the leaf
 * which reads or writes them asks for, where the size allows it.
 */
#ifndef TRESOR_ABI_SGX_H
#define TRESOR_ABI_SGX_H

#include <stdint.h>

#define SGX_PAGE_SIZE		4096u

/* ENCLU's leaves, by RAX; 38.3. */
enum { ENCLU_EREPORT = 0, ENCLU_EGETKEY = 1, ENCLU_EENTER = 2, ENCLU_ERESUME = 3, ENCLU_EEXIT = 4, ENCLU_EACCEPT = 5 };

/* What a leaf leaves in RAX when it refuses; 40.1.2. */
enum {
	SGX_INVALID_SIG_STRUCT = 1,
	SGX_INVALID_ATTRIBUTE = 2,
	SGX_INVALID_MEASUREMENT = 4,
	SGX_INVALID_SIGNATURE = 8,
	SGX_PAGE_ATTRIBUTES_MISMATCH = 19,
	SGX_INVALID_CPUSVN = 32,
	SGX_INVALID_ISVSVN = 64,
	SGX_INVALID_KEYNAME = 256,
};

/* ATTRIBUTES.FLAGS; 38.7.1. */
#define SGX_ATTR_INIT		0x01ull
#define SGX_ATTR_DEBUG		0x02ull
#define SGX_ATTR_MODE64BIT	0x04ull
#define SGX_ATTR_PROVISIONKEY	0x10ull
#define SGX_ATTR_EINITTOKEN_KEY	0x20ull
#define SGX_ATTR_KSS		0x80ull

/* ATTRIBUTES.XFRM, as XCR0; 38.7.2.1. AVX-512 is three bits or none. */
#define SGX_XFRM_AVX		0x04ull
#define SGX_XFRM_AVX512		0xe0ull

/* SECS: a page that no software can read; 38.7. */
struct sgx_secs {
	uint64_t size;		/* of ELRANGE, a power of two */
	uint64_t base;
	uint32_t ssa_frame_size;	/* pages */
	uint32_t misc_select;
	uint8_t cet_attributes;
	uint8_t reserved1[23];
	uint64_t attributes[2];	/* FLAGS, XFRM */
	uint8_t mrenclave[32];
	uint8_t reserved2[32];
	uint8_t mrsigner[32];
	uint8_t reserved3[32];
	uint8_t config_id[64];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint16_t config_svn;
	uint8_t reserved4[3834];
};
_Static_assert(sizeof(struct sgx_secs) == SGX_PAGE_SIZE, "SDM 38.7");
_Static_assert(__builtin_offsetof(struct sgx_secs, attributes) == 48, "SDM 38.7");
_Static_assert(__builtin_offsetof(struct sgx_secs, mrsigner) == 128, "SDM 38.7");
_Static_assert(__builtin_offsetof(struct sgx_secs, isv_prod_id) == 256, "SDM 38.7");

/* TCS: a page that is an entry; 38.8. enclave.lds lays the enclave's own. */
struct sgx_tcs {
	uint64_t state;		/* the CPU's alone */
	uint64_t flags;
	uint64_t ossa;		/* offsets from the base */
	uint32_t cssa;
	uint32_t nssa;
	uint64_t oentry;
	uint64_t aep;
	uint64_t ofs_base;
	uint64_t ogs_base;
	uint32_t fs_limit;
	uint32_t gs_limit;
	uint8_t reserved[4024];	/* OCETSSA and PREVSSP, where there is CET, and zeroes */
};
_Static_assert(sizeof(struct sgx_tcs) == SGX_PAGE_SIZE, "SDM 38.8");
_Static_assert(__builtin_offsetof(struct sgx_tcs, oentry) == 32, "SDM 38.8");
_Static_assert(__builtin_offsetof(struct sgx_tcs, fs_limit) == 64, "SDM 38.8");

/* SECINFO.FLAGS; 38.11.1 and, for the page types, 38.11.2. */
#define SGX_SECINFO_R		0x1u
#define SGX_SECINFO_W		0x2u
#define SGX_SECINFO_X		0x4u
#define SGX_SECINFO_PENDING	0x8u
#define SGX_SECINFO_TCS		0x100u
#define SGX_SECINFO_REG		0x200u

struct sgx_secinfo {
	uint64_t flags;
	uint64_t reserved[7];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct sgx_secinfo) == 64, "SDM 38.11");

/* SIGSTRUCT; 38.13. Numbers of 3072 bits are little-endian. */
#define SGX_SIGSTRUCT_SIZE	1808u
#define SGX_RSA_WORDS		48

struct sgx_sigstruct {
	uint8_t header[16];
	uint32_t vendor;
	uint32_t date;		/* binary-coded decimal, yyyymmdd */
	uint8_t header2[16];
	uint32_t sw_defined;
	uint8_t reserved1[84];
	uint64_t modulus[SGX_RSA_WORDS];
	uint32_t exponent;
	uint8_t signature[384];
	uint32_t misc_select;
	uint32_t misc_mask;
	uint8_t cet_attributes;
	uint8_t cet_attributes_mask;
	uint8_t reserved2[2];
	uint8_t isv_family_id[16];
	uint64_t attributes[2];	/* FLAGS, XFRM */
	uint64_t attributes_mask[2];
	uint8_t enclave_hash[32];
	uint8_t reserved3[16];
	uint8_t isv_ext_prod_id[16];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint8_t reserved4[12];
	uint64_t q1[SGX_RSA_WORDS];
	uint64_t q2[SGX_RSA_WORDS];
} __attribute__((packed, aligned(16)));
_Static_assert(sizeof(struct sgx_sigstruct) == SGX_SIGSTRUCT_SIZE, "SDM 38.13");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, modulus) == 128, "SDM 38.13");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, misc_select) == 900, "SDM 38.13");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, attributes) == 928, "SDM 38.13");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, enclave_hash) == 960, "SDM 38.13");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, isv_prod_id) == 1024, "SDM 38.13");
_Static_assert(__builtin_offsetof(struct sgx_sigstruct, q1) == 1040, "SDM 38.13");
/* The signature is over these two parts, one after the other. */
#define SGX_SIGNED1_END		128u
#define SGX_SIGNED2_START	900u
#define SGX_SIGNED2_END		1028u

/* REPORT and its REPORTDATA; 38.15. EREPORT writes it at a multiple of 512. */
struct sgx_report_data {
	uint8_t bytes[64];
} __attribute__((aligned(128)));

struct sgx_report {
	uint8_t cpu_svn[16];
	uint32_t misc_select;
	uint8_t cet_attributes;
	uint8_t reserved1[11];
	uint8_t isv_ext_prod_id[16];
	uint64_t attributes[2];	/* FLAGS, XFRM */
	uint8_t mrenclave[32];
	uint8_t reserved2[32];
	uint8_t mrsigner[32];
	uint8_t reserved3[32];
	uint8_t config_id[64];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
	uint16_t config_svn;
	uint8_t reserved4[42];
	uint8_t isv_family_id[16];
	uint8_t report_data[64];
	uint8_t key_id[32];	/* from here on not MACed */
	uint8_t mac[16];
};
_Static_assert(sizeof(struct sgx_report) == 432, "SDM 38.15");
_Static_assert(__builtin_offsetof(struct sgx_report, attributes) == 48, "SDM 38.15");
_Static_assert(__builtin_offsetof(struct sgx_report, mrsigner) == 128, "SDM 38.15");
_Static_assert(__builtin_offsetof(struct sgx_report, isv_prod_id) == 256, "SDM 38.15");
_Static_assert(__builtin_offsetof(struct sgx_report, report_data) == 320, "SDM 38.15");
_Static_assert(__builtin_offsetof(struct sgx_report, key_id) == 384, "SDM 38.15");

/* TARGETINFO; 38.16. All zero: a report no one verifies, but readable. */
struct sgx_target_info {
	uint8_t mrenclave[32];
	uint64_t attributes[2];	/* FLAGS, XFRM */
	uint8_t cet_attributes;
	uint8_t reserved1;
	uint16_t config_svn;
	uint32_t misc_select;
	uint8_t reserved2[8];
	uint8_t config_id[64];
	uint8_t reserved3[384];
} __attribute__((aligned(512)));
_Static_assert(sizeof(struct sgx_target_info) == 512, "SDM 38.16");
_Static_assert(__builtin_offsetof(struct sgx_target_info, misc_select) == 52, "SDM 38.16");
_Static_assert(__builtin_offsetof(struct sgx_target_info, config_id) == 64, "SDM 38.16");

/* KEYREQUEST; 38.17, with KEYNAME in 38.17.1 and KEYPOLICY in 38.17.2. */
#define SGX_KEYNAME_EINITTOKEN	0
#define SGX_KEYNAME_PROVISION	1
#define SGX_KEYNAME_PROVISION_SEAL 2
#define SGX_KEYNAME_REPORT	3
#define SGX_KEYNAME_SEAL	4

#define SGX_KEYPOLICY_MRENCLAVE	0x01u
#define SGX_KEYPOLICY_MRSIGNER	0x02u
#define SGX_KEYPOLICY_KSS	0x3cu	/* NOISVPRODID, CONFIGID, ISVFAMILYID, ISVEXTPRODID */

struct sgx_key_request {
	uint16_t key_name;
	uint16_t key_policy;
	uint16_t isv_svn;
	uint16_t reserved1;
	uint8_t cpu_svn[16];
	uint64_t attribute_mask[2];	/* FLAGS, XFRM */
	uint8_t key_id[32];
	uint32_t misc_mask;
	uint16_t config_svn;
	uint8_t reserved2[434];
} __attribute__((aligned(512)));
_Static_assert(sizeof(struct sgx_key_request) == 512, "SDM 38.17");
_Static_assert(__builtin_offsetof(struct sgx_key_request, cpu_svn) == 8, "SDM 38.17");
_Static_assert(__builtin_offsetof(struct sgx_key_request, attribute_mask) == 24, "SDM 38.17");
_Static_assert(__builtin_offsetof(struct sgx_key_request, key_id) == 40, "SDM 38.17");
_Static_assert(__builtin_offsetof(struct sgx_key_request, misc_mask) == 72, "SDM 38.17");

#endif
