/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 WITH Linux-syscall-note */
/**
 * DOC: /dev/tresor/control, between tresor.ko and its daemons
 *
 * The module offers skciphers to the kernel's Crypto API and gives their
 * requests to daemons; one daemon serves one open volume, several may be
 * attached. Opening needs CAP_SYS_ADMIN, besides the node's 0600.
 *
 * Life of a daemon::
 *
 *   fd = open(TRESOR_DEVICE, O_RDWR | O_CLOEXEC)
 *   ioctl(fd, TRESOR_IOC_ATTACH)           queues are made, once per open file
 *   mmap(fd, ...) twice per queue           descriptors read-only, data read-write
 *   load the enclave, unlock the volume
 *   ioctl(fd, TRESOR_IOC_ADD)               from here on requests arrive
 *   per queue, one thread: loop ioctl(fd, TRESOR_IOC_EXCHANGE)
 *   legacy daemons, one thread: loop ioctl(fd, TRESOR_IOC_EVENT)
 *   ioctl(fd, TRESOR_IOC_DROP)              an orderly end: the handle is dead
 *   ioctl(fd, TRESOR_IOC_STOP), close(fd)
 *
 * Ownership of a slot: it is the kernel's, until EXCHANGE returns its number;
 * then it is the daemon's, which reads descriptor and data, works on the data
 * in place and names the slot in the results of a later EXCHANGE; from the
 * moment of that call it is the kernel's again. Results are copied in once,
 * and only what was copied is believed. A number that is out of range, or of a
 * slot the daemon does not own, is counted as rejected and otherwise ignored.
 *
 * Death of a daemon: when the process that attached closes the file or ends
 * (exit, crash, kill), or the last reference to the file goes, without a DROP,
 * its keys are orphans. Requests in flight and new ones wait, for at most the
 * module's grace_seconds, for a daemon that adds the same handle; then they
 * fail with -EIO, as do new ones until such a daemon comes. A daemon that has
 * had a slot for hang_seconds, or takes none for so long while one waits, is
 * treated as dead: its calls return -ESHUTDOWN from then on. It may attach
 * anew, with another file, and add its handles again.
 */
#ifndef TRESOR_ABI_KMOD_H
#define TRESOR_ABI_KMOD_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * Up to version 2 the node was /dev/tresor, which is a directory now, of links to
 * volumes too. A daemon of version 2 gets EISDIR there; a newer one gets ENOTDIR
 * here when the module is of version 2.
 */
#define TRESOR_NODENAME		"tresor/control"
#define TRESOR_DEVICE		"/dev/" TRESOR_NODENAME

#define TRESOR_KMOD_VERSION	3
#define TRESOR_SLOT_SIZE	4096	/* bytes of data in one slot */
#define TRESOR_QUEUES_MAX	32
#define TRESOR_DEPTH_MIN	2
#define TRESOR_DEPTH_MAX	1024	/* slots of one queue; a power of two */
#define TRESOR_BATCH_MAX	64	/* results, and slots, of one exchange */
#define TRESOR_HANDLE_SIZE	32	/* random bytes; worthless without the enclave */
#define TRESOR_CHECK_SIZE	32	/* tells one key from another, and nothing of either */
#define TRESOR_BYTES_MAX	64	/* what dm-crypt's setkey may deliver */

/* Modes; the numbers are enum tresor_mode of abi/enclave.h, see the end. */
#define TRESOR_KMODE_XTS	1
#define TRESOR_KMODE_CBC	2
#define TRESOR_KMODE_CTR	3
#define TRESOR_KMODE_ECB	4
#define TRESOR_KMODE_CBC_ESSIV	5

/**
 * struct tresor_attach - TRESOR_IOC_ATTACH, once per open file
 * @version: TRESOR_KMOD_VERSION; -EPROTO when the module speaks another
 * @queues: 1..TRESOR_QUEUES_MAX; a request goes to the one whose index is its
 *	CPU's number modulo this, unless that one is behind
 * @depth: slots per queue, a power of two
 * @flags: TRESOR_ATTACH_LEGACY
 *
 * -EBUSY: attached already, or another legacy daemon is. The first attach
 * since the module was loaded registers the ciphers.
 */
struct tresor_attach {
	__u32 version;
	__u32 queues;
	__u32 depth;
	__u32 flags;
};

/* Takes setkey bytes that name no handle, as events. One daemon at most. */
#define TRESOR_ATTACH_LEGACY	1u

