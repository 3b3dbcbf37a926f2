/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/sgx/software_entry.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "addon/sgx/backend.h"
#include "addon/sgx/fault.h"

#define VECTOR_GP		13
#define VECTOR_PF		14

uint32_t tresor_software_eenter(struct software_thread *thread, void *request);
void tresor_software_abort(void);
uint64_t tresor_software_leaf(struct software_thread *thread, uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx)
	__attribute__((visibility("hidden")));

/* The thread of an enclave that this thread of ours is in. Read by the signal handler. */
__thread struct software_thread *tresor_software_current
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

static const int fault_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
#define FAULT_SIGNALS	(sizeof(fault_signals) / sizeof(fault_signals[0]))

static struct sigaction previous[FAULT_SIGNALS];
static uint64_t blocked_inside;	/* all but the above; as the kernel has it */

static void chain(int which, int signal, siginfo_t *info, void *context)
{
	const struct sigaction *before = &previous[which];

	if (before->sa_flags & SA_SIGINFO) {
		before->sa_sigaction(signal, info, context);
	} else if (before->sa_handler == SIG_DFL) {
		/* An instruction faults again when we return; a signal that was sent has to be sent again. */
		sigaction(signal, before, NULL);
		if (info->si_code <= 0)
			raise(signal);
	} else if (before->sa_handler != SIG_IGN) {
		before->sa_handler(signal);
	}
}

/*
 * Inside, only the image and the emulator run, and every other signal is
 * blocked: whatever faults there is the enclave's. It ends by returning to
 * tresor_software_abort with no register of the enclave left.
 */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	struct software_thread *thread = tresor_software_current;
	ucontext_t *frame = context;

	if (thread != NULL && info->si_code > 0) {
		thread->vector = (uint16_t)frame->uc_mcontext.gregs[REG_TRAPNO];
		thread->error_code = (uint16_t)frame->uc_mcontext.gregs[REG_ERR];
		/* As SGX tells it: the page, of a page fault alone. */
		if (thread->vector == VECTOR_PF)
			thread->fault_address = (uint64_t)frame->uc_mcontext.gregs[REG_CR2] & ~(SGX_PAGE_SIZE - 1ull);
		memset(frame->uc_mcontext.gregs, 0, REG_RIP * sizeof(frame->uc_mcontext.gregs[0]));
		frame->uc_mcontext.gregs[REG_RSP] = (greg_t)thread->host_rsp;
		frame->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)tresor_software_abort;
		frame->uc_mcontext.gregs[REG_EFL] = 0x202;
		return;
	}
	for (size_t i = 0; i < FAULT_SIGNALS; i++) {
		if (fault_signals[i] == signal)
			chain((int)i, signal, info, context);
	}
}

void tresor_software_catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	blocked_inside = UINT64_MAX;
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		blocked_inside &= ~(1ull << (fault_signals[i] - 1));
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		sigaction(fault_signals[i], &action, &previous[i]);
}

uint64_t tresor_software_leaf(struct software_thread *thread, uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
	return tresor_emulate(thread->emulator, leaf, rbx, rcx, rdx);
}

static void burn(uint32_t cycles)
{
	const uint64_t start = __builtin_ia32_rdtsc();

	while (__builtin_ia32_rdtsc() - start < cycles)
		__builtin_ia32_pause();
}

/* Whether the process has protection keys, which the enclave's XRSTOR would lift. */
static bool has_pkru(void)
{
	static int known;
	unsigned int a, b, c, d;
	int which = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (which == 0) {
		which = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & bit_OSPKE) ? 2 : 1;
		__atomic_store_n(&known, which, __ATOMIC_RELAXED);
	}
	return which == 2;
}

static __attribute__((target("pku"))) uint32_t read_pkru(void)
{
	return _rdpkru_u32();
}

static __attribute__((target("pku"))) void write_pkru(uint32_t pkru)
{
	_wrpkru(pkru);
}

/*
 * No signal but a fault is taken inside: its frame, with the enclave's
 * registers in it, and its handler would be on the enclave's stack. The system
 * call itself, because glibc's wrappers leave two signals of its own open.
 */
uint32_t tresor_software_enter(struct software_thread *thread, void *request)
{
	const bool pkru_used = has_pkru();
	uint32_t status, pkru = 0;
	uint64_t mask;
	stack_t stack;

	/* EENTER: #GP on a TCS that is in use, or whose only SSA frame is. */
	if (__atomic_exchange_n(&thread->busy, 1, __ATOMIC_ACQUIRE) != 0)
		return TRESOR_ENTER_LOST;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked_inside, &mask, sizeof(mask));
	sigaltstack(&thread->signal_stack, &stack);
	if (pkru_used)
		pkru = read_pkru();
	burn(thread->half_cycles);
	thread->vector = VECTOR_GP;
	tresor_software_current = thread;
	status = tresor_software_eenter(thread, request);
	tresor_software_current = NULL;
	burn(thread->half_cycles);
	if (pkru_used)
		write_pkru(pkru);
	sigaltstack(&stack, NULL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
	if (status != TRESOR_ENTER_LOST)
		__atomic_store_n(&thread->busy, 0, __ATOMIC_RELEASE);
	else
		tresor_image_fault(thread->image, "the enclave", thread->vector, thread->error_code,
				   thread->fault_address);
	return status;
}
