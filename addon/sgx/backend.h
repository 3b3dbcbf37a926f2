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

#include "addon/sgx/image.h"
#include "addon/sgx/refuse.h"

/* What entering returns once an enclave is gone; no enum tresor_status has this value. */
#define TRESOR_ENTER_LOST	0xffffffffu

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
