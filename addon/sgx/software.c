/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The enclave's image without SGX: loaded into this process, data in memory
 * that dumps, swap and reads do not reach where the kernel has memfd_secret(2),
 * entered by a jump. The image's one ENCLU becomes a call to the emulator.
 *
 * Differs from hardware, on purpose:
 *  - ATTRIBUTES.DEBUG is set once EINIT's checks have passed: nothing made by
 *    this backend can be taken for a production enclave, and no seal opens
 *    under both;
 *  - XCR0 is not limited to XFRM, and instructions that an enclave must not use
 *    run (enclave/check-image.py proves that there are none);
 *  - a fault inside is the end of the enclave, not of one TCS.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "addon/sgx/backend.h"
#include "addon/sgx/emulator.h"
#include "addon/sgx/range.h"
#include "addon/sgx/secret_memory.h"
#include "addon/sgx/software_entry.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* One mapping per call of add_pages and two for a heap that has to be divided. */
#define REGIONS			(4 * TRESOR_THREADS + 16)
#define EMULATOR_STACK_SIZE	16384u
/* Beyond the kernel's frame, for our handler and one it chains to. */
#define SIGNAL_STACK_EXTRA	32768u
/* Of a heap that does not fit the locked memory allowed: where passphrases lie. */
#define HEAP_HEAD		(4ull << 20)

struct region {
	uint64_t offset;
	uint64_t size;
	enum tresor_memory kind;	/* now */
	enum tresor_memory weakest;	/* that it has been: what lay there may have been swapped out */
	bool heap;
};

struct tresor_backend {
	struct tresor_image *image;
	uint8_t *base;		/* of ELRANGE; the page below it is ours, for redirect_enclu */
	struct region regions[REGIONS];
	uint32_t region_count;
	uint8_t *private;	/* machine, emulator stacks, signal stacks */
	size_t private_size;
	enum tresor_memory private_kind;
	struct tresor_emulator emulator;
	struct software_thread threads[TRESOR_THREADS];
};

/* ---- memory ---- */

static struct region *add_region(struct tresor_backend *backend, uint64_t offset, uint64_t size,
				 enum tresor_memory least, bool heap)
{
	struct region *region = &backend->regions[backend->region_count];

	if (backend->region_count == REGIONS) {
		errno = ENOSPC;
		return NULL;
	}
	*region = (struct region){ .offset = offset, .size = size, .heap = heap };
	if (tresor_secret_map(backend->base + offset, size, least, &region->kind) == NULL)
		return NULL;
	region->weakest = region->kind;
	backend->region_count++;
	return region;
}

/*
 * A user's limit of locked memory is often 8 MiB. Then the heap's start, where
 * the enclave puts passphrases before the memory of a KDF, has what there is.
 */
static bool add_heap(struct tresor_backend *backend, uint64_t offset, uint64_t size)
{
	bool first = true;

	if (add_region(backend, offset, size, TRESOR_MEMORY_SECRET, true) != NULL)
		return true;
	for (uint32_t i = 0; i < backend->region_count; i++)
		first &= !backend->regions[i].heap;
	if (first && size > HEAP_HEAD && add_region(backend, offset, HEAP_HEAD, TRESOR_MEMORY_SECRET, true) != NULL) {
		offset += HEAP_HEAD;
		size -= HEAP_HEAD;
	}
	return add_region(backend, offset, size, TRESOR_MEMORY_PLAIN, true) != NULL;
}

static size_t signal_stack_size(void)
{
	size_t least = getauxval(AT_MINSIGSTKSZ);

	return (least + SIGNAL_STACK_EXTRA + SGX_PAGE_SIZE - 1) & ~(size_t)(SGX_PAGE_SIZE - 1);
}

static void backend_destroy(struct tresor_backend *backend)
{
	for (uint32_t i = 0; i < backend->region_count; i++) {
		const struct region *region = &backend->regions[i];

		tresor_secret_drop(backend->base + region->offset, region->size, region->kind);
	}
	if (backend->base != NULL)
		munmap(backend->base - SGX_PAGE_SIZE, SGX_PAGE_SIZE + backend->image->secs.size);
	if (backend->private != NULL) {
		tresor_secret_drop(backend->private, backend->private_size, backend->private_kind);
		munmap(backend->private, backend->private_size);
	}
	free(backend->emulator.accepted);
	free(backend);
}

/* ---- backend.h ---- */

