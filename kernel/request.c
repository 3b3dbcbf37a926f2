// SPDX-License-Identifier: GPL-2.0
/* A request as the Crypto API's caller made it: its memory, and the ways back to him. */
#include <crypto/internal/skcipher.h>
#include <linux/bottom_half.h>
#include <linux/scatterlist.h>

#include "tresor.h"

static struct skcipher_request *api_request(struct tresor_request *request)
{
	return container_of((void *)request, struct skcipher_request, __ctx);
}

void tresor_request_read(struct tresor_request *request, u8 *to, u32 length)
{
	sg_pcopy_to_buffer(api_request(request)->src, request->src_nents, to, length,
			   request->done);
}

void tresor_request_write(struct tresor_request *request, const u8 *from, u32 length)
{
	sg_pcopy_from_buffer(api_request(request)->dst, request->dst_nents, from, length,
			     request->done);
}

/*
 * dm-crypt's callback may submit a bio, which may sleep; callers that do not
 * know a backlog (networking) expect a callback with bottom halves off.
 */
static void deliver(struct skcipher_request *api, bool may_backlog, int error)
{
	if (may_backlog) {
		skcipher_request_complete(api, error);
		return;
	}
	local_bh_disable();
	skcipher_request_complete(api, error);
	local_bh_enable();
}

void tresor_request_progress(struct tresor_request *request)
{
	if (!request->owed)
		return;
	request->owed = false;
	deliver(api_request(request), true, -EINPROGRESS);
}

void tresor_request_deliver(struct tresor_request *request)
{
	struct skcipher_request *api = api_request(request);
	bool may_backlog = request->may_backlog;
	int error = request->error;

	if (error)
		tresor_count(TRESOR_COUNT_FAILURES, 1);
	else
		tresor_count(request->decrypt ? TRESOR_COUNT_DECRYPT : TRESOR_COUNT_ENCRYPT, 1);
	if (!error && request->mode != TRESOR_KMODE_ECB)
		memcpy(api->iv, request->iv, sizeof(request->iv));
	deliver(api, may_backlog, error);
}
