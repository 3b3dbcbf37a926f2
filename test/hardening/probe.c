/* SPDX-License-Identifier: Apache-2.0 */
/* Stands where Node would: says as its first act what kind of process it is. */
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv, char **environment)
{
	const int dumpable = prctl(PR_GET_DUMPABLE);
	struct rlimit core;

	getrlimit(RLIMIT_CORE, &core);
	printf("dumpable %d\ncore %lu %lu\n", dumpable, (unsigned long)core.rlim_cur, (unsigned long)core.rlim_max);
	for (int i = 0; i < argc; i++)
		printf("argument %s\n", argv[i]);
	for (; *environment != NULL; environment++)
		printf("variable %s\n", *environment);
	fflush(stdout);
	execl("/bin/grep", "grep", "-E", "SigBlk|CapEff", "/proc/self/status", (char *)NULL);
	return 1;
}
