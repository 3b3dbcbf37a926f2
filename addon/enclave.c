/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object JavaScript holds, and what is the same for every backend: the
 * rules of ECREATE, EADD and EINIT, the measurement, and who is in which TCS.
 * The rules are checked here for hardware too, because its driver tells no more
 * than EIO and EPERM.
 */
#include "addon/addon.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addon/backend.h"
#include "addon/measure.h"

struct tresor_enclave {
	uint32_t references;	/* atomic */
	const struct tresor_backend_ops *ops;
	struct tresor_backend *backend;	/* NULL once torn down */
	struct tresor_image image;
	struct tresor_sha256 measurement;	/* until init */
	struct tresor_memory_names memory;
	uint32_t alive;		/* atomic: initialised, and neither lost nor destroyed */
	pthread_mutex_t lock;	/* for what follows, and for tearing down */
	pthread_cond_t freed;
	uint32_t free_threads;	/* bit per thread that is not inside */
	uint32_t inside;
	bool ended;		/* lost or destroyed: nobody enters any more */
};

bool tresor_refuse(struct tresor_error *error, const char *code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	snprintf(error->code, sizeof(error->code), "%s", code);
	vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	return false;
}

bool tresor_refuse_errno(struct tresor_error *error, const char *what)
{
	const char *name = strerrorname_np(errno);

	return tresor_refuse(error, name != NULL ? name : "EIO", "%s: %s", what, strerrordesc_np(errno));
}

