/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Linux in-kernel SGX driver behind backend.h (uapi: <asm/sgx.h>). What the
 * driver would answer with EIO or EPERM, rules.c has refused before with a
 * reason.
 */
#include "addon/sgx/driver.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "addon/sgx/backend.h"
#include "addon/sgx/fault.h"
#include "addon/sgx/range.h"
#include "addon/sgx/vdso.h"

/* One per call of add_pages, and the dynamic range. */
#define REGIONS		(4 * TRESOR_THREADS + 16)
/* How often, a millisecond apart, a call that says EAGAIN is made again. */
#define TRIES		1000

struct region {
	uint64_t offset;
	uint64_t size;
	int protection;
};

struct tresor_backend {
	struct tresor_image *image;
	vdso_sgx_enter_enclave_t enter;
	int device;
	uint8_t *base;		/* ELRANGE, reserved until mapped */
	uint8_t *staging;	/* a page of memory of ours, as the file may lie on a noexec mount */
	struct region regions[REGIONS];
	uint32_t region_count;
};

/* ---- Linux ---- */

static int linux_open(void)
{
	return open("/dev/sgx_enclave", O_RDWR | O_CLOEXEC);
}

static int linux_ioctl(int device, unsigned long request, void *argument)
{
	return ioctl(device, request, argument);
}

static vdso_sgx_enter_enclave_t linux_find_enter(void)
{
	const void *vdso = (const void *)getauxval(AT_SYSINFO_EHDR);

	return (vdso_sgx_enter_enclave_t)tresor_vdso_symbol(vdso, "__vdso_sgx_enter_enclave");
}

static void linux_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
	if (!__get_cpuid_count(leaf, subleaf, &registers[0], &registers[1], &registers[2], &registers[3]))
		memset(registers, 0, 4 * sizeof(registers[0]));
}

static const struct tresor_sgx_system linux_system = {
	.open_device = linux_open,
	.ioctl = linux_ioctl,
	.mmap = mmap,
	.close = close,
	.find_enter = linux_find_enter,
	.cpuid = linux_cpuid,
};

const struct tresor_sgx_system *tresor_sgx_system = &linux_system;

/* ---- backend.h ---- */

static void backend_destroy(struct tresor_backend *backend)
{
	/* The driver frees the EPC when the last mapping and the file are gone. */
	if (backend->base != NULL)
		munmap(backend->base, backend->image->secs.size);
	if (backend->staging != NULL)
		munmap(backend->staging, SGX_PAGE_SIZE);
	if (backend->device >= 0)
		tresor_sgx_system->close(backend->device);
	free(backend);
}

/*
 * Whether a call that failed is to be made again, with errno as it left it. A
 * signal ends it with EINTR; each then lets it get further, so there is no bound.
 */
static bool try_again(int *tries)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	if (errno == EINTR)
		return true;
	if (errno != EAGAIN || ++*tries == TRIES)
		return false;
	nanosleep(&pause, NULL);
	return true;
}

static int call_driver(const struct tresor_backend *backend, unsigned long request, void *argument)
{
	int result, tries = 0;

	do {
		result = tresor_sgx_system->ioctl(backend->device, request, argument);
	} while (result != 0 && try_again(&tries));
	return result;
}

static int open_device(struct tresor_error *error)
{
	int device, tries = 0;

	do {
		device = tresor_sgx_system->open_device();
		if (device >= 0)
			return device;
	} while (try_again(&tries));
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		tresor_refuse(error, "SGX_NO_DEVICE", "this machine has no /dev/sgx_enclave");
	else if (errno == EACCES || errno == EPERM)
		tresor_refuse(error, "SGX_NO_PERMISSION",
			      "/dev/sgx_enclave may not be opened; its group is often named sgx");
	else
		tresor_refuse_errno(error, "cannot open /dev/sgx_enclave");
	return -1;
}

