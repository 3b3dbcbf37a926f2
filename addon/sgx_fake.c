/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a driver and a CPU for the hardware backend, on machines without
 * either. Takes every argument as <asm/sgx.h> declares it, answers with the
 * errno Linux answers with, measures what it was given itself, and maps pages
 * with no more rights than they have. The image runs unchanged: its ENCLU faults
 * and is done by the emulator of the software backend.
 *
 * Differs from hardware: faults are told by this process's own signals; the
 * enclave's FS and GS are the host's; EEXIT to anywhere but the vDSO is a fault.
 */
#include <errno.h>
#include <node_api.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "addon/addon.h"
#include "addon/backend.h"
#include "addon/emulator.h"
#include "addon/measure.h"
#include "addon/sgx.h"

#define ENCLAVES	8
#define SIGNAL_STACK	65536u
#define ENCLU_SIZE	3
#define VECTOR_UD	6
#define VECTOR_GP	13
#define VECTOR_PF	14
#define PF_SGX		0x8000u	/* error code: the EPC does not have the page */

struct fake_enclave {
	bool open;
	bool created;
	bool initialised;
	uint32_t lost;		/* atomic */
	int device;		/* a memfd, which is its EPC */
	struct tresor_image image;
	struct tresor_sha256 measurement;
	struct tresor_emulator emulator;
	uint32_t cssa[TRESOR_THREADS];	/* atomic; 1 also while a thread is inside */
	uint8_t stacks[TRESOR_THREADS][SIGNAL_STACK];
};

struct visit {
	struct fake_enclave *enclave;	/* NULL: not in the vDSO */
	int thread;		/* inside; -1 before EENTER */
	greg_t rsp, rbp;
	stack_t stack;		/* the thread's own */
	uint64_t mask;
};

/* What to do wrong; errno values, or counts. */
static struct {
	int32_t open_errno, create_errno, add_errno, init_errno, map_errno, probe_errno, enter_result;
	int32_t add_after;	/* ADD_PAGES calls that succeed before add_errno */
	int32_t partial;	/* most pages per ADD_PAGES; 0: all */
	int32_t over_count;	/* ADD_PAGES claims more than was asked for */
	int32_t interrupt_add, interrupt_init;	/* calls that end in EINTR with nothing done */
	int32_t no_exec, no_vdso, no_sgx2;
} wrong;

static struct {
	uint32_t open, add_calls, pages, init_calls, entries;
} counters;

static struct fake_enclave enclaves[ENCLAVES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tresor_machine machine = { .secret = { 0x5a } };
static __thread struct visit visit __attribute__((tls_model("initial-exec")));

int tresor_fake_begin(struct sgx_enclave_run *run, uint32_t function) __attribute__((visibility("hidden")));
void tresor_fake_end(void) __attribute__((visibility("hidden")));
int tresor_fake_vdso(unsigned long rdi, unsigned long rsi, unsigned long rdx, unsigned int function,
		     unsigned long r8, unsigned long r9, struct sgx_enclave_run *run);
extern const uint8_t tresor_fake_aep[], tresor_fake_exception[];

static int fail(int error)
{
	errno = error;
	return -1;
}

static bool is_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;

	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* copy_from_user: an address that is not ours is an error, not a crash. */
static bool copy_in(void *to, uint64_t from, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)(uintptr_t)from, size };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static struct fake_enclave *of_device(int device)
{
	for (int i = 0; i < ENCLAVES; i++) {
		if (enclaves[i].open && enclaves[i].device == device)
			return &enclaves[i];
	}
	return NULL;
}

/* ---- the driver ---- */

static int fake_open(void)
{
	struct fake_enclave *enclave = NULL;

	if (wrong.open_errno != 0)
		return fail(wrong.open_errno);
	pthread_mutex_lock(&lock);
	for (int i = 0; i < ENCLAVES && enclave == NULL; i++) {
		if (!enclaves[i].open)
			enclave = &enclaves[i];
	}
	if (enclave != NULL) {
		memset(enclave, 0, sizeof(*enclave));
		enclave->device = memfd_create("tresor fake EPC", MFD_CLOEXEC);
		enclave->open = enclave->device >= 0;
		counters.open += enclave->open;
	}
	pthread_mutex_unlock(&lock);
	return enclave == NULL ? fail(EMFILE) : enclave->device;
}

