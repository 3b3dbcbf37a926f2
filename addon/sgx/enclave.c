/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The enclave itself, the same for every backend: its checks and its measurement
 * as it grows, entry, and its end.
 */
#include "addon/sgx/enclave.h"

#include <stdlib.h>
#include <string.h>

#include "addon/sgx/fault.h"
#include "addon/sgx/gate.h"
#include "addon/sgx/measure.h"
#include "addon/sgx/rules.h"
#include "addon/sgx/sigstruct.h"

struct tresor_enclave {
	uint32_t references;	/* atomic */
	const struct tresor_backend_ops *ops;
	struct tresor_backend *backend;	/* NULL once torn down */
	struct tresor_image image;
	struct tresor_sha256 measurement;	/* until init */
	struct tresor_gate gate;	/* who is inside; its end tears the backend down */
	struct tresor_memory_names memory;	/* as last asked of the backend; .keys NULL before init */
};

/* Nobody is inside, nor will be. */
static void tear_down(void *owner)
{
	struct tresor_enclave *enclave = owner;

	if (enclave->backend != NULL)
		enclave->ops->destroy(enclave->backend);
	enclave->backend = NULL;
}

struct tresor_enclave *tresor_enclave_create(const struct tresor_secs *secs, const struct tresor_backend_ops *ops,
					     const struct tresor_options *options, struct tresor_error *error)
{
	struct tresor_enclave *enclave;

	if (!tresor_check_create(secs, error))
		return NULL;
	enclave = calloc(1, sizeof(*enclave));
	if (enclave == NULL) {
		tresor_refuse(error, "ENOMEM", "no memory for the enclave");
		return NULL;
	}
	enclave->references = 1;
	tresor_gate_init(&enclave->gate, tear_down, enclave);
	enclave->ops = ops;
	enclave->image.secs = *secs;
	enclave->image.pages = calloc(secs->size / SGX_PAGE_SIZE, 1);
	if (enclave->image.pages == NULL)
		tresor_refuse(error, "ENOMEM", "no memory for the enclave");
	else
		enclave->backend = ops->create(&enclave->image, options, error);
	if (enclave->backend == NULL) {
		tresor_enclave_unref(enclave);
		return NULL;
	}
	tresor_measure_create(&enclave->measurement, secs->size, secs->ssa_frame_size);
	return enclave;
}

/* ---- EADD, EINIT ---- */

/* The page that EADD and EEXTEND see; `data` may end within it or before. */
static void page_of(uint8_t page[SGX_PAGE_SIZE], const uint8_t *data, size_t data_size, uint64_t at)
{
	size_t length = at >= data_size ? 0 : data_size - at < SGX_PAGE_SIZE ? data_size - at : SGX_PAGE_SIZE;

	memset(page, 0, SGX_PAGE_SIZE);
	if (length > 0)
		memcpy(page, data + at, length);
}

static bool check_growing(const struct tresor_enclave *enclave, struct tresor_error *error)
{
	if (tresor_gate_state(&enclave->gate) != TRESOR_GATE_NEW)
		return tresor_refuse(error, "SGX_INITIALIZED", "pages cannot be added after EINIT");
	return true;
}

bool tresor_enclave_add_pages(struct tresor_enclave *enclave, uint64_t offset, uint64_t size, const uint8_t *data,
			      size_t data_size, uint32_t flags, bool measure, struct tresor_error *error)
{
	struct tresor_image *image = &enclave->image;
	const bool is_tcs = flags == SGX_SECINFO_TCS;
	union {
		uint8_t bytes[SGX_PAGE_SIZE];
		struct sgx_tcs tcs;
	} page;

	if (!check_growing(enclave, error) || !tresor_check_range(image, offset, size, data_size, error) ||
	    !tresor_check_secinfo(offset, flags, measure, error))
		return false;
	for (uint64_t at = 0; is_tcs && at < size; at += SGX_PAGE_SIZE) {
		page_of(page.bytes, data, data_size, at);
		if (!tresor_check_tcs(image, offset + at, &page.tcs, error))
			return false;
		image->threads[image->thread_count++] = (struct tresor_thread){
			.tcs = offset + at,
			.ossa = page.tcs.ossa,
			.oentry = page.tcs.oentry,
			.nssa = page.tcs.nssa,
		};
	}
	if (!enclave->ops->add_pages(enclave->backend, offset, size, data, data_size, flags, measure, error))
		return false;
	for (uint64_t at = 0; at < size; at += SGX_PAGE_SIZE) {
		image->pages[(offset + at) / SGX_PAGE_SIZE] =
			TRESOR_PAGE_PRESENT | (is_tcs ? TRESOR_PAGE_TCS : (uint8_t)(flags & 7));
		tresor_measure_add(&enclave->measurement, offset + at, flags);
		if (measure) {
			page_of(page.bytes, data, data_size, at);
			tresor_measure_extend(&enclave->measurement, offset + at, page.bytes);
		}
	}
	return true;
}