/*
 * CPUID.(12H,1): what an enclave of this CPU may have in XFRM, which can be less
 * than the CPU has: a hypervisor hands down a part. ECREATE refuses more. The
 * parts of AVX-512 count together, on top of AVX.
 */
static uint64_t allowed_xfrm(uint64_t xfrm)
{
	uint32_t registers[4];
	uint64_t allowed;

	tresor_sgx_system->cpuid(0x12, 1, registers);
	allowed = (uint64_t)registers[3] << 32 | registers[2];
	if (allowed == 0)
		return xfrm;
	if (!(allowed & SGX_XFRM_AVX) || (allowed & SGX_XFRM_AVX512) != SGX_XFRM_AVX512)
		allowed &= ~SGX_XFRM_AVX512;
	return xfrm & allowed;
}

/* CPUID.(12H,0).EDX bits 15 to 8. */
static bool check_size(uint64_t size, struct tresor_error *error)
{
	uint32_t registers[4], bits;

	tresor_sgx_system->cpuid(0x12, 0, registers);
	bits = registers[3] >> 8 & 0xff;
	if (bits == 0 || bits > 63 || size <= 1ull << bits)
		return true;
	return tresor_refuse(error, "SGX_SIZE", "the CPU has enclaves of at most 2^%u bytes, and this one has 0x%llx",
			     bits, (unsigned long long)size);
}

static bool create(struct tresor_backend *backend, struct tresor_error *error)
{
	struct tresor_secs *secs = &backend->image->secs;
	struct sgx_secs page = {
		.size = secs->size,
		.base = (uintptr_t)backend->base,
		.ssa_frame_size = secs->ssa_frame_size,
		.misc_select = secs->misc_select,
		.attributes = { secs->attributes, secs->xfrm },
	};
	struct sgx_enclave_create argument = { .src = (uintptr_t)&page };

	secs->base = page.base;
	if (call_driver(backend, SGX_IOC_ENCLAVE_CREATE, &argument) == 0)
		return true;
	if (errno == EIO || errno == EINVAL)
		return tresor_refuse(error, "SGX_CREATE",
				     "the CPU refuses ECREATE with XFRM 0x%llx and 0x%llx bytes of address space",
				     (unsigned long long)secs->xfrm, (unsigned long long)secs->size);
	return tresor_refuse_errno(error, "cannot create the enclave");
}

/*
 * Linux ties an enclave to a process with its first mapping, and a signal may interrupt that. One that replaces the
 * reservation would then leave a hole in it, where another thread's memory may come to lie; this one replaces nothing.
 */
static bool tie(const struct tresor_backend *backend, struct tresor_error *error)
{
	int tries = 0;
	void *page;

	do {
		page = tresor_sgx_system->mmap(NULL, SGX_PAGE_SIZE, PROT_NONE, MAP_SHARED, backend->device, 0);
	} while (page == MAP_FAILED && try_again(&tries));
	if (page == MAP_FAILED)
		return tresor_refuse_errno(error, "cannot map the enclave");
	munmap(page, SGX_PAGE_SIZE);
	return true;
}

static struct tresor_backend *backend_create(struct tresor_image *image, const struct tresor_options *options,
					     struct tresor_error *error)
{
	struct tresor_backend *backend = calloc(1, sizeof(*backend));

