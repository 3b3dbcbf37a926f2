/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the addon's own: which signals reach them. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "addon/test/disk/check.h"
#include "addon/thread.h"

#define STACK	(256u * 1024u)
#define PAGE	4096u

/* A page behind the end of its file. */
static volatile uint8_t *lost;

static void repair(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	/* By this thread, not by one that Node would have taken it on. */
	if (info->si_addr == (const void *)lost)
		mmap((void *)lost, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void *touch(void *argument)
{
	*(uint8_t *)argument = *lost;
	return NULL;
}

/* As when a guest takes memory away, or the software enclave faults. Blocked, it would end the process. */
static void faults(void)
{
	const int file = memfd_create("empty", MFD_CLOEXEC);
	struct sigaction action = { .sa_sigaction = repair, .sa_flags = SA_SIGINFO }, before;
	uint8_t byte = 1;
	pthread_t thread;

	CHECK(file >= 0);
	lost = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(lost != MAP_FAILED);
	CHECK_EQUAL(sigaction(SIGBUS, &action, &before), 0);
	CHECK_EQUAL(thread_start(&thread, STACK, touch, &byte), 0);
	CHECK_EQUAL(pthread_join(thread, NULL), 0);
	CHECK_EQUAL(byte, 0);
	CHECK_EQUAL(sigaction(SIGBUS, &before, NULL), 0);
	munmap((void *)lost, PAGE);
	close(file);
}

static void *mask_of(void *argument)
{
	pthread_sigmask(SIG_BLOCK, NULL, argument);
	return NULL;
}

static void signals(void)
{
	static const int sent[] = { SIGTERM, SIGINT, SIGCHLD, SIGUSR1, SIGALRM, SIGPIPE };
	static const int raised[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	sigset_t before, within, after;
	pthread_t thread;

	pthread_sigmask(SIG_BLOCK, NULL, &before);
	CHECK_EQUAL(thread_start(&thread, STACK, mask_of, &within), 0);
	CHECK_EQUAL(pthread_join(thread, NULL), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	for (unsigned i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		CHECK(sigismember(&within, sent[i]));
		CHECK_EQUAL(sigismember(&after, sent[i]), sigismember(&before, sent[i]));
	}
	for (unsigned i = 0; i < sizeof(raised) / sizeof(raised[0]); i++)
		CHECK(!sigismember(&within, raised[i]));
}

const struct test_case thread_cases[] = {
	{ "a fault on a thread reaches its handler", faults },
	{ "signals that are sent are blocked on a thread, and only there", signals },
	{ NULL, NULL },
};
