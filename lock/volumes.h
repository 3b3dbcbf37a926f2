/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes that are open on this machine, and the call that wipes their keys. */
#ifndef TRESOR_LOCK_VOLUMES_H
#define TRESOR_LOCK_VOLUMES_H

#include <stdbool.h>
#include <sys/types.h>

enum lock_result {
	LOCK_WIPED,	/* it had keys, and has none now */
	LOCK_NOTHING,	/* it had none; or its device is there */
	LOCK_REFUSED,	/* it keeps them; `reason` is its answer */
	LOCK_SILENT,	/* no answer in time: it may keep them */
};

enum lock_whose { LOCK_EVERYBODYS, LOCK_ROOTS, LOCK_USERS };

struct lock_answer {
	const char *name;
	/* Root's volumes belong to the machine; others to a user's session. */
	uid_t owner;
	enum lock_result result;
	const char *reason;
};

struct lock_request {
	/* Names, up to NULL; NULL: all of everybody. */
	char *const *only;
	enum lock_whose whose;
	/* Only volumes whose device is gone. */
	bool if_removed;
	unsigned seconds;
};

/* Asks all at once and tells each answer, LOCK_NOTHING too. Negative: errno, and some may not have been asked. */
int lock_volumes(const struct lock_request *request, void (*tell)(const struct lock_answer *answer, void *context),
		 void *context);

#endif