static bool is_first_fault(struct tresor_image *image)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&image->faulted, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void tresor_image_not_entered(struct tresor_image *image, int error)
{
	if (!is_first_fault(image))
		return;
	snprintf(image->fault, sizeof(image->fault), "the kernel cannot enter it: error %d", error);
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

void tresor_image_fault(struct tresor_image *image, const char *where, uint16_t vector, uint16_t error_code,
			uint64_t address)
{
	static const char *const names[] = {
		[0] = "#DE", [1] = "#DB", [3] = "#BP", [5] = "#BR", [6] = "#UD",
		[13] = "#GP", [14] = "#PF", [16] = "#MF", [17] = "#AC", [19] = "#XM",
	};
	const char *name = vector < sizeof(names) / sizeof(names[0]) ? names[vector] : NULL;

	if (!is_first_fault(image))
		return;
	/* SDM vol. 3A, page-fault error code, bit 15: the EPC does not have the page. */
	if (vector == 14 && (error_code & 0x8000))
		snprintf(image->fault, sizeof(image->fault), "the enclave's memory was lost (suspend or migration)");
	else
		snprintf(image->fault, sizeof(image->fault), "%s faulted: %s (vector %u, error 0x%x, address 0x%llx)",
			 where, name != NULL ? name : "exception", vector, error_code, (unsigned long long)address);
	__atomic_store_n(&image->faulted, 2, __ATOMIC_RELEASE);
}

/* ---- ECREATE, EADD, EINIT ---- */

/* SDM vol. 3D, ECREATE; XSAVE areas as Intel lays them out. */
static bool check_create(const struct tresor_secs *secs, struct tresor_error *error)
{
	const uint64_t avx512 = 0xe0;
	uint64_t area = secs->xfrm & avx512 ? 2688 : secs->xfrm & 4 ? 832 : 576;
	const uint64_t gprs = 184, exinfo = secs->misc_select & 1 ? 16 : 0;

	if (secs->size < 2 * SGX_PAGE_SIZE || (secs->size & (secs->size - 1)) != 0 || secs->size > 1ull << 36)
		return tresor_refuse(error, "SGX_SIZE", "the enclave's size 0x%llx is no power of two in range",
				     (unsigned long long)secs->size);
	if (secs->attributes & ~(SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG) || !(secs->attributes & SGX_ATTR_MODE64BIT))
		return tresor_refuse(error, "SGX_ATTRIBUTES", "ATTRIBUTES 0x%llx are not MODE64BIT, with or without DEBUG",
				     (unsigned long long)secs->attributes);
	if ((secs->xfrm & 3) != 3 || (secs->xfrm & ~(7ull | avx512)) != 0 ||
	    ((secs->xfrm & avx512) != 0 && (secs->xfrm & (avx512 | 4)) != (avx512 | 4)))
		return tresor_refuse(error, "SGX_XFRM", "XFRM 0x%llx is not x87 and SSE, with AVX or AVX-512 whole",
				     (unsigned long long)secs->xfrm);
	if (secs->misc_select > 1)
		return tresor_refuse(error, "SGX_MISC_SELECT", "MISCSELECT 0x%x has more than EXINFO", secs->misc_select);
	if (secs->ssa_frame_size > 16 || (uint64_t)secs->ssa_frame_size * SGX_PAGE_SIZE < area + gprs + exinfo)
		return tresor_refuse(error, "SGX_SSA_FRAME_SIZE", "SSAFRAMESIZE %u pages does not fit XFRM 0x%llx",
				     secs->ssa_frame_size, (unsigned long long)secs->xfrm);
	return true;
}

static bool check_range(const struct tresor_enclave *enclave, uint64_t offset, uint64_t size, size_t data_size,
			struct tresor_error *error)
{
	const struct tresor_image *image = &enclave->image;

	if (enclave->alive || enclave->ended)
		return tresor_refuse(error, "SGX_INITIALIZED", "pages cannot be added after EINIT");
	if (offset % SGX_PAGE_SIZE != 0 || size % SGX_PAGE_SIZE != 0 || size == 0)
		return tresor_refuse(error, "SGX_PAGE_ALIGNMENT", "0x%llx + 0x%llx are no whole pages",
				     (unsigned long long)offset, (unsigned long long)size);
	if (offset >= image->secs.size || size > image->secs.size - offset)
		return tresor_refuse(error, "SGX_PAGE_RANGE", "0x%llx + 0x%llx lies beyond the enclave's size",
				     (unsigned long long)offset, (unsigned long long)size);
	if (data_size > size)
		return tresor_refuse(error, "SGX_PAGE_RANGE", "more bytes than pages at 0x%llx",
				     (unsigned long long)offset);
	for (uint64_t page = offset / SGX_PAGE_SIZE; page < (offset + size) / SGX_PAGE_SIZE; page++) {
		if (image->pages[page] != 0)
			return tresor_refuse(error, "SGX_PAGE_PRESENT", "the page at 0x%llx was added before",
					     (unsigned long long)page * SGX_PAGE_SIZE);
	}
	return true;
}

struct tcs {
	uint64_t state;
	uint64_t flags;
	uint64_t ossa;
	uint32_t cssa;
	uint32_t nssa;
	uint64_t oentry;
	uint64_t aep;
	uint64_t ofs_base;
	uint64_t ogs_base;
	uint32_t fs_limit;
	uint32_t gs_limit;
	uint8_t reserved[4024];
};
_Static_assert(sizeof(struct tcs) == SGX_PAGE_SIZE, "SDM");

/*
 * What EADD refuses in a TCS, and what EENTER would: this tells it at load. A
 * field that EADD would silently clear is refused, since it would be measured
 * cleared.
 */
static bool check_tcs(const struct tresor_image *image, uint64_t offset, const struct tcs *tcs,
		      struct tresor_error *error)
{
	const uint64_t frame = (uint64_t)image->secs.ssa_frame_size * SGX_PAGE_SIZE;
	const char *fact = NULL;

	if (tcs->state != 0 || tcs->flags != 0 || tcs->cssa != 0 || tcs->aep != 0)
		fact = "STATE, FLAGS, CSSA or AEP set";
	else if (tcs->nssa == 0)
		fact = "no SSA frame";
	else if (tcs->ossa % SGX_PAGE_SIZE != 0 || tcs->ofs_base % SGX_PAGE_SIZE != 0 ||
		 tcs->ogs_base % SGX_PAGE_SIZE != 0)
		fact = "OSSA, OFSBASE or OGSBASE off a page";
	else if (tcs->ossa >= image->secs.size || tcs->nssa > (image->secs.size - tcs->ossa) / frame)
		fact = "SSA frames beyond the enclave's size";
	else if (tcs->oentry >= image->secs.size || tcs->ofs_base >= image->secs.size ||
		 tcs->ogs_base >= image->secs.size)
		fact = "OENTRY, OFSBASE or OGSBASE beyond the enclave's size";
	else if ((tcs->fs_limit & 0xfff) != 0xfff || (tcs->gs_limit & 0xfff) != 0xfff)
		fact = "FSLIMIT or GSLIMIT off a page";
	for (size_t i = 0; i < sizeof(tcs->reserved); i++) {
		if (tcs->reserved[i] != 0)
			fact = "reserved bytes set";
	}
	if (image->thread_count == TRESOR_THREADS)
		fact = "too many others before it";
	if (fact != NULL)
		return tresor_refuse(error, "SGX_TCS", "the TCS at 0x%llx has %s", (unsigned long long)offset, fact);
	return true;
}

/* The page that EADD and EEXTEND see; `data` may end within it or before. */
static void page_of(uint8_t page[SGX_PAGE_SIZE], const uint8_t *data, size_t data_size, uint64_t at)
{
	size_t length = at >= data_size ? 0 : data_size - at < SGX_PAGE_SIZE ? data_size - at : SGX_PAGE_SIZE;

	memset(page, 0, SGX_PAGE_SIZE);
	if (length > 0)
		memcpy(page, data + at, length);
}

static bool add_pages(struct tresor_enclave *enclave, uint64_t offset, uint64_t size, const uint8_t *data,
		      size_t data_size, uint32_t flags, bool measure, struct tresor_error *error)
{
	struct tresor_image *image = &enclave->image;
	const bool is_tcs = flags == SGX_SECINFO_TCS;
	union {
		uint8_t bytes[SGX_PAGE_SIZE];
		struct tcs tcs;
	} page;

	if (!check_range(enclave, offset, size, data_size, error))
		return false;
	/* SECINFO: W needs R; a TCS has no permissions. W with X the SDM allows and we do not. */
	if (!is_tcs && ((flags & ~7u) != SGX_SECINFO_REG || !(flags & SGX_SECINFO_R) ||
			(flags & (SGX_SECINFO_W | SGX_SECINFO_X)) == (SGX_SECINFO_W | SGX_SECINFO_X)))
		return tresor_refuse(error, "SGX_SECINFO", "SECINFO.FLAGS 0x%x at 0x%llx is no page we load", flags,
				     (unsigned long long)offset);
	/* What nobody attests must neither run nor be believed. */
	if (!measure && (is_tcs || (flags & SGX_SECINFO_X)))
		return tresor_refuse(error, "SGX_SECINFO", "code or a TCS at 0x%llx is not measured",
				     (unsigned long long)offset);
	for (uint64_t at = 0; is_tcs && at < size; at += SGX_PAGE_SIZE) {
		page_of(page.bytes, data, data_size, at);
		if (!check_tcs(image, offset + at, &page.tcs, error))
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

static bool reserve(struct tresor_enclave *enclave, uint64_t offset, uint64_t size, struct tresor_error *error)
{
	struct tresor_image *image = &enclave->image;

	if (!check_range(enclave, offset, size, 0, error))
		return false;
	if (image->dynamic_size != 0)
		return tresor_refuse(error, "SGX_PAGE_PRESENT", "a dynamic range was reserved before");
	image->dynamic = offset;
	image->dynamic_size = size;
	memset(image->pages + offset / SGX_PAGE_SIZE, TRESOR_PAGE_DYNAMIC | SGX_SECINFO_R | SGX_SECINFO_W,
	       size / SGX_PAGE_SIZE);
	return enclave->ops->reserve(enclave->backend, error);
}

/* EENTER needs these; a thread without them could never be entered. */
static bool check_threads(const struct tresor_image *image, struct tresor_error *error)
{
	const uint8_t writable = TRESOR_PAGE_PRESENT | SGX_SECINFO_R | SGX_SECINFO_W;

	if (image->thread_count == 0)
		return tresor_refuse(error, "SGX_TCS", "the enclave has no TCS");
	for (uint32_t i = 0; i < image->thread_count; i++) {
		const struct tresor_thread *thread = &image->threads[i];
		const uint64_t frames = (uint64_t)thread->nssa * image->secs.ssa_frame_size;

		if (!(image->pages[thread->oentry / SGX_PAGE_SIZE] & SGX_SECINFO_X))
			return tresor_refuse(error, "SGX_TCS", "the TCS at 0x%llx has an OENTRY that is no code",
					     (unsigned long long)thread->tcs);
		for (uint64_t page = 0; page < frames; page++) {
			if (image->pages[thread->ossa / SGX_PAGE_SIZE + page] != writable)
				return tresor_refuse(error, "SGX_TCS", "the TCS at 0x%llx has an SSA that is not writable",
						     (unsigned long long)thread->tcs);
		}
	}
	return true;
}

static bool init(struct tresor_enclave *enclave, const uint8_t *sigstruct, uint64_t enclu,
		 struct tresor_error *error)
{
	struct tresor_image *image = &enclave->image;
	struct tresor_sha256 measurement = enclave->measurement;

	if (enclave->alive || enclave->ended)
		return tresor_refuse(error, "SGX_INITIALIZED", "the enclave has been through EINIT");
	tresor_sha256_final(&measurement, image->secs.mrenclave);
	if (!tresor_check_sigstruct(sigstruct, &image->secs, error) || !check_threads(image, error) ||
	    !enclave->ops->init(enclave->backend, sigstruct, enclu, error))
		return false;
	enclave->ops->memory(enclave->backend, &enclave->memory);
	enclave->free_threads = (1u << image->thread_count) - 1;
	__atomic_store_n(&enclave->alive, 1, __ATOMIC_RELEASE);
	return true;
}

/* ---- threads and lifetime ---- */

/* With the lock held. What is secret goes as soon as nobody is inside. */
static void tear_down_if_idle(struct tresor_enclave *enclave)
{
	if (!enclave->ended || enclave->inside != 0 || enclave->backend == NULL)
		return;
	enclave->ops->destroy(enclave->backend);
	enclave->backend = NULL;
}

static void end(struct tresor_enclave *enclave)
{
	pthread_mutex_lock(&enclave->lock);
	enclave->ended = true;
	__atomic_store_n(&enclave->alive, 0, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&enclave->freed);
	tear_down_if_idle(enclave);
	pthread_mutex_unlock(&enclave->lock);
}

/* Keeps the backend in being without a TCS; false when it is gone. A gigabyte takes long to unmap, others go on. */
static bool hold(struct tresor_enclave *enclave)
{
	bool alive;

	pthread_mutex_lock(&enclave->lock);
	alive = tresor_enclave_alive(enclave);
	enclave->inside += alive;
	pthread_mutex_unlock(&enclave->lock);
	return alive;
}

static void release(struct tresor_enclave *enclave)
{
	pthread_mutex_lock(&enclave->lock);
	enclave->inside--;
	tear_down_if_idle(enclave);
	pthread_mutex_unlock(&enclave->lock);
}

uint32_t tresor_enclave_enter(struct tresor_enclave *enclave, void *request)
{
	uint32_t index, status;

	pthread_mutex_lock(&enclave->lock);
	while (tresor_enclave_alive(enclave) && enclave->free_threads == 0)
		pthread_cond_wait(&enclave->freed, &enclave->lock);
	if (!tresor_enclave_alive(enclave)) {
		pthread_mutex_unlock(&enclave->lock);
		return TRESOR_ENTER_LOST;
	}
	index = (uint32_t)__builtin_ctz(enclave->free_threads);
	enclave->free_threads &= ~(1u << index);
	enclave->inside++;
	pthread_mutex_unlock(&enclave->lock);

	status = enclave->ops->enter(enclave->backend, index, request);

	pthread_mutex_lock(&enclave->lock);
	enclave->inside--;
	if (status == TRESOR_ENTER_LOST) {
		enclave->ended = true;
		__atomic_store_n(&enclave->alive, 0, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&enclave->freed);
	} else {
		enclave->free_threads |= 1u << index;
		pthread_cond_signal(&enclave->freed);
	}
	/* What was done while another thread lost the enclave is not vouched for. */
	if (enclave->ended)
		status = TRESOR_ENTER_LOST;
	tear_down_if_idle(enclave);
	pthread_mutex_unlock(&enclave->lock);
	return status;
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
	end(enclave);
	pthread_cond_destroy(&enclave->freed);
	pthread_mutex_destroy(&enclave->lock);
	free(enclave->image.pages);
	free(enclave);
}

bool tresor_enclave_alive(const struct tresor_enclave *enclave)
{
	return __atomic_load_n(&enclave->alive, __ATOMIC_ACQUIRE) != 0;
}

/* ---- Node-API ---- */

static const napi_type_tag enclave_tag = { 0x6e5c1f0b7a2d4983, 0x9b1e0c57d3a84f26 };

static napi_value throw_error(napi_env env, const struct tresor_error *error)
{
	napi_throw_error(env, error->code, error->message);
	return NULL;
}

static napi_value throw_arguments(napi_env env)
{
	napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "enclave: wrong arguments");
	return NULL;
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	tresor_enclave_unref(data);
}

struct tresor_enclave *tresor_enclave_unwrap(napi_env env, napi_value object)
{
	void *data = NULL;
	bool ours = false;

	if (napi_check_object_type_tag(env, object, &enclave_tag, &ours) != napi_ok || !ours ||
	    napi_unwrap(env, object, &data) != napi_ok)
		return NULL;
	return data;
}

/* A Uint8Array's bytes; NULL pointers of empty ones are made valid. */
static bool get_bytes(napi_env env, napi_value value, uint8_t **bytes, size_t *size)
{
	static uint8_t nothing;
	napi_typedarray_type type;
	bool is_array = false;
	void *data;

	if (napi_is_typedarray(env, value, &is_array) != napi_ok || !is_array ||
	    napi_get_typedarray_info(env, value, &type, size, &data, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array)
		return false;
	*bytes = data != NULL ? data : &nothing;
	return true;
}

/* A whole number from 0 to 2^53 - 1. */
static bool get_number(napi_env env, napi_value value, uint64_t *number)
{
	double real;

	if (napi_get_value_double(env, value, &real) != napi_ok || !(real >= 0 && real <= 9007199254740991.0))
		return false;
	*number = (uint64_t)real;
	return (double)*number == real;
}

static bool get_uint32(napi_env env, napi_value value, uint32_t *number)
{
	uint64_t wide;

	if (!get_number(env, value, &wide) || wide > UINT32_MAX)
		return false;
	*number = (uint32_t)wide;
	return true;
}

static bool get_uint64(napi_env env, napi_value value, uint64_t *number)
{
	bool lossless = false;

	return napi_get_value_bigint_uint64(env, value, number, &lossless) == napi_ok && lossless;
}

static napi_value property(napi_env env, napi_value object, const char *name)
{
	napi_value value = NULL;

	napi_get_named_property(env, object, name, &value);
	return value;
}

/* `this` of a method, and its arguments; NULL after an exception. */
static struct tresor_enclave *receive(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	struct tresor_enclave *enclave;
	napi_value self = NULL;
	size_t given = count;

	napi_get_cb_info(env, info, &given, argv, &self, NULL);
	enclave = tresor_enclave_unwrap(env, self);
	if (enclave == NULL || given < count) {
		throw_arguments(env);
		return NULL;
	}
	return enclave;
}

static napi_value js_add_pages(napi_env env, napi_callback_info info)
{
	struct tresor_error error;
	struct tresor_enclave *enclave;
	napi_value argv[5];
	uint64_t offset, size;
	uint8_t *data;
	size_t data_size;
	uint32_t flags;
	bool measure;

	enclave = receive(env, info, 5, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_number(env, argv[0], &offset) || !get_number(env, argv[1], &size) ||
	    !get_bytes(env, argv[2], &data, &data_size) || !get_uint32(env, argv[3], &flags) ||
	    napi_get_value_bool(env, argv[4], &measure) != napi_ok)
		return throw_arguments(env);
	if (!add_pages(enclave, offset, size, data, data_size, flags, measure, &error))
		return throw_error(env, &error);
	return NULL;
}

static napi_value js_reserve(napi_env env, napi_callback_info info)
{
	struct tresor_error error;
	struct tresor_enclave *enclave;
	napi_value argv[2];
	uint64_t offset, size;

	enclave = receive(env, info, 2, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_number(env, argv[0], &offset) || !get_number(env, argv[1], &size))
		return throw_arguments(env);
	if (!reserve(enclave, offset, size, &error))
		return throw_error(env, &error);
	return NULL;
}

static napi_value js_init(napi_env env, napi_callback_info info)
{
	struct tresor_error error;
	struct tresor_enclave *enclave;
	napi_value argv[2];
	uint8_t *sigstruct;
	uint64_t enclu;
	size_t size;

	enclave = receive(env, info, 2, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_bytes(env, argv[0], &sigstruct, &size) || !get_number(env, argv[1], &enclu))
		return throw_arguments(env);
	if (size != SGX_SIGSTRUCT_SIZE)
		tresor_refuse(&error, "SGX_INVALID_SIG_STRUCT", "the SIGSTRUCT has %zu bytes, not %u", size,
			      SGX_SIGSTRUCT_SIZE);
	else if (init(enclave, sigstruct, enclu, &error))
		return NULL;
	return throw_error(env, &error);
}

/* The enclave reads and writes a whole struct at the address it is given, without knowing where a buffer ends. */
static bool get_request(napi_env env, napi_value value, uint8_t **request)
{
	struct tresor_head head;
	size_t size;

	if (!get_bytes(env, value, request, &size) || size < sizeof(head) || (uintptr_t)*request % 8 != 0)
		return false;
	memcpy(&head, *request, sizeof(head));
	return head.size <= size;
}

static napi_value js_enter(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave;
	napi_value argv[1], result;
	uint8_t *request;

	enclave = receive(env, info, 1, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_request(env, argv[0], &request))
		return throw_arguments(env);
	napi_create_uint32(env, tresor_enclave_enter(enclave, request), &result);
	return result;
}

struct entry {
	struct tresor_enclave *enclave;	/* a reference */
	napi_async_work work;
	napi_deferred deferred;
	napi_ref buffer;	/* keeps the request where it is */
	void *request;
	uint32_t status;
};

static void entry_execute(napi_env env, void *data)
{
	struct entry *entry = data;

	(void)env;
	entry->status = tresor_enclave_enter(entry->enclave, entry->request);
}

static void entry_complete(napi_env env, napi_status state, void *data)
{
	struct entry *entry = data;
	napi_value result;

	/* Cancelled when the environment ends: nobody waits for the promise then. */
	if (state == napi_ok && napi_create_uint32(env, entry->status, &result) == napi_ok)
		napi_resolve_deferred(env, entry->deferred, result);
	napi_delete_reference(env, entry->buffer);
	napi_delete_async_work(env, entry->work);
	tresor_enclave_unref(entry->enclave);
	free(entry);
}

static napi_value js_enter_async(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave;
	napi_value argv[1], name, promise;
	struct entry *entry;
	uint8_t *request;

	enclave = receive(env, info, 1, argv);
	if (enclave == NULL)
		return NULL;
	if (!get_request(env, argv[0], &request))
		return throw_arguments(env);
	entry = calloc(1, sizeof(*entry));
	if (entry == NULL) {
		napi_throw_error(env, "ENOMEM", "no memory to enter the enclave");
		return NULL;
	}
	entry->request = request;
	entry->enclave = tresor_enclave_ref(enclave);
	napi_create_string_utf8(env, "tresor enclave", NAPI_AUTO_LENGTH, &name);
	napi_create_reference(env, argv[0], 1, &entry->buffer);
	napi_create_promise(env, &entry->deferred, &promise);
	napi_create_async_work(env, NULL, name, entry_execute, entry_complete, entry, &entry->work);
	napi_queue_async_work(env, entry->work);
	return promise;
}

static napi_value js_trim_heap(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	struct tresor_error error;
	bool trimmed;

	if (enclave == NULL)
		return NULL;
	if (enclave->image.dynamic_size == 0 || !hold(enclave))
		return NULL;
	trimmed = enclave->ops->trim(enclave->backend, &error);
	release(enclave);
	return trimmed ? NULL : throw_error(env, &error);
}

static napi_value js_destroy(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	if (enclave != NULL)
		end(enclave);
	return NULL;
}

static napi_value js_alive(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave != NULL)
		napi_get_boolean(env, tresor_enclave_alive(enclave), &result);
	return result;
}

static napi_value js_fault(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave == NULL)
		return NULL;
	if (__atomic_load_n(&enclave->image.faulted, __ATOMIC_ACQUIRE) == 2)
		napi_create_string_utf8(env, enclave->image.fault, NAPI_AUTO_LENGTH, &result);
	else
		napi_get_null(env, &result);
	return result;
}

static napi_value copy_bytes(napi_env env, const uint8_t *bytes, size_t size)
{
	napi_value buffer, array = NULL;
	void *data;

	if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok)
		return NULL;
	memcpy(data, bytes, size);
	napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &array);
	return array;
}

