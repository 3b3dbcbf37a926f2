/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only: the driver of fake.h, as arch/x86/kernel/cpu/sgx of Linux 6.1 to 6.18 behaves. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "addon/sgx/measure.h"
#include "addon/sgx/sigstruct.h"
#include "addon/sgx/zeros.h"
#include "addon/test/fake.h"

/* Within the kernel only. */
#define ERESTARTSYS	512

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t page_attempts;	/* for signal_every */

static int fail(int error)
{
	errno = error;
	return -1;
}

static pid_t owner;	/* this process, which opened the driver last */

/* Memory of the caller's: an address that is not its own is an error, not a crash. */
struct user_memory {
	void *to;
	uint64_t from;
	size_t size;
};

/* Copies `first`, then `second` if its size is not 0. Returns how much of both could be read. */
static size_t copy_some(struct user_memory first, struct user_memory second)
{
	const struct iovec local[2] = { { first.to, first.size }, { second.to, second.size } };
	const struct iovec remote[2] = { { (void *)(uintptr_t)first.from, first.size },
					 { (void *)(uintptr_t)second.from, second.size } };
	const unsigned long count = second.size == 0 ? 1 : 2;
	const ssize_t copied = process_vm_readv(owner, local, count, remote, count, 0);

	return copied < 0 ? 0 : (size_t)copied;
}

/* copy_from_user */
static bool copy_in(void *to, uint64_t from, size_t size)
{
	return copy_some((struct user_memory){ to, from, size }, (struct user_memory){ 0 }) == size;
}

static struct fake_enclave *of_device(int device)
{
	for (int i = 0; i < FAKE_ENCLAVES; i++) {
		if (fake_enclaves[i].open && fake_enclaves[i].device == device)
			return &fake_enclaves[i];
	}
	return NULL;
}

/* A call that is to end with nothing done. */
static bool interrupted(int32_t *left)
{
	if (*left <= 0)
		return false;
	errno = (*left)-- % 2 == 1 ? EINTR : EAGAIN;
	return true;
}

int fake_open(void)
{
	struct fake_enclave *enclave = NULL;

	if (fake_faults.open_errno != 0)
		return fail(fake_faults.open_errno);
	if (interrupted(&fake_faults.interrupt_open))
		return -1;
	pthread_mutex_lock(&lock);
	for (int i = 0; i < FAKE_ENCLAVES && enclave == NULL; i++) {
		if (!fake_enclaves[i].open)
			enclave = &fake_enclaves[i];
	}
	if (enclave != NULL) {
		memset(enclave, 0, sizeof(*enclave));
		enclave->device = memfd_create("tresor fake EPC", MFD_CLOEXEC);
		enclave->open = enclave->device >= 0;
		owner = getpid();
		fake_counters.open += enclave->open;
	}
	pthread_mutex_unlock(&lock);
	return enclave == NULL ? fail(EMFILE) : enclave->device;
}

int fake_close(int device)
{
	struct fake_enclave *enclave = of_device(device);

	if (enclave == NULL)
		return fail(EBADF);
	pthread_mutex_lock(&lock);
	free(enclave->image.pages);
	free(enclave->emulator.accepted);
	enclave->open = false;
	fake_counters.open--;
	pthread_mutex_unlock(&lock);
	return close(device);
}

