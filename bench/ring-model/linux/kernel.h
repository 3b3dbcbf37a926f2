/* SPDX-License-Identifier: Apache-2.0 */
/* As much of the kernel as kernel/queue.c uses, for user space. */
#ifndef MODEL_KERNEL_H
#define MODEL_KERNEL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* What the kernel means by them, in words that ThreadSanitizer knows. */
#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, value)	__atomic_store_n(&(x), (value), __ATOMIC_RELAXED)
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define min_t(type, a, b)	((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define round_up(x, y)		(((x) + (y) - 1) & ~((y) - 1))
#define PAGE_ALIGN(x)		round_up((x), 4096ul)
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#ifdef MODEL_JIFFIES
extern atomic_ulong model_jiffies;
#define jiffies			atomic_load_explicit(&model_jiffies, memory_order_relaxed)
#else
#define jiffies			0ul
#endif
#define time_after(a, b)	((long)((b) - (a)) < 0)
#define GFP_KERNEL		0

static inline u32 array_index_nospec(u32 index, u32 size)
{
	return index & (u32)(((int64_t)index - (int64_t)size) >> 63);
}

/* ---- memory ---- */

static inline void *kvcalloc(size_t count, size_t size, int flags)
{
	(void)flags;
	return calloc(count, size);
}

static inline void *vmalloc_user(size_t size)
{
	void *p = aligned_alloc(4096, size);

	return p ? memset(p, 0, size) : NULL;
}

#define kvfree	free
#define vfree	free

/* ---- locks ---- */

typedef struct {
	atomic_flag held;
} spinlock_t;

static inline void spin_lock_init(spinlock_t *lock)
{
	atomic_flag_clear(&lock->held);
}

static inline void spin_lock_bh(spinlock_t *lock)
{
	while (atomic_flag_test_and_set_explicit(&lock->held, memory_order_acquire))
		__builtin_ia32_pause();
}

static inline void spin_unlock_bh(spinlock_t *lock)
{
	atomic_flag_clear_explicit(&lock->held, memory_order_release);
}

typedef struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	atomic_int sleepers;
} wait_queue_head_t;

static inline void init_waitqueue_head(wait_queue_head_t *queue)
{
	pthread_mutex_init(&queue->mutex, NULL);
	pthread_cond_init(&queue->changed, NULL);
	atomic_store(&queue->sleepers, 0);
}

static inline bool wq_has_sleeper(wait_queue_head_t *queue)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load(&queue->sleepers) != 0;
}

static inline void wake_up_all(wait_queue_head_t *queue)
{
	pthread_mutex_lock(&queue->mutex);
	pthread_cond_broadcast(&queue->changed);
	pthread_mutex_unlock(&queue->mutex);
}

#define wake_up_interruptible	wake_up_all

#define wait_event(queue, condition) do {				\
	pthread_mutex_lock(&(queue)->mutex);				\
	atomic_fetch_add(&(queue)->sleepers, 1);			\
	while (!(condition))						\
		pthread_cond_wait(&(queue)->changed, &(queue)->mutex);	\
	atomic_fetch_sub(&(queue)->sleepers, 1);			\
	pthread_mutex_unlock(&(queue)->mutex);				\
} while (0)

/* ---- lists ---- */

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD(name)	struct list_head name = { &(name), &(name) }

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list_head *list)
{
	return list->next == list;
}

static inline void list_add_tail(struct list_head *node, struct list_head *list)
{
	node->next = list;
	node->prev = list->prev;
	list->prev->next = node;
	list->prev = node;
}

static inline void list_del_init(struct list_head *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	INIT_LIST_HEAD(node);
}

static inline void list_splice_tail_init(struct list_head *from, struct list_head *to)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	INIT_LIST_HEAD(from);
}

#define list_splice_init	list_splice_tail_init

#define list_entry(p, type, member)	container_of(p, type, member)
#define list_first_entry_or_null(list, type, member) \
	(list_empty(list) ? NULL : list_entry((list)->next, type, member))
#define list_for_each_entry(p, list, member) \
	for (p = list_entry((list)->next, __typeof__(*p), member); &p->member != (list); \
	     p = list_entry(p->member.next, __typeof__(*p), member))
#define list_for_each_entry_safe(p, n, list, member) \
	for (p = list_entry((list)->next, __typeof__(*p), member), \
	     n = list_entry(p->member.next, __typeof__(*p), member); &p->member != (list); \
	     p = n, n = list_entry(n->member.next, __typeof__(*n), member))

#endif