static int fake_close(int device)
{
	struct fake_enclave *enclave = of_device(device);

	if (enclave == NULL)
		return fail(EBADF);
	pthread_mutex_lock(&lock);
	free(enclave->image.pages);
	free(enclave->emulator.accepted);
	enclave->open = false;
	counters.open--;
	pthread_mutex_unlock(&lock);
	return close(device);
}

static int create(struct fake_enclave *enclave, const struct sgx_enclave_create *argument)
{
	struct tresor_secs *secs = &enclave->image.secs;
	uint8_t page[SGX_PAGE_SIZE];

	if (wrong.create_errno != 0)
		return fail(wrong.create_errno);
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
	/* MRENCLAVE to ISVSVN are the CPU's to fill in. */
	if (secs->base % secs->size != 0 || secs->ssa_frame_size == 0 || (secs->xfrm & 3) != 3 ||
	    secs->attributes & ~(SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG) || !is_zero(page + 24, 24) ||
	    !is_zero(page + 64, sizeof(page) - 64))
		return fail(EIO);
	enclave->image.pages = calloc(secs->size / SGX_PAGE_SIZE, 1);
	if (enclave->image.pages == NULL || ftruncate(enclave->device, (off_t)secs->size) != 0)
		return fail(ENOMEM);
	tresor_measure_create(&enclave->measurement, secs->size, secs->ssa_frame_size);
	enclave->created = true;
	return 0;
}

/* EADD and its sixteen EEXTENDs. */
static int add_page(struct fake_enclave *enclave, uint64_t from, uint64_t offset, uint32_t flags, bool measure)
{
	struct tresor_image *image = &enclave->image;
	uint8_t *is = &image->pages[offset / SGX_PAGE_SIZE];
	uint8_t page[SGX_PAGE_SIZE];

	if (*is != 0)
		return fail(EBUSY);
	if (!copy_in(page, from, sizeof(page)))
		return fail(EFAULT);
	if (flags == SGX_SECINFO_TCS) {
		struct tresor_thread *thread = &image->threads[image->thread_count];

		/* STATE, FLAGS, CSSA and AEP. */
		if (image->thread_count == TRESOR_THREADS || !is_zero(page, 16) || !is_zero(page + 24, 4) ||
		    !is_zero(page + 40, 8))
			return fail(EIO);
		thread->tcs = offset;
		memcpy(&thread->ossa, page + 16, 8);
		memcpy(&thread->nssa, page + 28, 4);
		memcpy(&thread->oentry, page + 32, 8);
		image->thread_count++;
	}
	if (!is_zero(page, sizeof(page)) &&
	    pwrite(enclave->device, page, sizeof(page), (off_t)offset) != (ssize_t)sizeof(page))
		return fail(ENOMEM);
	*is = (uint8_t)(TRESOR_PAGE_PRESENT | (flags == SGX_SECINFO_TCS ? TRESOR_PAGE_TCS : flags & 7));
	tresor_measure_add(&enclave->measurement, offset, flags);
	if (measure)
		tresor_measure_extend(&enclave->measurement, offset, page);
	counters.pages++;
	return 0;
}

