// SPDX-License-Identifier: GPL-2.0
/* /dev/tresor/control: see abi/kmod.h, which is the manual. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/freezer.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "tresor.h"

/* Results copied in, and completed, at once: kernel stack is dear. */
#define CHUNK	16u

static unsigned int poll_us;
module_param(poll_us, uint, 0644);
MODULE_PARM_DESC(poll_us, "busy-poll for requests before a daemon sleeps (0: off)");

/* Its bound: longer is no poll. */
#define POLL_US_MAX	10000u

/* 0: not attached. Else queues, legacy and process are there to stay. */
static u32 attached(const struct tresor_daemon *daemon)
{
	/* Pairs with the release in tresor_daemon_attach(). */
	return smp_load_acquire(&daemon->queue_count);
}

static int device_open(struct inode *inode, struct file *file)
{
	struct tresor_daemon *daemon;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	daemon = tresor_daemon_make();
	if (!daemon)
		return -ENOMEM;
	file->private_data = daemon;
	return 0;
}

/*
 * A process closes one of its descriptors, or ends. By the one that attached
 * it is the daemon's end, though a child of its may still have the file open.
 */
static int device_flush(struct file *file, fl_owner_t id)
{
	struct tresor_daemon *daemon = file->private_data;

	if (attached(daemon) && task_tgid(current) == daemon->process)
		tresor_daemon_detach(daemon);
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	tresor_daemon_free(file->private_data);
	return 0;
}

static long ioctl_attach(struct tresor_daemon *daemon, void __user *user)
{
	struct tresor_attach arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.version != TRESOR_KMOD_VERSION)
		return -EPROTO;
	if (!arg.queues || arg.queues > TRESOR_QUEUES_MAX || arg.depth < TRESOR_DEPTH_MIN ||
	    arg.depth > TRESOR_DEPTH_MAX || !is_power_of_2(arg.depth) ||
	    (arg.flags & ~TRESOR_ATTACH_LEGACY))
		return -EINVAL;
	return tresor_daemon_attach(daemon, &arg);
}

static int commit(struct tresor_queue *queue, const struct tresor_exchange *arg)
{
	const struct tresor_result __user *user = u64_to_user_ptr(arg->results);
	struct tresor_batch_counts counts = {};
	struct tresor_result results[CHUNK];
	u32 at, count;
	int ret = 0;

	for (at = 0; at < arg->commit; at += count) {
		count = min(arg->commit - at, CHUNK);
		/* Once: what the daemon changes from here on changes nothing. */
		if (copy_from_user(results, user + at, count * sizeof(*results))) {
			ret = -EFAULT;
			break;
		}
		tresor_queue_commit(queue, results, count, &counts);
	}
	tresor_count(TRESOR_COUNT_BATCHES, 1);
	if (counts.rejected)
		tresor_count(TRESOR_COUNT_REJECTED, counts.rejected);
	return ret;
}

static bool has_news(struct tresor_daemon *daemon, struct tresor_queue *queue)
{
	return tresor_queue_ready(queue) || READ_ONCE(daemon->stopped);
}

static void poll_briefly(struct tresor_daemon *daemon, struct tresor_queue *queue)
{
	unsigned int us = min(READ_ONCE(poll_us), POLL_US_MAX);
	ktime_t end = ktime_add_us(ktime_get(), us);

	while (!has_news(daemon, queue) && !need_resched() && !signal_pending(current) &&
	       ktime_before(ktime_get(), end))
		cpu_relax();
}

static int fetch(struct tresor_daemon *daemon, struct tresor_queue *queue,
		 struct tresor_exchange *arg)
{
	u16 __user *user = u64_to_user_ptr(arg->slots);
	u16 slots[TRESOR_BATCH_MAX];
	u32 count;

	for (;;) {
		if (READ_ONCE(daemon->stopped))
			return -ESHUTDOWN;
		count = tresor_queue_fetch(queue, slots, arg->fetch, arg->bytes);
		if (count || !arg->fetch || (arg->flags & TRESOR_EXCHANGE_NOWAIT))
			break;
		if (READ_ONCE(poll_us))
			poll_briefly(daemon, queue);
		/* -EINTR, not a restart: results must not be taken a second time. */
		if (wait_event_interruptible(queue->wait, has_news(daemon, queue)))
			return -EINTR;
	}
	if (copy_to_user(user, slots, count * sizeof(*slots))) {
		tresor_queue_unfetch(queue, slots, count);
		return -EFAULT;
	}
	arg->fetch = count;
	return 0;
}

/*
 * Whoever waits for this thread's answer can not be frozen, as it waits
 * uninterruptibly for a disk: the thread has to work until all others stand
 * still. Then no request is left, and it sleeps here. exec ends it.
 */
static void stay_awake(void)
{
	current->flags |= PF_NOFREEZE;
}