static napi_value js_mrenclave(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	return enclave == NULL ? NULL : copy_bytes(env, enclave->image.secs.mrenclave, 32);
}

static napi_value js_mrsigner(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);

	return enclave == NULL ? NULL : copy_bytes(env, enclave->image.secs.mrsigner, 32);
}

static napi_value js_dynamic_size(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL;

	if (enclave != NULL)
		napi_create_bigint_uint64(env, enclave->image.dynamic_size, &result);
	return result;
}

static napi_value js_memory(napi_env env, napi_callback_info info)
{
	struct tresor_enclave *enclave = receive(env, info, 0, NULL);
	napi_value result = NULL, name;

	if (enclave == NULL)
		return NULL;
	if (enclave->memory.keys == NULL) {
		napi_throw_error(env, "SGX_NOT_INITIALIZED", "the enclave has not been through EINIT");
		return NULL;
	}
	napi_create_object(env, &result);
	napi_create_string_utf8(env, enclave->memory.keys, NAPI_AUTO_LENGTH, &name);
	napi_set_named_property(env, result, "keys", name);
	napi_create_string_utf8(env, enclave->memory.heap, NAPI_AUTO_LENGTH, &name);
	napi_set_named_property(env, result, "heap", name);
	return result;
}

static bool get_options(napi_env env, napi_value object, struct tresor_secs *secs,
			const struct tresor_backend_ops **ops, struct tresor_options *options)
{
	char backend[16];
	size_t length, secret_size = 0;
	uint8_t *secret = NULL;

	if (napi_get_value_string_utf8(env, property(env, object, "backend"), backend, sizeof(backend), &length) !=
		    napi_ok ||
	    !get_uint64(env, property(env, object, "size"), &secs->size) ||
	    !get_uint32(env, property(env, object, "ssaFrameSize"), &secs->ssa_frame_size) ||
	    !get_uint32(env, property(env, object, "miscSelect"), &secs->misc_select) ||
	    !get_uint64(env, property(env, object, "attributes"), &secs->attributes) ||
	    !get_uint64(env, property(env, object, "xfrm"), &secs->xfrm) ||
	    !get_uint32(env, property(env, object, "transitionCycles"), &options->transition_cycles))
		return false;
	if (strcmp(backend, "software") == 0) {
		*ops = &tresor_software_ops;
		if (!get_bytes(env, property(env, object, "machineSecret"), &secret, &secret_size) || secret_size != 32)
			return false;
		options->machine_secret = secret;
		return true;
	}
	*ops = &tresor_sgx_ops;
	return strcmp(backend, "sgx") == 0;
}