static int add_pages(struct fake_enclave *enclave, struct sgx_enclave_add_pages *argument)
{
	const uint64_t size = enclave->image.secs.size;
	uint64_t secinfo[8], most = argument->length;
	uint32_t flags;
	int result = 0;

	counters.add_calls++;
	if (wrong.add_errno != 0 && wrong.add_after-- <= 0)
		return fail(wrong.add_errno);
	if (wrong.interrupt_add > 0) {
		wrong.interrupt_add--;
		return fail(wrong.interrupt_add % 2 == 0 ? EINTR : EAGAIN);
	}
	if (!enclave->created || enclave->initialised || argument->length == 0 ||
	    (argument->src | argument->offset | argument->length) % SGX_PAGE_SIZE != 0 ||
	    argument->offset >= size || argument->length > size - argument->offset ||
	    argument->flags & ~(uint64_t)SGX_PAGE_MEASURE)
		return fail(EINVAL);
	if (!copy_in(secinfo, argument->secinfo, sizeof(secinfo)))
		return fail(EFAULT);
	flags = (uint32_t)secinfo[0];
	if (!is_zero(secinfo + 1, 56) || secinfo[0] >> 32 != 0 ||
	    (flags != SGX_SECINFO_TCS && (flags & ~7u) != SGX_SECINFO_REG) ||
	    (flags & (SGX_SECINFO_W | SGX_SECINFO_R)) == SGX_SECINFO_W)
		return fail(EINVAL);
	if (wrong.partial > 0 && most > (uint64_t)wrong.partial * SGX_PAGE_SIZE)
		most = (uint64_t)wrong.partial * SGX_PAGE_SIZE;
	argument->count = 0;
	while (argument->count < most && result == 0) {
		result = add_page(enclave, argument->src + argument->count, argument->offset + argument->count, flags,
				  argument->flags & SGX_PAGE_MEASURE);
		if (result == 0)
			argument->count += SGX_PAGE_SIZE;
	}
	if (wrong.over_count)
		argument->count = argument->length + SGX_PAGE_SIZE;
	return result;
}

static int init(struct fake_enclave *enclave, const struct sgx_enclave_init *argument)
{
	struct tresor_sha256 measurement = enclave->measurement;
	uint8_t sigstruct[SGX_SIGSTRUCT_SIZE];
	struct tresor_error error;
	uint32_t vendor;

	counters.init_calls++;
	if (wrong.init_errno != 0)
		return fail(wrong.init_errno);
	if (wrong.interrupt_init > 0) {
		wrong.interrupt_init--;
		return fail(EINTR);
	}
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
	enclave->emulator.machine = &machine;
	enclave->initialised = true;
	return 0;
}

static int fake_ioctl(int device, unsigned long request, void *argument)
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
		if (wrong.no_sgx2)
			return fail(wrong.probe_errno != 0 ? wrong.probe_errno : ENODEV);
		return fail(enclave->initialised ? EOPNOTSUPP : EINVAL);
	default:
		return fail(ENOTTY);
	}
}