static int create(struct fake_enclave *enclave, const struct sgx_enclave_create *argument)
{
	struct tresor_secs *secs = &enclave->image.secs;
	uint32_t leaf0[4], leaf1[4];
	uint8_t page[SGX_PAGE_SIZE];

	if (fake_faults.create_errno != 0)
		return fail(fake_faults.create_errno);
	if (interrupted(&fake_faults.interrupt_create))
		return -1;
	if (enclave->created)
		return fail(EINVAL);
	if (!copy_in(page, argument->src, sizeof(page)))
		return fail(EFAULT);
	/* SDM vol. 3D, table "Layout of SGX Enclave Control Structure". */
	memcpy(&secs->size, page, 8);
	memcpy(&secs->base, page + 8, 8);
	memcpy(&secs->ssa_frame_size, page + 16, 4);
	memcpy(&secs->misc_select, page + 20, 4);
	memcpy(&secs->attributes, page + 48, 8);
	memcpy(&secs->xfrm, page + 56, 8);
	if (secs->size < 2 * SGX_PAGE_SIZE || (secs->size & (secs->size - 1)) != 0)
		return fail(EINVAL);
	fake_cpuid(0x12, 0, leaf0);
	fake_cpuid(0x12, 1, leaf1);
	/* MRENCLAVE to ISVSVN are the CPU's to fill in. */
	if (secs->size > 1ull << (leaf0[3] >> 8 & 0xff) || (secs->xfrm & ~(uint64_t)leaf1[2]) != 0 ||
	    secs->base % secs->size != 0 || secs->ssa_frame_size == 0 || (secs->xfrm & 3) != 3 ||
	    secs->attributes & ~(SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG) || !tresor_are_zeros(page + 24, 24) ||
	    !tresor_are_zeros(page + 64, sizeof(page) - 64))
		return fail(EIO);
	enclave->image.pages = calloc(secs->size / SGX_PAGE_SIZE, 1);
	if (enclave->image.pages == NULL || ftruncate(enclave->device, (off_t)secs->size) != 0)
		return fail(ENOMEM);
	tresor_measure_create(&enclave->measurement, secs->size, secs->ssa_frame_size);
	enclave->created = true;
	return 0;
}

/* EADD and its sixteen EEXTENDs; `page` is NULL where it cannot be read. */
static int add_page(struct fake_enclave *enclave, const uint8_t *page, uint64_t offset, uint32_t flags, bool measure)
{
	struct tresor_image *image = &enclave->image;
	uint8_t *is = &image->pages[offset / SGX_PAGE_SIZE];

	if (*is != 0)
		return fail(EBUSY);
	if (page == NULL)
		return fail(EFAULT);
	if (flags == SGX_SECINFO_TCS) {
		struct tresor_thread *thread = &image->threads[image->thread_count];

		/* STATE, FLAGS, CSSA and AEP. */
		if (image->thread_count == TRESOR_THREADS || !tresor_are_zeros(page, 16) ||
		    !tresor_are_zeros(page + 24, 4) || !tresor_are_zeros(page + 40, 8))
			return fail(EIO);
		thread->tcs = offset;
		memcpy(&thread->ossa, page + 16, 8);
		memcpy(&thread->nssa, page + 28, 4);
		memcpy(&thread->oentry, page + 32, 8);
		image->thread_count++;
	}
	if (!tresor_are_zeros(page, SGX_PAGE_SIZE) &&
	    pwrite(enclave->device, page, SGX_PAGE_SIZE, (off_t)offset) != (ssize_t)SGX_PAGE_SIZE)
		return fail(ENOMEM);
	*is = (uint8_t)(TRESOR_PAGE_PRESENT | (flags == SGX_SECINFO_TCS ? TRESOR_PAGE_TCS : flags & 7));
	tresor_measure_add(&enclave->measurement, offset, flags);
	if (measure)
		tresor_measure_extend(&enclave->measurement, offset, page);
	fake_counters.pages++;
	return 0;
}

/*
 * The loop of sgx_ioc_enclave_add_pages: a signal is looked for before each page,
 * and while there is no EPC for it. In the first case what was done counts. `first`: the first page, or NULL
 * where it cannot be read.
 */
