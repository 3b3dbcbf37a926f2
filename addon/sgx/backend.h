/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a backend does once enclave.c has checked and measured. enclave.c keeps
 * the SECS, the page map and the threads, so that both backends refuse the same
 * images with the same words; a backend has the memory and the way in.
 */
#ifndef TRESOR_BACKEND_H
#define TRESOR_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/enclave.h"
#include "addon/sgx/refuse.h"

#define SGX_PAGE_SIZE		4096u

/* ATTRIBUTES.FLAGS; SDM vol. 3D, SECS.ATTRIBUTES. */
#define SGX_ATTR_INIT		0x01ull
#define SGX_ATTR_DEBUG		0x02ull
#define SGX_ATTR_MODE64BIT	0x04ull
#define SGX_ATTR_PROVISIONKEY	0x10ull
#define SGX_ATTR_EINITTOKEN_KEY	0x20ull
#define SGX_ATTR_KSS		0x80ull

/* SECINFO.FLAGS. */
#define SGX_SECINFO_R		0x1u
#define SGX_SECINFO_W		0x2u
#define SGX_SECINFO_X		0x4u
#define SGX_SECINFO_PENDING	0x8u
#define SGX_SECINFO_TCS		0x100u
#define SGX_SECINFO_REG		0x200u

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

/* Remembers the first fault. `where`: what faulted; `vector`: the CPU's exception. Does not allocate. */
void tresor_image_fault(struct tresor_image *image, const char *where, uint16_t vector, uint16_t error_code,
			uint64_t address);
/* The same of an enclave that answers TRESOR_E_DEAD. */
void tresor_image_dead(struct tresor_image *image);
/* The same when the kernel refused to enter; `error`: an errno. */
void tresor_image_not_entered(struct tresor_image *image, int error);
/* What was remembered, or NULL. Any thread. */
const char *tresor_image_fault_text(const struct tresor_image *image);

struct tresor_options {
	uint32_t transition_cycles;	/* software: TSC cycles burnt per entry and exit together */
	const uint8_t *machine_secret;	/* software: 32 bytes, valid during create only */
};

/* Names of where secrets live, weakest first; see enum tresor_memory. */
struct tresor_memory_names {
	const char *keys;	/* the image's data and its threads' stacks */
	const char *stacks;	/* outside the image: where a signal or the emulator saves the enclave's registers */
	const char *heap;
};

struct tresor_backend;	/* each backend's own */

/*
 * In order: create, add_pages and reserve, init, then enter from any thread,
 * never twice at once for one thread index; destroy when no thread is inside.
 * `image` outlives the backend and is not changed after init. Functions that
 * return false have filled in the error.
 */
struct tresor_backend_ops {
	/*
	 * Sets image->secs.base, aligned to the size, and image->gone; takes from
	 * image->secs.xfrm what the CPU does not let an enclave have. NULL on refusal.
	 */
	struct tresor_backend *(*create)(struct tresor_image *image, const struct tresor_options *options,
					 struct tresor_error *error);
	/* Whole pages; `size` beyond `data_size` is zero. Checked and not yet present. */
	bool (*add_pages)(struct tresor_backend *backend, uint64_t offset, uint64_t size, const uint8_t *data,
			  size_t data_size, uint32_t secinfo_flags, bool measure, struct tresor_error *error);
	/* image->dynamic and dynamic_size; without EDMM a backend sets dynamic_size to 0. */
	bool (*reserve)(struct tresor_backend *backend, struct tresor_error *error);
	/* SIGSTRUCT (1808 bytes) has passed EINIT's checks; enclu: offset of the ENCLU site. */
	bool (*init)(struct tresor_backend *backend, const uint8_t *sigstruct, uint64_t enclu,
		     struct tresor_error *error);
	/* TRESOR_ENTER_LOST after a fault; enclave.c then enters no more. Must not allocate. */
	uint32_t (*enter)(struct tresor_backend *backend, uint32_t thread, void *request);
	/*
	 * Gives the heap's memory back; it reads as zero when next touched.
	 * The caller sees to it that no KDF runs.
	 */
	bool (*trim)(struct tresor_backend *backend, struct tresor_error *error);
	/* The weakest kind each has had so far; a trim may change it. */
	void (*memory)(const struct tresor_backend *backend, struct tresor_memory_names *names);
	/* Wipes, then unmaps everything. Also after a create that got no further. */
	void (*destroy)(struct tresor_backend *backend);
};

extern const struct tresor_backend_ops tresor_software_ops;
extern const struct tresor_backend_ops tresor_sgx_ops;

#endif