/*
 * Offsets for mmap(2), MAP_SHARED, at exactly these sizes:
 * descriptors: struct tresor_ring_head, then struct tresor_descriptor[depth]
 * from TRESOR_DESCRIPTORS_OFFSET on, rounded up to pages, PROT_READ;
 * data: depth * TRESOR_SLOT_SIZE, PROT_READ | PROT_WRITE.
 */
#define TRESOR_MMAP_DESCRIPTORS(queue)	((__u64)(queue) << 24)
#define TRESOR_MMAP_DATA(queue)		(((__u64)(queue) << 24) | (1u << 23))
#define TRESOR_DESCRIPTORS_OFFSET	64

/**
 * struct tresor_ring_head - start of the descriptor area
 * @submitted: slots ever made ready for EXCHANGE in this queue; a daemon may
 *	watch it instead of sleeping, between two exchanges
 */
struct tresor_ring_head {
	__u64 submitted;
	__u64 reserved[7];
};

/**
 * struct tresor_descriptor - one request, or one part of a long one
 * @length: bytes in the slot, a multiple of 16 up to TRESOR_SLOT_SIZE
 * @cookie: what the daemon gave for the key at ADD, ANSWER or RELEASE
 * @mode: TRESOR_KMODE_*
 * @decrypt: 0 or 1
 * @flags: TRESOR_PART_CONTINUED
 * @iv: as the Crypto API's caller set it; for XTS and ESSIV the sector number,
 *	little endian; for a continued part what the result before returned
 */
struct tresor_descriptor {
	__u32 length;
	__u32 cookie;
	__u16 mode;
	__u16 decrypt;
	__u32 flags;
	__u8 iv[16];
	__u8 reserved[32];
};

/*
 * XTS: the iv is the running tweak. ESSIV: the iv is the chaining block. The
 * other modes' parts are like requests of their own and do not carry it.
 */
#define TRESOR_PART_CONTINUED	1u

/**
 * struct tresor_result - one slot handed back
 * @slot: number
 * @reserved: 0
 * @status: 0, or a negative errno; anything else than 0 and -ENOKEY is -EIO
 * @iv: for the caller and for the next part: last ciphertext block (CBC, ESSIV),
 *	next counter (CTR), running tweak (XTS); the same as given (ECB)
 */
struct tresor_result {
	__u16 slot;
	__u16 reserved;
	__s32 status;
	__u8 iv[16];
};

/**
 * struct tresor_exchange - TRESOR_IOC_EXCHANGE: commit a batch, fetch the next
 * @queue: which
 * @flags: TRESOR_EXCHANGE_NOWAIT
 * @results: address of struct tresor_result[@commit]
 * @slots: address of __u16[@fetch], written
 * @commit: 0..TRESOR_BATCH_MAX; 0 on return, as results are never taken twice
 * @fetch: 0..TRESOR_BATCH_MAX wanted; on return how many came
 * @bytes: stop fetching at this much data; 0: no such limit
 * @reserved: 0
 *
 * Sleeps, interruptibly, only when nothing is ready, @fetch is not 0 and
 * NOWAIT is not set. -EBUSY: another thread is in EXCHANGE on this queue.
 * -EINTR: a signal; whatever was committed is done. -ESHUTDOWN: after STOP,
 * or declared dead.
 */
struct tresor_exchange {
	__u32 queue;
	__u32 flags;
	__u64 results;
	__u64 slots;
	__u32 commit;
	__u32 fetch;
	__u32 bytes;
	__u32 reserved;
};

#define TRESOR_EXCHANGE_NOWAIT	1u

/**
 * struct tresor_key_handle - TRESOR_IOC_ADD and TRESOR_IOC_DROP
 * @handle: the bytes dm-crypt will deliver as the key
 * @check: what only this key gives (ADD): a digest of known data encrypted
 * @cookie: the daemon's name for the key (ADD), in every descriptor
 * @users: ciphers that hold the key (out)
 *
 * ADD makes the handle live; a handle orphaned by a dead daemon is taken over,
 * waiting requests included. -EEXIST: it is served by a living daemon.
 * -EKEYREJECTED: another key, by its @check, served it before. A handle that
 * was dropped, or died with its daemon unused, may be added anew.
 * DROP kills it for good: -ENOKEY for every later request.
 */
struct tresor_key_handle {
	__u8 handle[TRESOR_HANDLE_SIZE];
	__u8 check[TRESOR_CHECK_SIZE];
	__u32 cookie;
	__u32 users;
};