	(void)options;
	if (backend == NULL) {
		tresor_refuse_errno(error, "no memory for the enclave");
		return NULL;
	}
	backend->image = image;
	backend->device = open_device(error);
	if (backend->device < 0 || !check_size(image->secs.size, error))
		goto failed;
	image->secs.xfrm = allowed_xfrm(image->secs.xfrm);
	image->gone = "suspend, migration, or no EPC left";
	backend->enter = tresor_sgx_system->find_enter();
	if (backend->enter == NULL) {
		tresor_refuse(error, "SGX_NO_VDSO", "the kernel's vDSO has no __vdso_sgx_enter_enclave");
		goto failed;
	}
	backend->base = tresor_reserve_range(image->secs.size, 0);
	/* Anonymous and PROT_READ | PROT_WRITE has VM_MAYEXEC, which ADD_PAGES asks of its source. */
	backend->staging = mmap(NULL, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (backend->staging == MAP_FAILED)
		backend->staging = NULL;
	if (backend->base == NULL || backend->staging == NULL) {
		tresor_refuse_errno(error, "no address space for the enclave");
		goto failed;
	}
	if (create(backend, error) && tie(backend, error))
		return backend;
failed:
	backend_destroy(backend);
	return NULL;
}

/*
 * The staged page. One a call: when a signal comes while the EPC is full, the
 * driver gives up between two pages and Linux makes the call again from its first,
 * which is there by then (EBUSY), the count lost. Of one page there is no between.
 */
static bool add_staged(const struct tresor_backend *backend, uint64_t offset, const struct sgx_secinfo *secinfo,
		       bool measure, struct tresor_error *error)
{
	struct sgx_enclave_add_pages argument = {
		.src = (uintptr_t)backend->staging,
		.offset = offset,
		.length = SGX_PAGE_SIZE,
		.secinfo = (uintptr_t)secinfo,
		.flags = measure ? SGX_PAGE_MEASURE : 0,
	};

	if (call_driver(backend, SGX_IOC_ENCLAVE_ADD_PAGES, &argument) != 0) {
		if (errno == ENOMEM)
			return tresor_refuse(error, "SGX_NO_EPC", "the EPC and its backing memory are full");
		if (errno == EIO)
			return tresor_refuse(error, "SGX_ADD_PAGES", "the CPU refuses the page at 0x%llx",
					     (unsigned long long)offset);
		return tresor_refuse_errno(error, "cannot add pages to the enclave");
	}
	if (argument.count != SGX_PAGE_SIZE)
		return tresor_refuse(error, "SGX_DRIVER", "the driver says it added 0x%llx of 0x%x bytes",
				     (unsigned long long)argument.count, SGX_PAGE_SIZE);
	return true;
}

static bool add_region(struct tresor_backend *backend, uint64_t offset, uint64_t size, uint32_t flags,
		       struct tresor_error *error)
{
	int protection = PROT_READ | PROT_WRITE;	/* a TCS: the CPU itself writes it */

	if (backend->region_count == REGIONS)
		return tresor_refuse(error, "SGX_SEGMENTS", "the image has more than %u segments", REGIONS);
	if (flags != SGX_SECINFO_TCS)
		protection = (flags & SGX_SECINFO_R ? PROT_READ : 0) | (flags & SGX_SECINFO_W ? PROT_WRITE : 0) |
			     (flags & SGX_SECINFO_X ? PROT_EXEC : 0);
	backend->regions[backend->region_count++] =
		(struct region){ .offset = offset, .size = size, .protection = protection };
	return true;
}

static bool backend_add_pages(struct tresor_backend *backend, uint64_t offset, uint64_t size, const uint8_t *data,
			      size_t data_size, uint32_t flags, bool measure, struct tresor_error *error)
{
	const struct sgx_secinfo secinfo = { .flags = flags };

	for (uint64_t at = 0; at < size; at += SGX_PAGE_SIZE) {
		size_t given = at >= data_size ? 0 : data_size - at < SGX_PAGE_SIZE ? data_size - at : SGX_PAGE_SIZE;

		if (given > 0)
			memcpy(backend->staging, data + at, given);
		memset(backend->staging + given, 0, SGX_PAGE_SIZE - given);
		if (!add_staged(backend, offset + at, &secinfo, measure, error))
			return false;
	}
	/* Mapped after EINIT: a mapping may not have more rights than the pages in it, so they come first. */
	return add_region(backend, offset, size, flags, error);
}

/*
 * SGX2 pages come by faulting in a mapping that has none. Of an enclave that has
 * not been through EINIT, the SGX2 calls say ENODEV when the CPU cannot, ENOTTY
 * when the kernel cannot, and EINVAL when both can.
 */
static bool backend_reserve(struct tresor_backend *backend, struct tresor_error *error)
{
	struct tresor_image *image = backend->image;
	struct sgx_enclave_restrict_permissions probe = { 0 };

	if (tresor_sgx_system->ioctl(backend->device, SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS, &probe) == 0 ||
	    errno != EINVAL) {
		image->dynamic_size = 0;
		return true;
	}
	return add_region(backend, image->dynamic, image->dynamic_size, SGX_SECINFO_R | SGX_SECINFO_W, error);
}

static bool map_regions(struct tresor_backend *backend, struct tresor_error *error)
{
	for (uint32_t i = 0; i < backend->region_count; i++) {
		const struct region *region = &backend->regions[i];

		if (tresor_sgx_system->mmap(backend->base + region->offset, region->size, region->protection,
					    MAP_SHARED | MAP_FIXED, backend->device, 0) != MAP_FAILED)
			continue;
		if (errno == EPERM && (region->protection & PROT_EXEC))
			return tresor_refuse(error, "SGX_NOEXEC",
					     "/dev is mounted noexec; remount it: mount -o remount,exec /dev");
		return tresor_refuse_errno(error, "cannot map the enclave");
	}
	return true;
}

static bool backend_init(struct tresor_backend *backend, const uint8_t *sigstruct, uint64_t enclu,
			 struct tresor_error *error)
{
	struct sgx_enclave_init argument = { .sigstruct = (uintptr_t)sigstruct };
	const int result = call_driver(backend, SGX_IOC_ENCLAVE_INIT, &argument);