static int add_from(struct fake_enclave *enclave, struct sgx_enclave_add_pages *argument, uint32_t flags,
		    const uint8_t *first)
{
	uint8_t next[SGX_PAGE_SIZE];
	int result = 0;

	for (argument->count = 0; argument->count < argument->length; argument->count += SGX_PAGE_SIZE) {
		const bool signal =
			fake_faults.signal_every > 0 && ++page_attempts % (uint32_t)fake_faults.signal_every == 0;
		const uint8_t *page = first;

		if (signal)
			return fake_faults.epc_full || argument->count == 0 ? fail(ERESTARTSYS) : 0;
		if (argument->count > 0)
			page = copy_in(next, argument->src + argument->count, SGX_PAGE_SIZE) ? next : NULL;
		result = add_page(enclave, page, argument->offset + argument->count, flags,
				  argument->flags & SGX_PAGE_MEASURE);
		if (result != 0)
			break;
	}
	return result;
}

static int add_pages(struct fake_enclave *enclave, struct sgx_enclave_add_pages *argument)
{
	const uint64_t size = enclave->image.secs.size;
	uint8_t first[SGX_PAGE_SIZE];
	uint64_t secinfo[8];
	uint32_t flags;
	size_t copied;
	int result;

	fake_counters.add_calls++;
	if (fake_faults.add_errno != 0 && fake_faults.add_after-- <= 0)
		return fail(fake_faults.add_errno);
	if (interrupted(&fake_faults.interrupt_add))
		return -1;
	if (!enclave->created || enclave->initialised || argument->length == 0 ||
	    (argument->src | argument->offset | argument->length) % SGX_PAGE_SIZE != 0 || argument->offset >= size ||
	    argument->length > size - argument->offset || argument->flags & ~(uint64_t)SGX_PAGE_MEASURE)
		return fail(EINVAL);
	/* The loader makes a call for each of some 25,000 pages: both by one. */
	copied = copy_some((struct user_memory){ secinfo, argument->secinfo, sizeof(secinfo) },
			   (struct user_memory){ first, argument->src, sizeof(first) });
	if (copied < sizeof(secinfo))
		return fail(EFAULT);
	flags = (uint32_t)secinfo[0];
	if (!tresor_are_zeros(secinfo + 1, 56) || secinfo[0] >> 32 != 0 ||
	    (flags != SGX_SECINFO_TCS && (flags & ~7u) != SGX_SECINFO_REG) ||
	    (flags & (SGX_SECINFO_W | SGX_SECINFO_R)) == SGX_SECINFO_W)
		return fail(EINVAL);
	/* Made again from its first page, as the caller gave it: Linux knows nothing of the count. */
	do {
		result = add_from(enclave, argument, flags, copied == sizeof(secinfo) + sizeof(first) ? first : NULL);
	} while (result != 0 && errno == ERESTARTSYS && fake_faults.restart);
	if (result != 0 && errno == ERESTARTSYS)
		errno = EINTR;
	argument->count += (uint64_t)(int64_t)fake_faults.over_count * SGX_PAGE_SIZE;
	return result;
}

static int init(struct fake_enclave *enclave, const struct sgx_enclave_init *argument)
{
	struct tresor_sha256 measurement = enclave->measurement;
	uint8_t sigstruct[SGX_SIGSTRUCT_SIZE];
	struct tresor_error error;
	uint32_t vendor;

	fake_counters.init_calls++;
	if (fake_faults.init_errno != 0)
		return fail(fake_faults.init_errno);
	if (interrupted(&fake_faults.interrupt_init))
		return -1;
	if (!enclave->created || enclave->initialised)
		return fail(EINVAL);
	if (!copy_in(sigstruct, argument->sigstruct, sizeof(sigstruct)))
		return fail(EFAULT);
	memcpy(&vendor, sigstruct + 16, 4);
	if (vendor != 0 && vendor != 0x8086)
		return fail(EINVAL);
	tresor_sha256_final(&measurement, enclave->image.secs.mrenclave);
	if (!tresor_check_sigstruct(sigstruct, &enclave->image.secs, &error))
		return fail(EPERM);
	enclave->image.secs.attributes |= SGX_ATTR_INIT;
	enclave->emulator.image = &enclave->image;
	enclave->emulator.machine = &fake_machine;
	enclave->initialised = true;
	return 0;
}