static struct tresor_backend *backend_create(struct tresor_image *image, const struct tresor_options *options,
					     struct tresor_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const size_t per_thread = EMULATOR_STACK_SIZE + signal_stack_size();
	struct tresor_backend *backend = calloc(1, sizeof(*backend));
	struct tresor_machine *machine;
	uint8_t *at;

	if (backend == NULL) {
		tresor_refuse_errno(error, "no memory for the enclave");
		return NULL;
	}
	pthread_once(&once, tresor_software_catch_faults);
	backend->image = image;
	image->gone = "the kernel has no page for it";
	backend->base = tresor_reserve_range(image->secs.size, SGX_PAGE_SIZE);
	backend->private_size = SGX_PAGE_SIZE + TRESOR_THREADS * per_thread;
	backend->private = tresor_secret_map(NULL, backend->private_size, TRESOR_MEMORY_PLAIN, &backend->private_kind);
	if (backend->base == NULL || backend->private == NULL) {
		tresor_refuse_errno(error, "no address space for the enclave");
		goto failed;
	}
	tresor_secret_populate(backend->private, backend->private_size);
	image->secs.base = (uintptr_t)backend->base;

	machine = (struct tresor_machine *)backend->private;
	memcpy(machine->secret, options->machine_secret, sizeof(machine->secret));
	if (getrandom(machine->report_key_id, sizeof(machine->report_key_id), 0) !=
	    (ssize_t)sizeof(machine->report_key_id)) {
		tresor_refuse_errno(error, "no random bytes for the report key");
		goto failed;
	}
	backend->emulator.image = image;
	backend->emulator.machine = machine;
	at = backend->private + SGX_PAGE_SIZE;
	for (uint32_t i = 0; i < TRESOR_THREADS; i++, at += per_thread) {
		struct software_thread *thread = &backend->threads[i];

		thread->image = image;
		thread->emulator = &backend->emulator;
		thread->half_cycles = options->transition_cycles / 2;
		thread->emulator_stack = (uintptr_t)at + EMULATOR_STACK_SIZE;
		thread->signal_stack = (stack_t){
			.ss_sp = at + EMULATOR_STACK_SIZE,
			.ss_size = per_thread - EMULATOR_STACK_SIZE,
		};
	}
	return backend;
failed:
	backend_destroy(backend);
	return NULL;
}

static bool backend_add_pages(struct tresor_backend *backend, uint64_t offset, uint64_t size, const uint8_t *data,
			      size_t data_size, uint32_t flags, bool measure, struct tresor_error *error)
{
	static const char what[] = "no memory for the enclave's pages";
	uint8_t *at = backend->base + offset;

	/* Nobody may touch a TCS, inside or out; what it says is in image->threads. */
	if (flags == SGX_SECINFO_TCS)
		return true;
	if (!measure && data_size == 0)
		return add_heap(backend, offset, size) || tresor_refuse_errno(error, what);
	if (flags & SGX_SECINFO_W) {
		if (add_region(backend, offset, size, TRESOR_MEMORY_PLAIN, !measure) == NULL)
			return tresor_refuse_errno(error, what);
		tresor_secret_populate(at, size);
		memcpy(at, data, data_size);
		return true;
	}
	if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return tresor_refuse_errno(error, what);
	memcpy(at, data, data_size);
	if (mprotect(at, size, PROT_READ | (flags & SGX_SECINFO_X ? PROT_EXEC : 0)) != 0)
		return tresor_refuse_errno(error, what);
	madvise(at, size, MADV_DONTDUMP);
	madvise(at, size, MADV_DONTFORK);
	/* Public, but a page fault on code tells an observer of the disk what runs. */
	mlock(at, size);
	return true;
}

static bool backend_reserve(struct tresor_backend *backend, struct tresor_error *error)
{
	const struct tresor_image *image = backend->image;

	backend->emulator.accepted = calloc(image->dynamic_size / SGX_PAGE_SIZE / 8 + 1, 1);
	if (backend->emulator.accepted == NULL || !add_heap(backend, image->dynamic, image->dynamic_size))
		return tresor_refuse_errno(error, "no memory for the enclave's dynamic heap");
	return true;
}

