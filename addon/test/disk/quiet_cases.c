/* SPDX-License-Identifier: Apache-2.0 */
/* A range that is to be quiet. */
#include "addon/disk/quiet.h"
#include "addon/test/disk/check.h"

/* What is under way there is waited for; one that was given up is waited for by the next. */
static void quiet_counts(void)
{
	struct quiet quiet = { 0 };
	unsigned first, second, third;

	CHECK(quiet_enter(&quiet, 0, 4096, &first));
	CHECK(quiet_set(&quiet, 0, 4096));
	CHECK(!quiet_reached(&quiet));
	CHECK(!quiet_enter(&quiet, 0, 2 * 4096, &second));
	CHECK(quiet_enter(&quiet, 4096, 4096, &second));
	CHECK(!quiet_reached(&quiet));
	quiet_clear(&quiet);
	CHECK(quiet_enter(&quiet, 0, 4096, &third));
	CHECK(!quiet_set(&quiet, 0, 4096));
	quiet_leave(&quiet, first);
	CHECK(quiet_set(&quiet, 0, 4096));
	quiet_leave(&quiet, second);
	CHECK(!quiet_reached(&quiet));
	quiet_leave(&quiet, third);
	CHECK(quiet_reached(&quiet));
}

const struct test_case quiet_cases[] = {
	{ "a range is quiet when all that was under way has ended", quiet_counts },
	{ NULL, NULL },
};
