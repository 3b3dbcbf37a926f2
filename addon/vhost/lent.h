/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that another process shares with us, and can take away while we use it: it cuts the file off, or
 * the machine has no huge page left. What faults there (SIGBUS) finds zeros from then on, and the owner
 * is told. The handler is the process's; other faults go where they went before.
 */
#ifndef TRESOR_VHOST_LENT_H
#define TRESOR_VHOST_LENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LENT_MAX	64u	/* in the process */

/* A whole mapping. `lost`, atomic, becomes true when it was taken away. -1: there are too many. */
int lent_watch(uint8_t *memory, size_t size, bool *lost);
/* Nobody touches it any more. */
void lent_forget(int slot);

#endif