static long ioctl_exchange(struct tresor_daemon *daemon, void __user *user)
{
	struct tresor_exchange arg;
	struct tresor_queue *queue;
	long ret = 0;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.queue >= daemon->queue_count || arg.commit > TRESOR_BATCH_MAX ||
	    arg.fetch > TRESOR_BATCH_MAX || (arg.flags & ~TRESOR_EXCHANGE_NOWAIT) || arg.reserved)
		return -EINVAL;
	queue = &daemon->queues[array_index_nospec(arg.queue, daemon->queue_count)];
	stay_awake();
	if (test_and_set_bit_lock(0, &queue->exchanging))
		return -EBUSY;

	if (arg.commit) {
		ret = commit(queue, &arg);
		arg.commit = 0;
	}
	if (!ret)
		ret = fetch(daemon, queue, &arg);
	clear_bit_unlock(0, &queue->exchanging);
	if (ret)
		arg.fetch = 0;
	if (copy_to_user(user, &arg, sizeof(arg)) && !ret)
		ret = -EFAULT;
	return ret;
}

static long ioctl_handle(struct tresor_daemon *daemon, void __user *user,
			 int (*act)(struct tresor_daemon *, struct tresor_key_handle *))
{
	struct tresor_key_handle arg;
	long ret;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	ret = act(daemon, &arg);
	if (!ret && copy_to_user(user, &arg, sizeof(arg)))
		ret = -EFAULT;
	return ret;
}

static long ioctl_event(struct tresor_daemon *daemon, void __user *user)
{
	struct tresor_event event;
	long ret = 0;

	if (!daemon->legacy)
		return -EINVAL;
	while (!tresor_legacy_next_event(daemon, &event)) {
		if (wait_event_freezable(daemon->event_wait,
					 !list_empty_careful(&daemon->events) ||
						 READ_ONCE(daemon->stopped)))
			return -EINTR;
		if (READ_ONCE(daemon->stopped))
			return -ESHUTDOWN;
	}
	if (copy_to_user(user, &event, sizeof(event)))
		ret = -EFAULT;
	memzero_explicit(&event, sizeof(event));
	return ret;
}

static long ioctl_answer(struct tresor_daemon *daemon, void __user *user,
			 int (*act)(struct tresor_daemon *, const struct tresor_answer *))
{
	struct tresor_answer arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (arg.status > TRESOR_ANSWER_HELD || arg.status < -MAX_ERRNO)
		return -EINVAL;
	return act(daemon, &arg);
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	struct tresor_daemon *daemon = file->private_data;
	void __user *user = (void __user *)arg;

	if (command == TRESOR_IOC_ATTACH)
		return ioctl_attach(daemon, user);
	if (!attached(daemon))
		return -ENOTCONN;
	switch (command) {
	case TRESOR_IOC_EXCHANGE:
		return ioctl_exchange(daemon, user);
	case TRESOR_IOC_ADD:
		return ioctl_handle(daemon, user, tresor_handle_add);
	case TRESOR_IOC_DROP:
		return ioctl_handle(daemon, user, tresor_handle_drop);
	case TRESOR_IOC_EVENT:
		return ioctl_event(daemon, user);
	case TRESOR_IOC_ANSWER:
		return ioctl_answer(daemon, user, tresor_legacy_answer);
	case TRESOR_IOC_RELEASE:
		return ioctl_answer(daemon, user, tresor_legacy_release);
	case TRESOR_IOC_STOP:
		tresor_daemon_detach(daemon);
		return 0;
	}
	return -ENOTTY;
}

static int device_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct tresor_daemon *daemon = file->private_data;
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	unsigned long size = vma->vm_end - vma->vm_start;
	u32 count = attached(daemon);
	u64 index = offset >> 24;
	struct tresor_queue *queue;

	if (index >= count || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	index = array_index_nospec(index, count);
	queue = &daemon->queues[index];
	/* A child process must not keep the file, and with it the requests, alive. */
	vm_flags_set(vma, VM_DONTCOPY);
	/* Data is no code, now or by mprotect() later. */
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	vm_flags_clear(vma, VM_MAYEXEC);
	if (offset == TRESOR_MMAP_DATA(index) && size == (size_t)queue->depth * TRESOR_SLOT_SIZE)
		return remap_vmalloc_range(vma, queue->data, 0);
	if (offset != TRESOR_MMAP_DESCRIPTORS(index) ||
	    size != tresor_descriptors_size(queue->depth))
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	/* Nor by mprotect() later. */
	vm_flags_clear(vma, VM_MAYWRITE);
	return remap_vmalloc_range(vma, queue->head, 0);
}

static const struct file_operations device_operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.flush = device_flush,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = device_mmap,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tresor",
	/* /dev/tresor/NAME is a volume's. */
	.nodename = TRESOR_NODENAME,
	.mode = 0600,
	.fops = &device_operations,
	.groups = tresor_attribute_groups,
};

int tresor_device_register(void)
{
	return misc_register(&device);
}

void tresor_device_unregister(void)
{
	misc_deregister(&device);
}
