/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the newest kernel offers and older ones do not, so that the rest reads
 * like mainline. Oldest supported: 6.1.
 *
 * Completion is not here: skcipher_request_complete() exists on both sides of
 * the change of its callback's type (6.3, and backported by distributions).
 */
#ifndef TRESOR_COMPAT_H
#define TRESOR_COMPAT_H

#include <linux/mm.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* Where a workqueue has to say that it is bound to CPUs. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define TRESOR_WQ_BOUND	0
#else
#define TRESOR_WQ_BOUND	WQ_PERCPU
#endif

#endif
