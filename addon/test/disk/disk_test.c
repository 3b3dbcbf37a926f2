/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   disk_test --list            names of the cases
 *   disk_test DIRECTORY MEMORY CASE...
 *                               runs these, or all. Files go to the directory, those of the many runs with faults
 *                               to MEMORY, which may be a tmpfs. The first failure aborts.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "addon/test/disk/check.h"
#include "addon/test/disk/store.h"

static const struct test_case *const lists[] = { fault_cases, sync_cases,      close_cases,	 edge_cases,
						 plain_cases, plain_key_cases, page_cache_cases, quiet_cases,
						 key_cases,   ublk_cases,      ublk_key_cases,	 writer_cases,
						 lane_cases,  thread_cases,    virtqueue_cases };

static bool wanted(const char *name, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

int main(int argc, char **argv)
{
	const bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
	struct rlimit files;
	unsigned ran = 0;

	if (!list && argc < 3)
		return 2;
	/* Queues that never end keep theirs. */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (const struct test_case *each = lists[i]; each->name != NULL; each++) {
			if (list) {
				puts(each->name);
			} else if (wanted(each->name, argc - 3, argv + 3)) {
				test_directory = argv[lists[i] == fault_cases ? 2 : 1];
				check_case(each->name);
				each->run();
				ran++;
			}
		}
	}
	return list || ran > 0 ? 0 : 2;
}
