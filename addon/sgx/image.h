/* SPDX-License-Identifier: Apache-2.0 */
/* An enclave as its SECS and page map tell it, on whatever backend. */
#ifndef TRESOR_IMAGE_H
#define TRESOR_IMAGE_H

#include <stdint.h>

#include "abi/enclave.h"
#include "abi/sgx.h"

/* The fields of the SECS; MRENCLAVE to ISVSVN are known from init on. */
struct tresor_secs {
	uint64_t base;		/* set by create */
	uint64_t size;
	uint32_t ssa_frame_size;	/* pages */
	uint32_t misc_select;
	uint64_t attributes;	/* FLAGS */
	uint64_t xfrm;
	uint8_t mrenclave[32];
	uint8_t mrsigner[32];
	uint16_t isv_prod_id;
	uint16_t isv_svn;
};

/* Offsets from the base. */
struct tresor_thread {
	uint64_t tcs;
	uint64_t ossa;
	uint64_t oentry;
	uint32_t nssa;
};

/* A page as EADD knows it, in one byte: SECINFO's R, W, X and these. */
#define TRESOR_PAGE_PRESENT	0x10u
#define TRESOR_PAGE_TCS		0x20u
#define TRESOR_PAGE_DYNAMIC	0x40u	/* reserved; there after EACCEPT */

struct tresor_image {
	struct tresor_secs secs;
	uint8_t *pages;		/* secs.size / SGX_PAGE_SIZE */
	struct tresor_thread threads[TRESOR_THREADS];
	uint32_t thread_count;
	uint64_t dynamic;	/* offset of the one reserved range */
	uint64_t dynamic_size;	/* 0: none */
	const char *gone;	/* what takes a page away under the enclave, for people; set by create */
	uint32_t faulted;	/* atomic: 1 while the first fault is written down, then 2 */
	char fault[160];	/* for people */
};

#endif
