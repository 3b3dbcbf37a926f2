/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only: the CPU of fake.h, and the vDSO together with fake_cpu.S. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "addon/sgx/zeros.h"
#include "addon/test/fake.h"

#define ENCLU_SIZE	3
#define VECTOR_DB	1
#define VECTOR_BP	3
#define VECTOR_UD	6
#define VECTOR_GP	13
#define VECTOR_PF	14
#define TRAP_FLAG	0x100
#define PF_SGX		0x8000u	/* error code: the EPC does not have the page */

struct visit {
	struct fake_enclave *enclave;	/* NULL: not in the vDSO */
	int thread;		/* inside; -1 before EENTER */
	greg_t rsp, rbp;
	stack_t stack;		/* the thread's own */
	uint64_t mask;
};

static __thread struct visit visit __attribute__((tls_model("initial-exec")));

int tresor_fake_begin(struct sgx_enclave_run *run, uint32_t function) __attribute__((visibility("hidden")));
void tresor_fake_end(void) __attribute__((visibility("hidden")));
int tresor_fake_vdso(unsigned long rdi, unsigned long rsi, unsigned long rdx, unsigned int function, unsigned long r8,
		     unsigned long r9, struct sgx_enclave_run *run);
extern const uint8_t tresor_fake_aep[], tresor_fake_exception[];

/* As the kernel's fixup leaves things: out of the enclave, the registers synthetic. */
static void leave_by_exception(ucontext_t *frame, uint32_t leaf, uint16_t vector, uint16_t error_code, uint64_t address)
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

static uint16_t lost_bit(struct fake_enclave *enclave)
{
	return __atomic_load_n(&enclave->lost, __ATOMIC_ACQUIRE) == FAKE_LOST ? PF_SGX : 0;
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
	if (__atomic_load_n(&enclave->lost, __ATOMIC_ACQUIRE) != FAKE_KEPT) {
		leave_by_exception(frame, ENCLU_EENTER, VECTOR_PF, lost_bit(enclave) | 4, tcs);
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
	leave_by_exception(frame, ENCLU_EENTER, VECTOR_GP, 0, 0);
}

static bool is_inside(const struct fake_enclave *enclave, uint64_t address)
{
	return address - enclave->image.secs.base < enclave->image.secs.size;
}

static bool is_canonical(greg_t address)
{
	return address >> 47 == 0 || address >> 47 == -1;
}

/* SDM vol. 3D, EEXIT: to wherever RBX says, with the RSP and RBP that the enclave left. */
static bool eexit(ucontext_t *frame)
{
	greg_t *registers = frame->uc_mcontext.gregs;

	if (!is_canonical(registers[REG_RBX]))
		return false;
	registers[REG_RIP] = registers[REG_RBX];
	registers[REG_RCX] = (greg_t)(uintptr_t)tresor_fake_aep;
	__atomic_store_n(&visit.enclave->cssa[visit.thread], 0, __ATOMIC_RELEASE);
	visit.thread = -1;
	if (registers[REG_RIP] == (greg_t)(uintptr_t)(tresor_fake_aep + ENCLU_SIZE))
		return true;
	/* The vDSO's frame is left behind: the thread goes on as one that never entered. */
	visit.enclave = NULL;
	frame->uc_stack = visit.stack;
	memcpy(&frame->uc_sigmask, &visit.mask, sizeof(visit.mask));
	return true;
}

/* False: the leaf faults. */
static bool enclu(ucontext_t *frame)
{
	greg_t *registers = frame->uc_mcontext.gregs;
	struct fake_enclave *enclave = visit.enclave;
	const uint32_t leaf = (uint32_t)registers[REG_RAX];
	const uint64_t page = (uint64_t)registers[REG_RCX] / SGX_PAGE_SIZE * SGX_PAGE_SIZE;
	const uint64_t zero_flag = 0x40, other_flags = 0x895;	/* CF, PF, AF, SF, OF */
	uint64_t result;

	if (leaf == ENCLU_EEXIT)
		return eexit(frame);
	result = tresor_emulate(&enclave->emulator, leaf, (uint64_t)registers[REG_RBX], (uint64_t)registers[REG_RCX],
				(uint64_t)registers[REG_RDX]);
	if (result == TRESOR_EMULATOR_FAULT)
		return false;
	/* Accepted memory starts as zeros; the memfd's does. */
	if (leaf == ENCLU_EACCEPT && result == 0 &&
	    mprotect((void *)(uintptr_t)page, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE) != 0)
		return false;
	registers[REG_RAX] = (greg_t)result;
	registers[REG_EFL] = (greg_t)((registers[REG_EFL] & (greg_t) ~(zero_flag | other_flags)) |
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
	if (is_enclu && enclu(frame))
		return;
	/* No entry opts in to debugging: single steps are not seen inside, and INT3 is no instruction (SDM vol. 3D). */
	if (vector == VECTOR_DB) {
		registers[REG_EFL] &= ~TRAP_FLAG;
		return;
	}
	if (vector == VECTOR_BP)
		vector = VECTOR_UD;
	if (is_enclu)
		vector = VECTOR_GP;
	if (vector == VECTOR_PF)
		error_code |= lost_bit(enclave);
	/* AEX: the only SSA frame stays in use. */
	leave_by_exception(frame, ENCLU_ERESUME, vector, error_code,
			   vector == VECTOR_PF ? (uint64_t)registers[REG_CR2] & ~0xfffull : 0);
	visit.thread = -1;
}

int tresor_fake_begin(struct sgx_enclave_run *run, uint32_t function)
{
	uint64_t blocked = UINT64_MAX;
	stack_t stack = { .ss_size = FAKE_SIGNAL_STACK };

	__atomic_fetch_add(&fake_counters.entries, 1, __ATOMIC_RELAXED);
	if ((function != ENCLU_EENTER && function != ENCLU_ERESUME) ||
	    !tresor_are_zeros(run->reserved, sizeof(run->reserved)))
		return -EINVAL;
	if (fake_faults.enter_result != 0)
		return fake_faults.enter_result;
	visit.enclave = NULL;
	for (int i = 0; i < FAKE_ENCLAVES && visit.enclave == NULL; i++) {
		if (fake_enclaves[i].open && fake_enclaves[i].initialised && is_inside(&fake_enclaves[i], run->tcs))
			visit.enclave = &fake_enclaves[i];
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

vdso_sgx_enter_enclave_t fake_find_enter(void)
{
	return fake_faults.no_vdso ? NULL : tresor_fake_vdso;
}

void fake_catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < FAULT_SIGNALS; i++)
		sigaction(fault_signals[i], &action, &previous[i]);
}
