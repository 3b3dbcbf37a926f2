/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/io/slab.h"

#include <sys/mman.h>

#include "addon/io/huge.h"

/* In front of the memory, on a page of its own so that the memory is page aligned. */
struct prefix {
	size_t mapped;
	unsigned int references;
};
#define PREFIX	4096u

static struct prefix *prefix_of(uint8_t *memory)
{
	return (struct prefix *)(void *)(memory - PREFIX);
}

static size_t pages_of(size_t size)
{
	return (size + PREFIX - 1) & ~(size_t)(PREFIX - 1);
}

static uint8_t *begin(uint8_t *base, size_t mapped)
{
	*prefix_of(base + PREFIX) = (struct prefix){ .mapped = mapped, .references = 1 };
	return base + PREFIX;
}

uint8_t *slab_new(size_t size)
{
	const size_t mapped = PREFIX + pages_of(size);
	uint8_t *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return NULL;
	/* Plaintext in flight: not in a core. */
	madvise(base, mapped, MADV_DONTDUMP);
	return begin(base, mapped);
}

uint8_t *slab_new_huge(size_t size)
{
	uint8_t *base = huge_map(PREFIX, pages_of(size));

	return base == NULL ? NULL : begin(base, PREFIX + pages_of(size));
}

void slab_ref(uint8_t *memory)
{
	prefix_of(memory)->references++;
}

void slab_unref(uint8_t *memory)
{
	struct prefix *prefix = prefix_of(memory);

	if (--prefix->references == 0)
		munmap(prefix, prefix->mapped);
}

void slab_finalize(napi_env env, void *memory, void *hint)
{
	(void)env;
	(void)hint;
	slab_unref(memory);
}

double *slab_table(napi_env env, napi_value array, uint32_t rows, uint32_t columns)
{
	napi_typedarray_type type;
	size_t length;
	void *data;

	if (napi_get_typedarray_info(env, array, &type, &length, &data, NULL, NULL) != napi_ok ||
	    type != napi_float64_array || length < (uint64_t)rows * columns)
		return NULL;
	return data;
}