	(void)enclu;	/* the CPU runs it */
	if (result != 0 && errno == EPERM)
		return tresor_refuse(error, "SGX_EINIT",
				     "the CPU refuses EINIT, although every check of SIGSTRUCT passes here");
	if (result != 0 && errno == EACCES)
		return tresor_refuse(error, "SGX_ATTRIBUTES", "the driver does not allow ATTRIBUTES 0x%llx",
				     (unsigned long long)backend->image->secs.attributes);
	if (result != 0)
		return tresor_refuse_errno(error, "cannot initialise the enclave");
	backend->image->secs.attributes |= SGX_ATTR_INIT;
	return map_regions(backend, error);
}

/*
 * The vDSO returns 0 after a fault as well; only EEXIT is success. No fault is
 * resumed: ours come from a lost EPC (suspend, migration), which no TCS survives,
 * or from a defect, which no caller should meet twice.
 */
static uint32_t backend_enter(struct tresor_backend *backend, uint32_t thread, void *request)
{
	struct tresor_image *image = backend->image;
	struct sgx_enclave_run run = { .tcs = image->secs.base + image->threads[thread].tcs };
	uint64_t result = tresor_sgx_call(backend->enter, request, &run);

	if ((uint32_t)result == 0 && run.function == ENCLU_EEXIT)
		return (uint32_t)(result >> 32);
	if ((int32_t)result < 0)
		tresor_image_not_entered(image, -(int32_t)result);
	else
		tresor_image_fault(image, run.function == ENCLU_EENTER ? "EENTER" : "the enclave", run.exception_vector,
				   run.exception_error_code, run.exception_addr);
	return TRESOR_ENTER_LOST;
}

/* EPC cannot be given back without the enclave's consent, page by page; the driver swaps it out, encrypted. */
static bool backend_trim(struct tresor_backend *backend, struct tresor_error *error)
{
	(void)backend;
	(void)error;
	return true;
}

static void backend_memory(const struct tresor_backend *backend, struct tresor_memory_names *names)
{
	(void)backend;
	names->keys = "EPC";
	names->stacks = "EPC";
	names->heap = "EPC";
}

const struct tresor_backend_ops tresor_sgx_ops = {
	.create = backend_create,
	.add_pages = backend_add_pages,
	.reserve = backend_reserve,
	.init = backend_init,
	.enter = backend_enter,
	.trim = backend_trim,
	.memory = backend_memory,
	.destroy = backend_destroy,
};