/* `call` needs its target within 2 GiB, so it goes to a page of ours below ELRANGE, and on from there. */
static bool redirect_enclu(struct tresor_backend *backend, uint64_t enclu)
{
	static const uint8_t jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };	/* jmp *0(%rip) */
	const uint64_t target = (uintptr_t)tresor_software_enclu;
	uint8_t *site = backend->base + enclu;
	uint8_t *page = backend->base + enclu / SGX_PAGE_SIZE * SGX_PAGE_SIZE;
	const size_t length = (size_t)(site + 5 - page) > SGX_PAGE_SIZE ? 2 * SGX_PAGE_SIZE : SGX_PAGE_SIZE;
	uint8_t *springboard = backend->base - SGX_PAGE_SIZE;
	const int32_t distance = (int32_t)(springboard - (site + 5));

	if (mprotect(springboard, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE) != 0 ||
	    mprotect(page, length, PROT_READ | PROT_WRITE) != 0)
		return false;
	memcpy(springboard, jump, sizeof(jump));
	memcpy(springboard + sizeof(jump), &target, sizeof(target));
	site[0] = 0xe8;
	memcpy(site + 1, &distance, sizeof(distance));
	return mprotect(springboard, SGX_PAGE_SIZE, PROT_READ | PROT_EXEC) == 0 &&
	       mprotect(page, length, PROT_READ | PROT_EXEC) == 0;
}

static bool backend_init(struct tresor_backend *backend, const uint8_t *sigstruct, uint64_t enclu,
			 struct tresor_error *error)
{
	struct tresor_image *image = backend->image;
	const uint8_t *site = backend->base + enclu;

	(void)sigstruct;	/* judged by enclave.c, which is all of EINIT here */
	if (enclu > image->secs.size - 5 || !(image->pages[enclu / SGX_PAGE_SIZE] & SGX_SECINFO_X) ||
	    !(image->pages[(enclu + 4) / SGX_PAGE_SIZE] & SGX_SECINFO_X) || memcmp(site, "\x0f\x01\xd7", 3) != 0 ||
	    (site[3] != 0x90 && site[3] != 0x66) || site[4] != 0x90)
		return tresor_refuse(error, "SGX_ENCLU_SITE", "there is no ENCLU with two bytes of nop at 0x%llx",
				     (unsigned long long)enclu);
	if (!redirect_enclu(backend, enclu))
		return tresor_refuse_errno(error, "cannot redirect the image's ENCLU");
	for (uint32_t i = 0; i < image->thread_count; i++) {
		backend->threads[i].tcs = image->secs.base + image->threads[i].tcs;
		backend->threads[i].oentry = image->secs.base + image->threads[i].oentry;
	}
	image->secs.attributes |= SGX_ATTR_INIT | SGX_ATTR_DEBUG;
	return true;
}

static uint32_t backend_enter(struct tresor_backend *backend, uint32_t thread, void *request)
{
	return tresor_software_enter(&backend->threads[thread], request);
}

/*
 * The static heap too: it is not measured, and the enclave takes nothing it finds
 * there for granted. A memfd_secret file cannot be punched, so that a new one takes
 * its place. Pages stay accepted: here the enclave has no need to accept them again.
 */
static bool backend_trim(struct tresor_backend *backend, struct tresor_error *error)
{
	for (uint32_t i = 0; i < backend->region_count; i++) {
		struct region *region = &backend->regions[i];
		uint8_t *at = backend->base + region->offset;
		enum tresor_memory kind;

		if (!region->heap)
			continue;
		if (tresor_secret_map(at, region->size, region->kind, &kind) == NULL) {
			/* Old and new together may be more than can be locked. */
			tresor_secret_drop(at, region->size, region->kind);
			if (tresor_secret_map(at, region->size, TRESOR_MEMORY_PLAIN, &kind) == NULL)
				return tresor_refuse_errno(error, "cannot map the enclave's heap again");
		}
		region->kind = kind;
		if (kind < region->weakest)
			region->weakest = kind;
	}
	return true;
}

static void backend_memory(const struct tresor_backend *backend, struct tresor_memory_names *names)
{
	enum tresor_memory keys = TRESOR_MEMORY_SECRET, heap = TRESOR_MEMORY_SECRET;

	for (uint32_t i = 0; i < backend->region_count; i++) {
		const struct region *region = &backend->regions[i];
		enum tresor_memory *weakest = region->heap ? &heap : &keys;

		if (region->weakest < *weakest)
			*weakest = region->weakest;
	}
	names->keys = tresor_memory_name(keys);
	names->stacks = tresor_memory_name(backend->private_kind);
	names->heap = tresor_memory_name(heap);
}

const struct tresor_backend_ops tresor_software_ops = {
	.create = backend_create,
	.add_pages = backend_add_pages,
	.reserve = backend_reserve,
	.init = backend_init,
	.enter = backend_enter,
	.trim = backend_trim,
	.memory = backend_memory,
	.destroy = backend_destroy,
};
