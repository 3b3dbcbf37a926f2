/* SPDX-License-Identifier: Apache-2.0 */
/* ENCLU leaves and their structures; SDM vol. 3D. */
#ifndef TRESOR_ENCLU_H
#define TRESOR_ENCLU_H

#include <stdint.h>

enum { ENCLU_EREPORT = 0, ENCLU_EGETKEY = 1, ENCLU_EACCEPT = 5 };

/* What EGETKEY leaves in RAX when it refuses. */
enum { SGX_INVALID_CPUSVN = 32, SGX_INVALID_ISVSVN = 64 };

#define SGX_KEYNAME_REPORT	3
#define SGX_KEYNAME_SEAL	4
#define SGX_XFRM_AVX		0x04ull
#define SGX_XFRM_AVX512		0xe0ull
/* SECINFO flags: R, W, PENDING, PT_REG. */
#define SGX_SECINFO_PENDING_RW	(1ull | 2ull | 8ull | 0x200ull)

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
_Static_assert(sizeof(struct sgx_key_request) == 512, "SDM");

/* All zero: a report no one verifies, but readable. */
struct sgx_target_info {
	uint8_t mrenclave[32];
	uint64_t attributes[2];
	uint8_t cet_attributes;
	uint8_t reserved1;
	uint16_t config_svn;
	uint32_t misc_select;
	uint8_t reserved2[8];
	uint8_t config_id[64];
	uint8_t reserved3[384];
} __attribute__((aligned(512)));

struct sgx_report_data {
	uint8_t bytes[64];
} __attribute__((aligned(128)));

struct sgx_report {
	uint8_t cpu_svn[16];
	uint32_t misc_select;
	uint8_t reserved1[28];
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
	uint8_t key_id[32];
	uint8_t mac[16];
	uint8_t padding[80];	/* not written: makes sizeof a multiple of the alignment */
} __attribute__((aligned(512)));
_Static_assert(__builtin_offsetof(struct sgx_report, padding) == 432, "SDM");

/* entry.S. The value of RAX: 0 on success of the leaves above. */
uint64_t tresor_enclu(uint32_t leaf, const void *rbx, void *rcx, void *rdx);

#endif
