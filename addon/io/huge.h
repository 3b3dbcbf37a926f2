/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that disks read and write, in huge pages where Linux gives some (transparent huge pages: madvise, always). 128 KiB
 * are one segment of a request then and not 32: the disk of a virtual machine moves them up to twice as fast.
 */
#ifndef TRESOR_IO_HUGE_H
#define TRESOR_IO_HUGE_H

#include <stddef.h>
#include <stdint.h>

/* Of x86-64, and of arm64 with pages of 4 KiB. */
#define HUGE_PAGE	(2u << 20)

/*
 * `lead` and `size` bytes, of which what follows the lead begins at a huge page; it takes a huge page, or as much as there
 * is, where it is touched first. Not in cores: data in flight. munmap(2) of both gives them back. NULL, and errno.
 */
uint8_t *huge_map(size_t lead, size_t size);

#endif
