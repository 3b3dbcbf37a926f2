/* SPDX-License-Identifier: Apache-2.0 */
/*
 * puppet PID FILE [FROM TO]...: a debugger that makes another process write its own memory to a file, by system calls
 * put in the place of the one that it waits in. Addresses are hexadecimal. gdb would do, but the one of Debian 12 cannot
 * set the vector registers of processors with AMX, and so calls nothing there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

static pid_t puppet;

static void check(int done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void wait_for_stop(void)
{
	int status;

	check(waitpid(puppet, &status, __WALL) == puppet && WIFSTOPPED(status), "waitpid");
}

/* By the instruction that the stopped thread has just executed. */
static long call(const struct user_regs_struct *stopped, long number, uint64_t a, uint64_t b, uint64_t c)
{
	struct user_regs_struct regs = *stopped;

	regs.rip = stopped->rip - 2;
	regs.rax = (uint64_t)number;
	/* No call to go on with. */
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	check(ptrace(PTRACE_SETREGS, puppet, NULL, &regs) == 0, "PTRACE_SETREGS");
	check(ptrace(PTRACE_SINGLESTEP, puppet, NULL, NULL) == 0, "PTRACE_SINGLESTEP");
	wait_for_stop();
	check(ptrace(PTRACE_GETREGS, puppet, NULL, &regs) == 0, "PTRACE_GETREGS");
	return (long)regs.rax;
}

/* Below the stack and its red zone, in whole words. */
static uint64_t put_text(const struct user_regs_struct *stopped, const char *text)
{
	const uint64_t at = (stopped->rsp - 8192) & ~7ull;
	char words[4096] = { 0 };

	check(strlen(text) < sizeof(words), "the file's name is too long");
	strcpy(words, text);
	for (size_t i = 0; i <= strlen(text); i += 8) {
		uint64_t word;

		memcpy(&word, words + i, 8);
		check(ptrace(PTRACE_POKEDATA, puppet, (void *)(at + i), (void *)word) == 0, "PTRACE_POKEDATA");
	}
	return at;
}

int main(int argc, char **argv)
{
	struct user_regs_struct stopped;
	long file;

	if (argc < 3)
		return 1;
	puppet = (pid_t)strtol(argv[1], NULL, 10);
	check(ptrace(PTRACE_ATTACH, puppet, NULL, NULL) == 0, "PTRACE_ATTACH");
	wait_for_stop();
	check(ptrace(PTRACE_GETREGS, puppet, NULL, &stopped) == 0, "PTRACE_GETREGS");
	errno = 0;
	check((ptrace(PTRACE_PEEKTEXT, puppet, (void *)(stopped.rip - 2), NULL) & 0xffff) == 0x050f && errno == 0,
	      "it waits in no system call");
	file = call(&stopped, SYS_open, put_text(&stopped, argv[2]), O_WRONLY | O_CREAT | O_APPEND, 0600);
	for (int i = 3; file >= 0 && i + 1 < argc; i += 2) {
		uint64_t from = strtoull(argv[i], NULL, 16);
		const uint64_t to = strtoull(argv[i + 1], NULL, 16);

		while (from < to) {
			const long written = call(&stopped, SYS_write, (uint64_t)file, from, to - from);

			if (written <= 0)
				break;
			from += (uint64_t)written;
		}
	}
	if (file >= 0)
		call(&stopped, SYS_close, (uint64_t)file, 0, 0);
	check(ptrace(PTRACE_SETREGS, puppet, NULL, &stopped) == 0, "PTRACE_SETREGS");
	check(ptrace(PTRACE_DETACH, puppet, NULL, NULL) == 0, "PTRACE_DETACH");
	if (file < 0)
		fprintf(stderr, "open: %s\n", strerror((int)-file));
	return file < 0;
}
