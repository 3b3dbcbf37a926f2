/* SPDX-License-Identifier: Apache-2.0 */
/* A preload library that ends a program at its KILL_AT-th write to a file of 1 MiB or more, and otherwise tells how many there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int writes;

ssize_t write(int fd, const void *bytes, size_t size)
{
	ssize_t (*next)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	const char *at = getenv("KILL_AT");
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 1 << 20 && at && writes++ == atoi(at))
		_exit(99);
	return next(fd, bytes, size);
}

__attribute__((destructor)) static void tell(void)
{
	fprintf(stderr, "writes %d\n", writes);
}