/**
 * struct tresor_event - TRESOR_IOC_EVENT: what a legacy daemon has to do next
 * @type: TRESOR_EVENT_*
 * @cookie: of the key (FORGET); 0 when it was held only
 * @id: of the key, for ANSWER and RELEASE
 * @mode: TRESOR_KMODE_* (SETKEY)
 * @size: of @bytes, 16..TRESOR_BYTES_MAX (SETKEY)
 * @flags: TRESOR_EVENT_AGAIN
 * @reserved: 0
 * @bytes: what dm-crypt delivered; the module has no copy from here on
 *
 * Sleeps until there is one. -EINTR, -ESHUTDOWN as in EXCHANGE.
 */
struct tresor_event {
	__u32 type;
	__u32 cookie;
	__u64 id;
	__u32 mode;
	__u32 size;
	__u32 flags;
	__u32 reserved;
	__u8 bytes[TRESOR_BYTES_MAX];
};

#define TRESOR_EVENT_SETKEY	1u	/* ANSWER it within setkey_seconds */
#define TRESOR_EVENT_FORGET	2u	/* the last cipher and request are gone: wipe the key */
/*
 * A key of a legacy daemon that died, offered to the next one. @bytes is empty:
 * only a daemon whose passphrase came another way can serve it.
 */
#define TRESOR_EVENT_AGAIN	1u

/**
 * struct tresor_answer - TRESOR_IOC_ANSWER to a SETKEY, TRESOR_IOC_RELEASE of a held key
 * @id: of the event
 * @cookie: the daemon's name for the key
 * @status: 0, TRESOR_ANSWER_HELD (its requests wait for RELEASE, at most
 *	grace_seconds), or a negative errno that setkey will return
 * @check: as in struct tresor_key_handle, with status 0 and with RELEASE
 *
 * -ENOENT: no such key waits; setkey gave up, or the key is gone.
 * -EKEYREJECTED: the key served before with another check; it goes on waiting.
 */
struct tresor_answer {
	__u64 id;
	__u32 cookie;
	__s32 status;
	__u8 check[TRESOR_CHECK_SIZE];
};

#define TRESOR_ANSWER_HELD	1

#define TRESOR_IOC_ATTACH	_IOW('T', 0xe0, struct tresor_attach)
#define TRESOR_IOC_EXCHANGE	_IOWR('T', 0xe1, struct tresor_exchange)
#define TRESOR_IOC_ADD		_IOWR('T', 0xe2, struct tresor_key_handle)
#define TRESOR_IOC_DROP		_IOWR('T', 0xe3, struct tresor_key_handle)
#define TRESOR_IOC_EVENT	_IOR('T', 0xe4, struct tresor_event)
#define TRESOR_IOC_ANSWER	_IOW('T', 0xe5, struct tresor_answer)
#define TRESOR_IOC_RELEASE	_IOW('T', 0xe6, struct tresor_answer)
#define TRESOR_IOC_STOP		_IO('T', 0xe7)

_Static_assert(sizeof(struct tresor_attach) == 16, "abi");
_Static_assert(sizeof(struct tresor_ring_head) == TRESOR_DESCRIPTORS_OFFSET, "abi");
_Static_assert(sizeof(struct tresor_descriptor) == 64, "abi");
_Static_assert(sizeof(struct tresor_result) == 24, "abi");
_Static_assert(sizeof(struct tresor_exchange) == 40, "abi");
_Static_assert(sizeof(struct tresor_key_handle) == 72, "abi");
_Static_assert(sizeof(struct tresor_event) == 96, "abi");
_Static_assert(sizeof(struct tresor_answer) == 48, "abi");

/* Where a daemon's side includes both, enclave.h first. */
#ifdef TRESOR_ABI_ENCLAVE_H
_Static_assert(TRESOR_KMODE_XTS == (int)TRESOR_XTS, "enclave.h");
_Static_assert(TRESOR_KMODE_CBC == (int)TRESOR_CBC, "enclave.h");
_Static_assert(TRESOR_KMODE_CTR == (int)TRESOR_CTR, "enclave.h");
_Static_assert(TRESOR_KMODE_ECB == (int)TRESOR_ECB, "enclave.h");
_Static_assert(TRESOR_KMODE_CBC_ESSIV == (int)TRESOR_CBC_ESSIV, "enclave.h");
#endif

#endif /* TRESOR_ABI_KMOD_H */
