/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dist/tresor and dist/tresord: run PROGRAM.cjs with the Node that lies beside
 * them, in a process that nobody of the same user can read, trace or steer.
 *
 * PR_SET_DUMPABLE does not outlast execve(2): the new image is dumpable again,
 * unless the caller may not read the file (would_dump() in the kernel's
 * fs/exec.c). dist/node therefore has mode 0111, and root gives up the two
 * capabilities that read it all the same; execve(2) gives them back. So there is
 * no moment in which /proc/PID/mem could be opened or a debugger attached.
 *
 * Static: LD_PRELOAD and its kin have nothing to act on.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* cryptsetup's exit codes, as src/base/errors.ts. */
#define EXIT_ARGUMENTS	1
#define EXIT_DENIED	2
#define EXIT_BROKEN	4

/* What Node, V8 and libuv open before the program's own first file; measured with Node 24. */
#define LEAST_FILES	40

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs(PROGRAM ": error: cannot start: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(code);
}

/* The decimal number after `field` in /proc/self/status; -1 when it cannot be read. */
static long status_field(const char *field)
{
	FILE *file = fopen("/proc/self/status", "re");
	long number = -1;
	char line[256];

	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			number = strtol(line + strlen(field), NULL, 10);
	fclose(file);
	return number;
}

static void refuse_tracer(void)
{
	long tracer = status_field("TracerPid:");

	if (tracer < 0)
		fail(EXIT_DENIED, "/proc/self/status cannot be read, so a tracer would go unseen; mount /proc");
	if (tracer > 0)
		fail(EXIT_DENIED,
		     "process %ld traces this one and would see every passphrase and key; run it without strace or gdb",
		     tracer);
}

static void forbid_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
		fail(EXIT_DENIED, "core dumps cannot be forbidden: %s", strerror(errno));
}

static void need_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < LEAST_FILES)
		fail(EXIT_BROKEN, "only %lu open files are allowed and %d are needed; raise the limit (ulimit -n)",
		     (unsigned long)limit.rlim_max, LEAST_FILES);
}

/* RFC 3629: no overlong form, no surrogate, nothing beyond U+10FFFF. */
static bool is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at != 0) {
		unsigned char first = *at++, low = 0x80, high = 0xbf;
		int more = first < 0x80 ? 0 :
			   first < 0xc2 ? -1 :
			   first < 0xe0 ? 1 :
			   first < 0xf0 ? 2 :
			   first < 0xf5 ? 3 :
					  -1;

		if (more < 0)
			return false;
		if (first == 0xe0)
			low = 0xa0;
		else if (first == 0xed)
			high = 0x9f;
		else if (first == 0xf0)
			low = 0x90;
		else if (first == 0xf4)
			high = 0x8f;
		for (; more > 0; more--, low = 0x80, high = 0xbf)
			if (*at < low || *at++ > high)
				return false;
	}
	return true;
}

/* Node would replace such bytes, and the command would be about another file. */
static void need_text(char **argv)
{
	for (int i = 1; argv[i] != NULL; i++)
		if (!is_utf8(argv[i]))
			fail(EXIT_ARGUMENTS, "argument %d is not UTF-8; rename the file, or name it by a symbolic link",
			     i);
}

/*
 * Variables by which the dynamic loader, libc, libuv, Node or OpenSSL take code,
 * options, a debugger or files of their own. The rest stays: ssh, mount and
 * other programs that the command line starts live on it.
 */
static const char *const prefixes[] = { "LD_", "GLIBC_", "MALLOC_", "NODE_", "UV_", "V8_", "OPENSSL_", "SSL_" };
static const char *const names[] = {
	"GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "ICU_DATA",		"LOCALDOMAIN",	 "LOCPATH",
	"NIS_PATH",   "NLSPATH",     "RES_OPTIONS", "RESOLV_HOST_CONF", "SSLKEYLOGFILE", "TZDIR",
};

static bool steers(const char *variable)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0 && variable[strlen(names[i])] == '=')
			return true;
	return false;
}

static void clean_environment(char **environment)
{
	char **kept = environment;

	for (char **each = environment; *each != NULL; each++)
		if (!steers(*each))
			*kept++ = *each;
	*kept = NULL;
}

/* Node unblocks no signal: SIGUSR1 waits until tresord listens for it. Before, its default would end the process. */
static void hold_sigusr1(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/*
 * A tresord that takes a volume over is to be systemd's child, not that of the tresord which has started it: systemd
 * waits at a stop for the main process only if that is its own, and kills any other at once.
 */
static void leave_starter(char **argv)
{
	pid_t child;

	for (int i = 1; argv[i] != NULL && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--take-over") != 0)
			continue;
		child = fork();
		if (child < 0)
			fail(EXIT_BROKEN, "no second process: %s", strerror(errno));
		if (child > 0)
			_exit(0);
		return;
	}
}

/* From here on files are opened as by a user without privileges. */
static void give_up_reading(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, sets) != 0)
		fail(EXIT_DENIED, "capabilities cannot be read: %s", strerror(errno));
	sets[0].effective &= ~((1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH));
	if (syscall(SYS_capset, &header, sets) != 0)
		fail(EXIT_DENIED, "capabilities cannot be given up: %s", strerror(errno));
}

/* The folder of this program, whatever link it was started by. */
static void find_folder(char folder[PATH_MAX])
{
	ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);

	if (length <= 0)
		fail(EXIT_BROKEN, "/proc/self/exe cannot be read: %s", strerror(errno));
	folder[length] = 0;
	*strrchr(folder, '/') = 0;
}

static const char *beside(const char *folder, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		fail(EXIT_BROKEN, "out of memory");
	return path;
}

int main(int argc, char **argv, char **environment)
{
	char folder[PATH_MAX];
	const char *node, **words;
	size_t count = 0;
	int fd;

	hold_sigusr1();
	forbid_dumps();
	refuse_tracer();
	need_files();
	need_text(argv);
	leave_starter(argv);
	find_folder(folder);
	node = beside(folder, "node");
	/* Opened while directories on the way may still be passed as root. */
	fd = open(node, O_PATH | O_CLOEXEC);
	if (fd < 0)
		fail(EXIT_BROKEN, "%s: %s; build again with `npm run build`", node, strerror(errno));

	words = calloc((size_t)argc + 4, sizeof(*words));
	if (words == NULL)
		fail(EXIT_BROKEN, "out of memory");
	words[count++] = PROGRAM;
	words[count++] = "--disable-sigusr1";
	words[count++] = beside(folder, PROGRAM ".cjs");
	for (int i = 1; i < argc; i++)
		words[count++] = argv[i];

	clean_environment(environment);
	give_up_reading();
	execveat(fd, "", (char *const *)words, environment, AT_EMPTY_PATH);
	fail(EXIT_BROKEN, "%s cannot be run: %s", node, strerror(errno));
}