static const napi_property_descriptor methods[] = {
	{ .utf8name = "addPages", .method = js_add_pages },
	{ .utf8name = "reserve", .method = js_reserve },
	{ .utf8name = "init", .method = js_init },
	{ .utf8name = "enter", .method = js_enter },
	{ .utf8name = "enterAsync", .method = js_enter_async },
	{ .utf8name = "trimHeap", .method = js_trim_heap },
	{ .utf8name = "destroy", .method = js_destroy },
	{ .utf8name = "alive", .getter = js_alive },
	{ .utf8name = "fault", .getter = js_fault },
	{ .utf8name = "mrenclave", .getter = js_mrenclave },
	{ .utf8name = "mrsigner", .getter = js_mrsigner },
	{ .utf8name = "dynamicSize", .getter = js_dynamic_size },
	{ .utf8name = "memory", .getter = js_memory },
};

static napi_value create_enclave(napi_env env, napi_callback_info info)
{
	struct tresor_options options = { 0 };
	struct tresor_enclave *enclave;
	struct tresor_error error;
	napi_value argv[1], object;
	size_t argc = 1;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	enclave = calloc(1, sizeof(*enclave));
	if (enclave == NULL) {
		napi_throw_error(env, "ENOMEM", "no memory for the enclave");
		return NULL;
	}
	enclave->references = 1;
	pthread_mutex_init(&enclave->lock, NULL);
	pthread_cond_init(&enclave->freed, NULL);
	if (argc < 1 || !get_options(env, argv[0], &enclave->image.secs, &enclave->ops, &options)) {
		tresor_enclave_unref(enclave);
		return throw_arguments(env);
	}
	if (check_create(&enclave->image.secs, &error)) {
		enclave->image.pages = calloc(enclave->image.secs.size / SGX_PAGE_SIZE, 1);
		if (enclave->image.pages == NULL)
			tresor_refuse(&error, "ENOMEM", "no memory for the enclave");
		else
			enclave->backend = enclave->ops->create(&enclave->image, &options, &error);
	}
	if (options.machine_secret != NULL)
		tresor_wipe((void *)(uintptr_t)options.machine_secret, 32);
	if (enclave->backend == NULL) {
		tresor_enclave_unref(enclave);
		return throw_error(env, &error);
	}
	tresor_measure_create(&enclave->measurement, enclave->image.secs.size, enclave->image.secs.ssa_frame_size);
	napi_create_object(env, &object);
	napi_define_properties(env, object, sizeof(methods) / sizeof(methods[0]), methods);
	napi_type_tag_object(env, object, &enclave_tag);
	if (napi_wrap(env, object, enclave, finalize, NULL, NULL) != napi_ok) {
		tresor_enclave_unref(enclave);
		return throw_arguments(env);
	}
	return object;
}

