/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/tpm/tpm.h"

#include <pthread.h>
#include <string.h>

#define SRK_HANDLE 0x81000001u /* TCG Provisioning Guidance: the storage root key, where one is kept */
#define SESSION_HMAC 0x00
#define SESSION_POLICY 0x01
#define SESSION_CONTINUE 0x01
#define SESSION_DECRYPT 0x20
#define SESSION_ENCRYPT 0x40
#define ALG_SHA256 0x000b
#define CAP_TPM_PROPERTIES 6
#define PT_PERMANENT 0x200
#define PT_COUNT 32

/* TPMT_SYM_DEF: AES, 128 bits, CFB */
static const uint8_t AES_128_CFB[] = { 0, 0x06, 0, 128, 0, 0x43 };
/* A TPM2B or TPML without content. */
static const uint8_t EMPTY_2B[] = { 0, 0 };
static const uint8_t EMPTY_LIST[] = { 0, 0, 0, 0 };
/* TPM2B_SENSITIVE_CREATE: no authValue, no data */
static const uint8_t NO_SENSITIVE[] = { 0, 4, 0, 0, 0, 0 };

/*
 * objectAttributes of a storage key (Part 2, 8.3): fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted,
 * decrypt; not sign. noDA may be either.
 */
#define STORAGE_ATTRIBUTES 0x00030072u
#define STORAGE_MASK 0x00070072u

/* One conversation. The libraries keep state of their own, so there is one at a time. */
struct talk {
	const struct tss *tss;
	struct tss_tcti *tcti;
	void *context;
	struct tpm_fault *fault;
	tss_object parent, session, item;
	bool made_parent;
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* Whether `rc` is well; else the fault, the first of a conversation. */
static bool well(struct talk *talk, const char *stage, tss_rc rc)
{
	if (rc == 0)
		return true;
	if (talk->fault->stage == NULL) {
		talk->fault->stage = stage;
		talk->fault->rc = rc;
	}
	return false;
}

static bool open_talk(struct talk *talk, const struct tpm_place *place, struct tpm_fault *fault)
{
	tss_rc rc = 0;

	*fault = (struct tpm_fault){ 0 };
	*talk = (struct talk){ .fault = fault, .parent = TSS_NONE, .session = TSS_NONE, .item = TSS_NONE };
	pthread_mutex_lock(&one_at_a_time);
	talk->tss = tss_load(&fault->missing);
	if (talk->tss != NULL)
		talk->tcti = tss_tcti_open(place->kind, place->path, &rc, &fault->missing);
	if (talk->tcti == NULL) {
		fault->stage = "open";
		fault->rc = rc;
		return false;
	}
	return well(talk, "open", talk->tss->Esys_Initialize(&talk->context, tss_tcti_context(talk->tcti), NULL));
}

static void flush(struct talk *talk, tss_object *object)
{
	if (*object != TSS_NONE)
		talk->tss->Esys_FlushContext(talk->context, *object);
	*object = TSS_NONE;
}

/* A TPM has three slots for objects and as many for sessions: what is left in one is missed by all. */
static void close_talk(struct talk *talk)
{
	if (talk->context != NULL) {
		flush(talk, &talk->item);
		flush(talk, &talk->session);
		if (talk->made_parent)
			flush(talk, &talk->parent);
		talk->tss->Esys_Finalize(&talk->context);
	}
	if (talk->tcti != NULL)
		tss_tcti_close(talk->tcti);
	pthread_mutex_unlock(&one_at_a_time);
}

static bool unpack(struct talk *talk, tss_unmarshal *unmarshal, const uint8_t *bytes, size_t size,
		   struct tss_struct *to)
{
	size_t offset = 0;

