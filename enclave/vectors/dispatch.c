/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second image: published vectors and the KDFs' speed, in the product's own
 * objects. No operation takes a key, a passphrase or a seal, and none gives one.
 */
#include "dispatch.h"
#include "ops.h"
#include "vectors/own_ops.h"

uint32_t tresor_size_of(uint32_t op)
{
	switch (op) {
	case TRESOR_OP_HELLO:		return sizeof(struct tresor_hello);
	case TRESOR_OP_SELFTEST:	return sizeof(struct tresor_selftest);
	case TRESOR_OP_BENCHMARK:	return sizeof(struct tresor_benchmark);
	case TRESOR_OP_ASSIST:		return sizeof(struct tresor_assist);
	default:			return 0;
	}
}

uint32_t tresor_dispatch(union tresor_request *request, void *scratch)
{
	(void)scratch;
	switch (request->head.op) {
	case TRESOR_OP_HELLO:		return tresor_op_hello(&request->hello);
	case TRESOR_OP_SELFTEST:	return tresor_op_selftest(&request->selftest);
	case TRESOR_OP_BENCHMARK:	return tresor_op_benchmark(&request->benchmark);
	default:			return tresor_op_assist(&request->assist);
	}
}