int fake_ioctl(int device, unsigned long request, void *argument)
{
	struct fake_enclave *enclave = of_device(device);

	if (enclave == NULL)
		return fail(EBADF);
	switch (request) {
	case SGX_IOC_ENCLAVE_CREATE:
		return create(enclave, argument);
	case SGX_IOC_ENCLAVE_ADD_PAGES:
		return add_pages(enclave, argument);
	case SGX_IOC_ENCLAVE_INIT:
		return init(enclave, argument);
	case SGX_IOC_ENCLAVE_RESTRICT_PERMISSIONS:
		if (fake_faults.no_sgx2)
			return fail(fake_faults.probe_errno != 0 ? fake_faults.probe_errno : ENODEV);
		return fail(enclave->initialised ? EOPNOTSUPP : EINVAL);
	default:
		return fail(ENOTTY);
	}
}

/* A TCS is mapped like data and can be read by nobody. Pages to come by EAUG cannot either, until EACCEPT. */
void *fake_mmap(void *address, size_t size, int protection, int flags, int device, off_t at)
{
	struct fake_enclave *enclave = of_device(device);
	struct tresor_image *image = &enclave->image;
	const uint64_t offset = (uint64_t)((uintptr_t)address - image->secs.base);
	uint64_t absent = 0;
	bool is_tcs = false;

	/* As Linux does it: what a fixed mapping replaces is gone by then. */
	if (!enclave->tied && interrupted(&fake_faults.interrupt_map)) {
		const int why = errno;

		if (flags & MAP_FIXED)
			munmap(address, size);
		errno = why;
		return MAP_FAILED;
	}
	enclave->tied = true;
	if (fake_faults.map_errno != 0 || (fake_faults.no_exec && protection & PROT_EXEC)) {
		errno = fake_faults.map_errno != 0 ? fake_faults.map_errno : EPERM;
		return MAP_FAILED;
	}
	/* Before EINIT an enclave may be mapped anywhere, with no more rights than its pages have. */
	if (flags == MAP_SHARED && protection == PROT_NONE && !enclave->initialised)
		return mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	errno = EINVAL;
	if (flags != (MAP_SHARED | MAP_FIXED) || at != 0 || size == 0 || (offset | size) % SGX_PAGE_SIZE != 0)
		return MAP_FAILED;
	errno = EACCES;
	if (!enclave->created || offset >= image->secs.size || size > image->secs.size - offset)
		return MAP_FAILED;
	for (uint64_t i = offset / SGX_PAGE_SIZE; i < (offset + size) / SGX_PAGE_SIZE; i++) {
		const int allowed = image->pages[i] & TRESOR_PAGE_TCS ?
					    PROT_READ | PROT_WRITE :
					    (image->pages[i] & SGX_SECINFO_R ? PROT_READ : 0) |
						    (image->pages[i] & SGX_SECINFO_W ? PROT_WRITE : 0) |
						    (image->pages[i] & SGX_SECINFO_X ? PROT_EXEC : 0);

		is_tcs |= (image->pages[i] & TRESOR_PAGE_TCS) != 0;
		absent += image->pages[i] == 0;
		if (image->pages[i] != 0 && (protection & ~allowed) != 0)
			return MAP_FAILED;
	}
	if (absent != 0) {
		if (absent != size / SGX_PAGE_SIZE || image->dynamic_size != 0)
			return MAP_FAILED;
		image->dynamic = offset;
		image->dynamic_size = size;
		memset(image->pages + offset / SGX_PAGE_SIZE, TRESOR_PAGE_DYNAMIC | SGX_SECINFO_R | SGX_SECINFO_W,
		       size / SGX_PAGE_SIZE);
		enclave->emulator.accepted = calloc(size / SGX_PAGE_SIZE / 8 + 1, 1);
	}
	return mmap(address, size, is_tcs || absent != 0 ? PROT_NONE : protection, flags, device, (off_t)offset);
}