bool tresor_enclave_reserve(struct tresor_enclave *enclave, uint64_t offset, uint64_t size, struct tresor_error *error)
{
	struct tresor_image *image = &enclave->image;

	if (!check_growing(enclave, error) || !tresor_check_range(image, offset, size, 0, error))
		return false;
	if (image->dynamic_size != 0)
		return tresor_refuse(error, "SGX_PAGE_PRESENT", "a dynamic range was reserved before");
	image->dynamic = offset;
	image->dynamic_size = size;
	memset(image->pages + offset / SGX_PAGE_SIZE, TRESOR_PAGE_DYNAMIC | SGX_SECINFO_R | SGX_SECINFO_W,
	       size / SGX_PAGE_SIZE);
	return enclave->ops->reserve(enclave->backend, error);
}

bool tresor_enclave_init(struct tresor_enclave *enclave, const uint8_t *sigstruct, uint64_t enclu,
			 struct tresor_error *error)
{
	struct tresor_image *image = &enclave->image;
	struct tresor_sha256 measurement = enclave->measurement;

	if (tresor_gate_state(&enclave->gate) != TRESOR_GATE_NEW)
		return tresor_refuse(error, "SGX_INITIALIZED", "the enclave has been through EINIT");
	tresor_sha256_final(&measurement, image->secs.mrenclave);
	if (!tresor_check_sigstruct(sigstruct, &image->secs, error) || !tresor_check_threads(image, error) ||
	    !enclave->ops->init(enclave->backend, sigstruct, enclu, error))
		return false;
	enclave->ops->memory(enclave->backend, &enclave->memory);
	tresor_gate_open(&enclave->gate, image->thread_count);
	return true;
}

/* ---- entry and lifetime ---- */

uint32_t tresor_enclave_enter(struct tresor_enclave *enclave, void *request)
{
	uint32_t thread, status;
	bool lost;

	if (!tresor_gate_enter(&enclave->gate, &thread))
		return TRESOR_ENTER_LOST;
	status = enclave->ops->enter(enclave->backend, thread, request);
	/* One that is dead serves nothing, not even the wiping of its keys: nobody needs to keep it. */
	if (status == TRESOR_E_DEAD)
		tresor_image_dead(&enclave->image);
	lost = status == TRESOR_ENTER_LOST || status == TRESOR_E_DEAD;
	/* What was done while another thread lost the enclave is not vouched for. */
	if (!tresor_gate_leave(&enclave->gate, thread, lost) && status != TRESOR_E_DEAD)
		return TRESOR_ENTER_LOST;
	return status;
}

void tresor_enclave_end(struct tresor_enclave *enclave)
{
	tresor_gate_close(&enclave->gate);
}

struct tresor_enclave *tresor_enclave_ref(struct tresor_enclave *enclave)
{
	__atomic_fetch_add(&enclave->references, 1, __ATOMIC_RELAXED);
	return enclave;
}

void tresor_enclave_unref(struct tresor_enclave *enclave)
{
	if (__atomic_fetch_sub(&enclave->references, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	tresor_gate_close(&enclave->gate);
	tresor_gate_destroy(&enclave->gate);
	free(enclave->image.pages);
	free(enclave);
}

bool tresor_enclave_alive(const struct tresor_enclave *enclave)
{
	return tresor_gate_state(&enclave->gate) == TRESOR_GATE_OPEN;
}

/* Without the lock: a gigabyte takes long to unmap, others go on. */
bool tresor_enclave_trim(struct tresor_enclave *enclave, struct tresor_error *error)
{
	bool trimmed;

	if (enclave->image.dynamic_size == 0 || !tresor_gate_hold(&enclave->gate))
		return true;
	trimmed = enclave->ops->trim(enclave->backend, error);
	enclave->ops->memory(enclave->backend, &enclave->memory);
	tresor_gate_release(&enclave->gate);
	return trimmed;
}

const struct tresor_image *tresor_enclave_image(const struct tresor_enclave *enclave)
{
	return &enclave->image;
}

bool tresor_enclave_memory(struct tresor_enclave *enclave, struct tresor_memory_names *names)
{
	*names = enclave->memory;
	return names->keys != NULL;
}