/* A TCS is mapped like data and can be read by nobody. Pages to come by EAUG cannot either, until EACCEPT. */
static void *fake_mmap(void *address, size_t size, int protection, int flags, int device, off_t at)
{
	struct fake_enclave *enclave = of_device(device);
	struct tresor_image *image = &enclave->image;
	const uint64_t offset = (uint64_t)((uintptr_t)address - image->secs.base);
	uint64_t absent = 0;
	bool is_tcs = false;

	if (wrong.map_errno != 0 || (wrong.no_exec && protection & PROT_EXEC)) {
		errno = wrong.map_errno != 0 ? wrong.map_errno : EPERM;
		return MAP_FAILED;
	}
	errno = EINVAL;
	if (flags != (MAP_SHARED | MAP_FIXED) || at != 0 || size == 0 || (offset | size) % SGX_PAGE_SIZE != 0)
		return MAP_FAILED;
	errno = EACCES;
	if (!enclave->created || offset >= image->secs.size || size > image->secs.size - offset)
		return MAP_FAILED;
	for (uint64_t i = offset / SGX_PAGE_SIZE; i < (offset + size) / SGX_PAGE_SIZE; i++) {
		const int allowed = image->pages[i] & TRESOR_PAGE_TCS ? PROT_READ | PROT_WRITE :
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

/* ---- the CPU and the vDSO ---- */

/* As the kernel's fixup leaves things: out of the enclave, the registers synthetic. */
static void leave_by_exception(ucontext_t *frame, uint32_t leaf, uint16_t vector, uint16_t error_code,
			       uint64_t address)
{
	greg_t *registers = frame->uc_mcontext.gregs;

	memset(registers, 0, REG_RIP * sizeof(registers[0]));
	memset(frame->uc_mcontext.fpregs->_xmm, 0, sizeof(frame->uc_mcontext.fpregs->_xmm));
	frame->uc_mcontext.fpregs->mxcsr = 0x1f80;
	registers[REG_RSP] = visit.rsp;
	registers[REG_RBP] = visit.rbp;
	registers[REG_RAX] = leaf;
	registers[REG_RDI] = vector;
	registers[REG_RSI] = error_code;
	registers[REG_RDX] = (greg_t)address;
	registers[REG_RIP] = (greg_t)(uintptr_t)tresor_fake_exception;
	registers[REG_EFL] = 0x202;
}

/* SDM vol. 3D, EENTER. */
static void eenter(ucontext_t *frame)
{
	struct fake_enclave *enclave = visit.enclave;
	const struct tresor_image *image = &enclave->image;
	greg_t *registers = frame->uc_mcontext.gregs;
	const uint64_t tcs = (uint64_t)registers[REG_RBX];
	uint32_t free_frame = 0;

	visit.rsp = registers[REG_RSP];
	visit.rbp = registers[REG_RBP];
	if (__atomic_load_n(&enclave->lost, __ATOMIC_ACQUIRE)) {
		leave_by_exception(frame, SGX_EENTER, VECTOR_PF, PF_SGX | 4, tcs);
		return;
	}
	for (uint32_t i = 0; i < image->thread_count; i++) {
		if (image->secs.base + image->threads[i].tcs == tcs &&
		    __atomic_compare_exchange_n(&enclave->cssa[i], &free_frame, 1, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED)) {
			visit.thread = (int)i;
			registers[REG_RAX] = 0;
			registers[REG_RCX] = (greg_t)(uintptr_t)(tresor_fake_aep + ENCLU_SIZE);
			registers[REG_RIP] = (greg_t)(image->secs.base + image->threads[i].oentry);
			return;
		}
	}
	leave_by_exception(frame, SGX_EENTER, VECTOR_GP, 0, 0);
}

static bool is_inside(const struct fake_enclave *enclave, uint64_t address)
{
	return address - enclave->image.secs.base < enclave->image.secs.size;
}

/* EEXIT keeps RSP and RBP: on them the vDSO stands. */
static bool eexit(greg_t *registers)
{
	if (registers[REG_RBX] != (greg_t)(uintptr_t)(tresor_fake_aep + ENCLU_SIZE) ||
	    registers[REG_RSP] != visit.rsp || registers[REG_RBP] != visit.rbp)
		return false;
	registers[REG_RIP] = registers[REG_RBX];
	registers[REG_RCX] = (greg_t)(uintptr_t)tresor_fake_aep;
	__atomic_store_n(&visit.enclave->cssa[visit.thread], 0, __ATOMIC_RELEASE);
	visit.thread = -1;
	return true;
}

/* False: the leaf faults. */
static bool enclu(greg_t *registers)
{
	struct fake_enclave *enclave = visit.enclave;
	const uint32_t leaf = (uint32_t)registers[REG_RAX];
	const uint64_t page = (uint64_t)registers[REG_RCX] / SGX_PAGE_SIZE * SGX_PAGE_SIZE;
	const uint64_t zero_flag = 0x40, other_flags = 0x895;	/* CF, PF, AF, SF, OF */
	uint64_t result;

	if (leaf == ENCLU_EEXIT)
		return eexit(registers);
	result = tresor_emulate(&enclave->emulator, leaf, (uint64_t)registers[REG_RBX], (uint64_t)registers[REG_RCX],
				(uint64_t)registers[REG_RDX]);
	if (result == TRESOR_EMULATOR_FAULT)
		return false;
	/* Accepted memory starts as zeros; the memfd's does. */
	if (leaf == ENCLU_EACCEPT && result == 0 &&
	    mprotect((void *)(uintptr_t)page, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE) != 0)
		return false;
	registers[REG_RAX] = (greg_t)result;
	registers[REG_EFL] = (greg_t)((registers[REG_EFL] & (greg_t)~(zero_flag | other_flags)) |
				      (greg_t)(result != 0 ? zero_flag : 0));
	registers[REG_RIP] += ENCLU_SIZE;
	return true;
}

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
#define FAULT_SIGNALS	(sizeof(fault_signals) / sizeof(fault_signals[0]))
static struct sigaction previous[FAULT_SIGNALS];

static void chain(int signal, siginfo_t *info, void *context)
{
	for (size_t i = 0; i < FAULT_SIGNALS; i++) {
		const struct sigaction *before = &previous[i];

		if (fault_signals[i] != signal)
			continue;
		if (before->sa_flags & SA_SIGINFO)
			before->sa_sigaction(signal, info, context);
		else
			sigaction(signal, before, NULL);	/* faults again, with nobody to catch it */
	}
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	ucontext_t *frame = context;
	greg_t *registers = frame->uc_mcontext.gregs;
	const uint64_t rip = (uint64_t)registers[REG_RIP];
	struct fake_enclave *enclave = visit.enclave;
	uint16_t vector = (uint16_t)registers[REG_TRAPNO], error_code = (uint16_t)registers[REG_ERR];
	bool is_enclu;

	if (enclave == NULL || info->si_code <= 0 || (visit.thread < 0 && rip != (uintptr_t)tresor_fake_aep)) {
		chain(signal, info, context);
		return;
	}
	if (visit.thread < 0) {
		eenter(frame);
		return;
	}
	/* Without SGX #UD, with it #GP: this "enclave" is none. */
	is_enclu = (vector == VECTOR_UD || vector == VECTOR_GP) && is_inside(enclave, rip) &&
		   memcmp((const void *)rip, "\x0f\x01\xd7", ENCLU_SIZE) == 0;
	if (is_enclu && enclu(registers))
		return;
	if (is_enclu)
		vector = VECTOR_GP;
	if (vector == VECTOR_PF && __atomic_load_n(&enclave->lost, __ATOMIC_ACQUIRE))
		error_code |= PF_SGX;
	/* AEX: the only SSA frame stays in use. */
	leave_by_exception(frame, SGX_ERESUME, vector, error_code,
			   vector == VECTOR_PF ? (uint64_t)registers[REG_CR2] & ~0xfffull : 0);
	visit.thread = -1;
}

int tresor_fake_begin(struct sgx_enclave_run *run, uint32_t function)
{
	uint64_t blocked = UINT64_MAX;
	stack_t stack = { .ss_size = SIGNAL_STACK };

	__atomic_fetch_add(&counters.entries, 1, __ATOMIC_RELAXED);
	if ((function != SGX_EENTER && function != SGX_ERESUME) || !is_zero(run->reserved, sizeof(run->reserved)))
		return -EINVAL;
	if (wrong.enter_result != 0)
		return wrong.enter_result;
	visit.enclave = NULL;
	for (int i = 0; i < ENCLAVES && visit.enclave == NULL; i++) {
		if (enclaves[i].open && enclaves[i].initialised && is_inside(&enclaves[i], run->tcs))
			visit.enclave = &enclaves[i];
	}
	if (visit.enclave == NULL)
		return -EFAULT;
	visit.thread = -1;
	for (uint32_t i = 0; i < visit.enclave->image.thread_count; i++) {
		if (visit.enclave->image.secs.base + visit.enclave->image.threads[i].tcs == run->tcs)
			stack.ss_sp = visit.enclave->stacks[i];
	}
	/* A frame of a signal would lie on the enclave's stack. */
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		blocked &= ~(1ull << (fault_signals[i] - 1));
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, &visit.mask, sizeof(visit.mask));
	sigaltstack(&stack, &visit.stack);
	return 0;
}

void tresor_fake_end(void)
{
	visit.enclave = NULL;
	sigaltstack(&visit.stack, NULL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &visit.mask, NULL, sizeof(visit.mask));
}

static vdso_sgx_enter_enclave_t fake_find_enter(void)
{
	return wrong.no_vdso ? NULL : tresor_fake_vdso;
}

static const struct tresor_sgx_system fake_system = {
	.open_device = fake_open,
	.ioctl = fake_ioctl,
	.mmap = fake_mmap,
	.close = fake_close,
	.find_enter = fake_find_enter,
};

/* ---- Node-API ---- */

static int32_t get(napi_env env, napi_value object, const char *name)
{
	napi_value value;
	int32_t number = 0;

	napi_get_named_property(env, object, name, &value);
	napi_get_value_int32(env, value, &number);
	return number;
}

/* Replaces what goes wrong; what is not named goes well. */
static napi_value js_configure(napi_env env, napi_callback_info info)
{
	napi_value object;
	size_t argc = 1;

	napi_get_cb_info(env, info, &argc, &object, NULL, NULL);
	wrong.open_errno = get(env, object, "openErrno");
	wrong.create_errno = get(env, object, "createErrno");
	wrong.add_errno = get(env, object, "addErrno");
	wrong.add_after = get(env, object, "addAfter");
	wrong.init_errno = get(env, object, "initErrno");
	wrong.map_errno = get(env, object, "mapErrno");
	wrong.probe_errno = get(env, object, "probeErrno");
	wrong.enter_result = get(env, object, "enterResult");
	wrong.partial = get(env, object, "partial");
	wrong.over_count = get(env, object, "overCount");
	wrong.interrupt_add = get(env, object, "interruptAdd");
	wrong.interrupt_init = get(env, object, "interruptInit");
	wrong.no_exec = get(env, object, "noExec");
	wrong.no_vdso = get(env, object, "noVdso");
	wrong.no_sgx2 = get(env, object, "noSgx2");
	tresor_cpu_svn[0] = 1 + (uint8_t)get(env, object, "microcodeUpdates");
	return NULL;
}

/* Since the last call; `open` is what is open now. */
static napi_value js_counters(napi_env env, napi_callback_info info)
{
	const struct { const char *name; uint32_t value; } all[] = {
		{ "open", counters.open }, { "addCalls", counters.add_calls }, { "pages", counters.pages },
		{ "initCalls", counters.init_calls }, { "entries", counters.entries },
	};
	napi_value object, number;

	(void)info;
	napi_create_object(env, &object);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		napi_create_uint32(env, all[i].value, &number);
		napi_set_named_property(env, object, all[i].name, number);
	}
	counters.add_calls = counters.pages = counters.init_calls = counters.entries = 0;
	return object;
}

