/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TRESOR_SECRET_MEMORY_H
#define TRESOR_SECRET_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Weakest first. */
enum tresor_memory {
	TRESOR_MEMORY_PLAIN,	/* not dumped, but may be swapped */
	TRESOR_MEMORY_MLOCK,	/* neither; root can read it */
	TRESOR_MEMORY_SECRET,	/* memfd_secret(2): out of the kernel's own map as well */
};

/* 0, or the errno of memfd_secret(2): ENOSYS where the kernel has none, EPERM where a filter refuses it. */
int tresor_secret_fault(void);
const char *tresor_memory_name(enum tresor_memory kind);

/*
 * Readable and writable zeros, never dumped and not inherited by a child;
 * pages come when touched. At `at`, in place of what is mapped there (whole
 * pages), or anywhere when it is NULL. Takes the best kind of at least `least`
 * the system gives and says which. NULL with errno when there is none.
 */
void *tresor_secret_map(void *at, size_t size, enum tresor_memory least, enum tresor_memory *kind);

/* Wipes what is resident, then leaves the range inaccessible (still reserved). */
void tresor_secret_drop(void *at, size_t size, enum tresor_memory kind);

/* Touches every page, so that none needs the kernel later. */
void tresor_secret_populate(void *at, size_t size);

#endif