	memset(to, 0, sizeof(*to));
	return well(talk, "format", unmarshal(bytes, size, &offset, to));
}

/* Frees `from`, which the library allocated. */
static bool pack(struct talk *talk, tss_marshal *marshal, void *from, struct tpm_wire *to)
{
	bool done;

	to->size = 0;
	done = well(talk, "format", marshal(from, to->bytes, sizeof(to->bytes), &to->size));
	talk->tss->Esys_Free(from);
	return done;
}

static bool name_of(struct talk *talk, tss_object object, struct tpm_wire *name)
{
	void *found = NULL;

	return well(talk, "parent", talk->tss->Esys_TR_GetName(talk->context, object, &found)) &&
	       pack(talk, talk->tss->Tss2_MU_TPM2B_NAME_Marshal, found, name);
}

static bool same(const struct tpm_wire *a, const struct tpm_wire *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* Whether the key that is kept can be a parent: a storage key of the TPM's own. */
static bool is_storage(struct talk *talk, tss_object object)
{
	const struct tss *tss = talk->tss;
	struct tpm_wire public;
	void *found = NULL, *name = NULL, *qualified = NULL;
	uint32_t attributes;

	if (tss->Esys_ReadPublic(talk->context, object, TSS_NONE, TSS_NONE, TSS_NONE, &found, &name, &qualified) != 0)
		return false;
	tss->Esys_Free(name);
	tss->Esys_Free(qualified);
	/* TPM2B: size, type, nameAlg, objectAttributes */
	if (!pack(talk, tss->Tss2_MU_TPM2B_PUBLIC_Marshal, found, &public) || public.size < 10)
		return false;
	attributes = (uint32_t) public.bytes[6] << 24 | public.bytes[7] << 16 | public.bytes[8] << 8 | public.bytes[9];
	return (attributes & STORAGE_MASK) == STORAGE_ATTRIBUTES;
}

/* The key kept at SRK_HANDLE, if it is `wanted` (or a storage key, when none is). False, and no fault: it is not. */
static bool kept_parent(struct talk *talk, const struct tpm_wire *wanted, struct tpm_parent *parent)
{
	struct tpm_wire name;
	tss_object object = TSS_NONE;

	if (talk->tss->Esys_TR_FromTPMPublic(talk->context, SRK_HANDLE, TSS_NONE, TSS_NONE, TSS_NONE, &object) != 0)
		return false;
	if (!name_of(talk, object, &name) || (wanted->size > 0 ? !same(&name, wanted) : !is_storage(talk, object)))
		return false;
	parent->name = name;
	parent->handle = SRK_HANDLE;
	talk->parent = object;
	return true;
}

/* From the owner's seed, which makes the same key of the same template until the TPM is cleared. */
static bool make_parent(struct talk *talk, struct tpm_parent *parent)
{
	const struct tss *tss = talk->tss;
	struct tss_struct template, sensitive, outside, pcrs;
	void *public = NULL, *creation = NULL, *hash = NULL, *ticket = NULL;
	tss_rc rc;

	if (!unpack(talk, tss->Tss2_MU_TPM2B_PUBLIC_Unmarshal, parent->template.bytes, parent->template.size,
		    &template) ||
	    !unpack(talk, tss->Tss2_MU_TPM2B_SENSITIVE_CREATE_Unmarshal, NO_SENSITIVE, sizeof(NO_SENSITIVE),
		    &sensitive) ||
	    !unpack(talk, tss->Tss2_MU_TPM2B_DATA_Unmarshal, EMPTY_2B, sizeof(EMPTY_2B), &outside) ||
	    !unpack(talk, tss->Tss2_MU_TPML_PCR_SELECTION_Unmarshal, EMPTY_LIST, sizeof(EMPTY_LIST), &pcrs))
		return false;
	rc = tss->Esys_CreatePrimary(talk->context, TSS_OWNER, TSS_PASSWORD, TSS_NONE, TSS_NONE, &sensitive, &template,
				     &outside, &pcrs, &talk->parent, &public, &creation, &hash, &ticket);
	if (!well(talk, "primary", rc)) {
		talk->parent = TSS_NONE;
		return false;
	}
	talk->made_parent = true;
	tss->Esys_Free(public);
	tss->Esys_Free(creation);
	tss->Esys_Free(hash);
	tss->Esys_Free(ticket);
	parent->handle = 0;
	return name_of(talk, talk->parent, &parent->name);
}

/*
 * The parent, and a session whose key only it can know (salted), so that no one on the bus reads a secret or changes a
 * parameter: first parameters are encrypted both ways.
 */
static bool begin(struct talk *talk, struct tpm_parent *parent, uint8_t type)
{
	const struct tpm_wire wanted = parent->name;
	const struct tss *tss = talk->tss;
	struct tss_struct symmetric;

	if (!kept_parent(talk, &wanted, parent)) {
		if (talk->fault->stage != NULL || !make_parent(talk, parent))
			return false;
		if (wanted.size > 0 && !same(&parent->name, &wanted))
			return well(talk, "another", 1);
	}
	if (!unpack(talk, tss->Tss2_MU_TPMT_SYM_DEF_Unmarshal, AES_128_CFB, sizeof(AES_128_CFB), &symmetric) ||
	    !well(talk, "session",
		  tss->Esys_StartAuthSession(talk->context, talk->parent, TSS_NONE, TSS_NONE, TSS_NONE, TSS_NONE, NULL,
					     type, &symmetric, ALG_SHA256, &talk->session)))
		return false;
	return well(talk, "session",
		    tss->Esys_TRSess_SetAttributes(talk->context, talk->session,
						   SESSION_CONTINUE | SESSION_DECRYPT | SESSION_ENCRYPT, 0xff));
}

static bool read_pcrs(struct talk *talk, struct tpm_reading *reading)
{
	const struct tss *tss = talk->tss;
	struct tss_struct wanted;
	void *pcrs = NULL, *digests = NULL;
	uint32_t counter;

	if (!unpack(talk, tss->Tss2_MU_TPML_PCR_SELECTION_Unmarshal, reading->selection.bytes, reading->selection.size,
		    &wanted) ||
	    !well(talk, "pcr",
		  tss->Esys_PCR_Read(talk->context, TSS_NONE, TSS_NONE, TSS_NONE, &wanted, &counter, &pcrs, &digests)))
		return false;
	/* Both are freed, whatever the first has come to. */
	return pack(talk, tss->Tss2_MU_TPML_PCR_SELECTION_Marshal, pcrs, &reading->read) &
	       pack(talk, tss->Tss2_MU_TPML_DIGEST_Marshal, digests, &reading->digests);
}

void tpm_read(const struct tpm_place *place, struct tpm_reading *reading, struct tpm_fault *fault)
{
	struct talk talk;
	void *data = NULL;
	uint8_t more;

	if (open_talk(&talk, place, fault) && (reading->selection.size == 0 || read_pcrs(&talk, reading)) &&
	    well(&talk, "properties",
		 talk.tss->Esys_GetCapability(talk.context, TSS_NONE, TSS_NONE, TSS_NONE, CAP_TPM_PROPERTIES,
					      PT_PERMANENT, PT_COUNT, &more, &data)))
		pack(&talk, talk.tss->Tss2_MU_TPMS_CAPABILITY_DATA_Marshal, data, &reading->properties);
	close_talk(&talk);
}

static void create(struct talk *talk, struct tpm_sealing *sealing)
{
	const struct tss *tss = talk->tss;
	struct tss_struct sensitive, template, outside, pcrs;
	void *private = NULL, *public = NULL, *creation = NULL, *hash = NULL, *ticket = NULL;

	if (unpack(talk, tss->Tss2_MU_TPM2B_SENSITIVE_CREATE_Unmarshal, sealing->sensitive.bytes,
		   sealing->sensitive.size, &sensitive) &&
	    unpack(talk, tss->Tss2_MU_TPM2B_PUBLIC_Unmarshal, sealing->public.bytes, sealing->public.size, &template) &&
	    unpack(talk, tss->Tss2_MU_TPM2B_DATA_Unmarshal, EMPTY_2B, sizeof(EMPTY_2B), &outside) &&
	    unpack(talk, tss->Tss2_MU_TPML_PCR_SELECTION_Unmarshal, EMPTY_LIST, sizeof(EMPTY_LIST), &pcrs) &&
	    well(talk, "create",
		 tss->Esys_Create(talk->context, talk->parent, talk->session, TSS_NONE, TSS_NONE, &sensitive, &template,
				  &outside, &pcrs, &private, &public, &creation, &hash, &ticket))) {
		tss->Esys_Free(creation);
		tss->Esys_Free(hash);
		tss->Esys_Free(ticket);
		pack(talk, tss->Tss2_MU_TPM2B_PUBLIC_Marshal, public, &sealing->public);
		pack(talk, tss->Tss2_MU_TPM2B_PRIVATE_Marshal, private, &sealing->private);
	}
	explicit_bzero(&sensitive, sizeof(sensitive));
}

void tpm_seal(const struct tpm_place *place, struct tpm_sealing *sealing, struct tpm_fault *fault)
{
	struct talk talk;

	sealing->parent.name.size = 0;
	if (open_talk(&talk, place, fault) && begin(&talk, &sealing->parent, SESSION_HMAC))
		create(&talk, sealing);
	close_talk(&talk);
	explicit_bzero(&sealing->sensitive, sizeof(sealing->sensitive));
}

static bool load(struct talk *talk, const struct tpm_unsealing *unsealing)
{
	const struct tss *tss = talk->tss;
	struct tss_struct private, public;
	tss_rc rc;

	if (!unpack(talk, tss->Tss2_MU_TPM2B_PRIVATE_Unmarshal, unsealing->private.bytes, unsealing->private.size,
		    &private) ||
	    !unpack(talk, tss->Tss2_MU_TPM2B_PUBLIC_Unmarshal, unsealing->public.bytes, unsealing->public.size,
		    &public))
		return false;
	rc = tss->Esys_Load(talk->context, talk->parent, TSS_PASSWORD, TSS_NONE, TSS_NONE, &private, &public,
			    &talk->item);
	if (rc != 0)
		talk->item = TSS_NONE;
	return well(talk, "load", rc);
}

static bool satisfy(struct talk *talk, const struct tpm_unsealing *unsealing)
{
	const struct tss *tss = talk->tss;
	struct tss_struct digest, pcrs, auth;
	bool done = true;

	if (unsealing->selection.size > 0)
		done = unpack(talk, tss->Tss2_MU_TPM2B_DIGEST_Unmarshal, EMPTY_2B, sizeof(EMPTY_2B), &digest) &&
		       unpack(talk, tss->Tss2_MU_TPML_PCR_SELECTION_Unmarshal, unsealing->selection.bytes,
			      unsealing->selection.size, &pcrs) &&
		       well(talk, "policy",
			    tss->Esys_PolicyPCR(talk->context, talk->session, TSS_NONE, TSS_NONE, TSS_NONE, &digest,
						&pcrs));
	if (!done || unsealing->auth.size == 0)
		return done;
	done = unpack(talk, tss->Tss2_MU_TPM2B_DIGEST_Unmarshal, unsealing->auth.bytes, unsealing->auth.size, &auth) &&
	       well(talk, "policy",
		    tss->Esys_PolicyAuthValue(talk->context, talk->session, TSS_NONE, TSS_NONE, TSS_NONE)) &&
	       well(talk, "policy", tss->Esys_TR_SetAuth(talk->context, talk->item, &auth));
	explicit_bzero(&auth, sizeof(auth));
	return done;
}

static void take(struct talk *talk, struct tpm_wire *to)
{
	const struct tss *tss = talk->tss;
	void *data = NULL;
	uint16_t size;

	if (!well(talk, "unseal",
		  tss->Esys_Unseal(talk->context, talk->item, talk->session, TSS_NONE, TSS_NONE, &data)))
		return;
	if (well(talk, "format",
		 tss->Tss2_MU_TPM2B_SENSITIVE_DATA_Marshal(data, to->bytes, sizeof(to->bytes), &to->size))) {
		/* A TPM2B of bytes is its size and then they, in memory too. */
		memcpy(&size, data, sizeof(size));
		explicit_bzero((uint8_t *)data + sizeof(size), size);
	}
	tss->Esys_Free(data);
}

void tpm_unseal(const struct tpm_place *place, struct tpm_unsealing *unsealing, struct tpm_fault *fault)
{
	struct talk talk;

	unsealing->data.size = 0;
	if (open_talk(&talk, place, fault) && begin(&talk, &unsealing->parent, SESSION_POLICY) &&
	    load(&talk, unsealing) && satisfy(&talk, unsealing))
		take(&talk, &unsealing->data);
	close_talk(&talk);
	explicit_bzero(&unsealing->auth, sizeof(unsealing->auth));
}