/* Suspend: every EPC is gone at once, threads inside or not. */
static napi_value js_lose(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
	for (int i = 0; i < ENCLAVES; i++) {
		struct fake_enclave *enclave = &enclaves[i];

		if (!enclave->open || !enclave->initialised)
			continue;
		__atomic_store_n(&enclave->lost, 1, __ATOMIC_RELEASE);
		mprotect((void *)(uintptr_t)enclave->image.secs.base, enclave->image.secs.size, PROT_NONE);
	}
	return NULL;
}

/* Whether tresor_vdso_symbol finds a function in the kernel's own vDSO. */
static napi_value js_vdso_has(napi_env env, napi_callback_info info)
{
	napi_value argument, result;
	size_t argc = 1, length;
	char name[64] = "";

	napi_get_cb_info(env, info, &argc, &argument, NULL, NULL);
	napi_get_value_string_utf8(env, argument, name, sizeof(name), &length);
	napi_get_boolean(env, tresor_vdso_symbol((const void *)getauxval(AT_SYSINFO_EHDR), name) != NULL, &result);
	return result;
}

static napi_value register_all(napi_env env, napi_value exports)
{
	static const napi_property_descriptor functions[] = {
		{ .utf8name = "configure", .method = js_configure },
		{ .utf8name = "counters", .method = js_counters },
		{ .utf8name = "lose", .method = js_lose },
		{ .utf8name = "vdsoHas", .method = js_vdso_has },
	};
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		sigaction(fault_signals[i], &action, &previous[i]);
	tresor_sgx_system = &fake_system;
	tresor_enclave_register(env, exports);
	napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
	return exports;
}

NAPI_MODULE(NODE_GYP_MODULE_NAME, register_all)
