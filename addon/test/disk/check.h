/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the threads of the addon, and of what they call, without Node: a program of named cases, disk_test.c. */
#ifndef TRESOR_TEST_DISK_CHECK_H
#define TRESOR_TEST_DISK_CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			check_failed(); \
		} \
	} while (0)

#define CHECK_EQUAL(actual, expected) \
	do { \
		const long long actual_ = (long long)(actual), expected_ = (long long)(expected); \
		if (actual_ != expected_) { \
			fprintf(stderr, "%s:%d: %s is %lld, not %s = %lld\n", __FILE__, __LINE__, #actual, actual_, \
				#expected, expected_); \
			check_failed(); \
		} \
	} while (0)

/* Says where it was, and aborts. */
_Noreturn void check_failed(void);
/* What a failure names: the case, and which run of it; printf(3). */
void check_case(const char *name);
__attribute__((format(printf, 1, 2))) void check_run(const char *format, ...);

struct test_case {
	const char *name;
	void (*run)(void);
};

/* Ends with a NULL name. */
extern const struct test_case fault_cases[], sync_cases[], close_cases[], edge_cases[], plain_cases[],
	plain_key_cases[], page_cache_cases[], quiet_cases[], key_cases[], ublk_cases[], ublk_key_cases[],
	writer_cases[], lane_cases[], thread_cases[], virtqueue_cases[];

/* A splitmix64 step (Vigna): what is random in a test repeats with its seed. */
uint64_t next_random(uint64_t *state);

#endif
