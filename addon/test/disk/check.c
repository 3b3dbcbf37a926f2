/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/test/disk/check.h"

#include <stdarg.h>

static const char *running = "none";
static char run_name[200];

void check_case(const char *name)
{
	running = name;
	check_run("the only one");
}

void check_run(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(run_name, sizeof(run_name), format, list);
	va_end(list);
}

_Noreturn void check_failed(void)
{
	fprintf(stderr, "in case %s, run: %s\n", running, run_name);
	abort();
}

uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}