static napi_value address_of(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	uint8_t *bytes;
	size_t argc = 1, size;

	napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
	if (argc < 1 || !get_bytes(env, argv[0], &bytes, &size))
		return throw_arguments(env);
	napi_create_bigint_uint64(env, (uintptr_t)bytes, &result);
	return result;
}

__attribute__((target("xsave")))
static uint64_t read_xcr0(void)
{
	return _xgetbv(0);
}

/* What the CPU has and the kernel keeps the registers of. */
static napi_value cpu_features(napi_env env, napi_callback_info info)
{
	const uint32_t avx512_all = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
	unsigned int a, b, c, d, leaf1, found = 0;
	uint64_t xcr0 = 0;
	napi_value result;

	(void)info;
	if (__get_cpuid(1, &a, &b, &leaf1, &d) && (leaf1 & bit_OSXSAVE))
		xcr0 = read_xcr0();
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		const bool avx2 = (b & bit_AVX2) && (xcr0 & 0x6) == 0x6;
		const bool vaes = avx2 && (c & bit_VAES) && (c & bit_VPCLMULQDQ);

		found |= b & bit_SHA ? TRESOR_CPU_SHA : 0;
		found |= b & bit_RDSEED ? TRESOR_CPU_RDSEED : 0;
		found |= avx2 ? TRESOR_CPU_AVX2 : 0;
		found |= vaes ? TRESOR_CPU_VAES256 : 0;
		if (vaes && (b & avx512_all) == avx512_all && (xcr0 & 0xe6) == 0xe6)
			found |= TRESOR_CPU_VAES512;
	}
	napi_create_uint32(env, found, &result);
	return result;
}

void tresor_enclave_register(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "createEnclave", .method = create_enclave },
		{ .utf8name = "addressOf", .method = address_of },
		{ .utf8name = "cpuFeatures", .method = cpu_features },
	};

	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
}
