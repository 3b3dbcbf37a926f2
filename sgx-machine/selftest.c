/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of the machine that the kernel's selftest has not: what an enclave may not execute, and exits to other places.
 * Part of that selftest's main.c, see selftest.patch.
 */
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf landed;
static char landing_stack[65536] __attribute__((aligned(16)));

static void __attribute__((used)) land(void)
{
	siglongjmp(landed, 1);
}

void landing(void);
asm(".text\n"
    "landing:\n"
    "	lea landing_stack+65536(%rip), %rsp\n"
    "	call land\n");

static void on_fault(int number, siginfo_t *info, void *context)
{
	siglongjmp(landed, number);
}

static void catch_sigill(void)
{
	const stack_t stack = { .ss_sp = landing_stack, .ss_size = sizeof(landing_stack) };
	const struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaltstack(&stack, NULL);
	sigaction(SIGILL, &action, NULL);
}

static bool enter_for(struct encl *encl, struct sgx_enclave_run *run, uint64_t operation, uint64_t address)
{
	struct encl_op_put_to_addr op = { .header.type = operation, .addr = address };

	memset(run, 0, sizeof(*run));
	run->tcs = encl->encl_base;
	return ENCL_CALL(&op, run, true) == 0;
}

TEST_F(enclave, int3_is_an_invalid_opcode)
{
	ASSERT_TRUE(setup_test_encl(ENCL_HEAP_SIZE_DEFAULT, &self->encl, _metadata));
	EXPECT_TRUE(enter_for(&self->encl, &self->run, ENCL_OP_INT3, 0));
	EXPECT_EQ(self->run.function, ERESUME);
	EXPECT_EQ(self->run.exception_vector, 6);
}

TEST_F(enclave, cpuid_is_an_invalid_opcode)
{
	ASSERT_TRUE(setup_test_encl(ENCL_HEAP_SIZE_DEFAULT, &self->encl, _metadata));
	EXPECT_TRUE(enter_for(&self->encl, &self->run, ENCL_OP_CPUID, 0));
	EXPECT_EQ(self->run.function, ERESUME);
	EXPECT_EQ(self->run.exception_vector, 6);
}

TEST_F(enclave, eexit_goes_anywhere_outside)
{
	volatile int times = 0;

	ASSERT_TRUE(setup_test_encl(ENCL_HEAP_SIZE_DEFAULT, &self->encl, _metadata));
	if (sigsetjmp(landed, 1) == 0)
		enter_for(&self->encl, &self->run, ENCL_OP_EEXIT, (uint64_t)landing);
	else
		times++;
	EXPECT_EQ(times, 1);
	/* The thread is out: it can enter again. */
	EXPECT_TRUE(enter_for(&self->encl, &self->run, ENCL_OP_NOP, 0));
	EXPECT_EEXIT(&self->run);
}

TEST_F(enclave, eexit_into_the_enclave_fetches_all_ones)
{
	volatile int caught = 0;

	ASSERT_TRUE(setup_test_encl(ENCL_HEAP_SIZE_DEFAULT, &self->encl, _metadata));
	catch_sigill();
	caught = sigsetjmp(landed, 1);
	if (caught == 0)
		enter_for(&self->encl, &self->run, ENCL_OP_EEXIT, encl_get_entry(&self->encl, "encl_dyn_entry") + self->encl.encl_base);
	EXPECT_EQ(caught, SIGILL);
}

TEST_F(enclave, eexit_to_a_noncanonical_address_is_a_fault)
{
	ASSERT_TRUE(setup_test_encl(ENCL_HEAP_SIZE_DEFAULT, &self->encl, _metadata));
	EXPECT_TRUE(enter_for(&self->encl, &self->run, ENCL_OP_EEXIT, 1ull << 62));
	EXPECT_EQ(self->run.function, ERESUME);
	EXPECT_EQ(self->run.exception_vector, 13);
}
