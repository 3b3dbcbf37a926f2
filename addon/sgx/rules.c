/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ECREATE, EADD, EENTER and EINIT refuse, and a little more. Checked here
 * for hardware too, because its driver tells no more than EIO and EPERM.
 */
#include "addon/sgx/rules.h"

#include "addon/sgx/zeros.h"

/* SDM vol. 3D, ECREATE; XSAVE areas as Intel lays them out. */
bool tresor_check_create(const struct tresor_secs *secs, struct tresor_error *error)
{
	uint64_t area = secs->xfrm & SGX_XFRM_AVX512 ? 2688 : secs->xfrm & SGX_XFRM_AVX ? 832 : 576;
	const uint64_t gprs = 184, exinfo = secs->misc_select & 1 ? 16 : 0;

	if (secs->size < 2 * SGX_PAGE_SIZE || (secs->size & (secs->size - 1)) != 0 || secs->size > 1ull << 36)
		return tresor_refuse(error, "SGX_SIZE", "the enclave's size 0x%llx is no power of two in range",
				     (unsigned long long)secs->size);
	if (secs->attributes & ~(SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG) || !(secs->attributes & SGX_ATTR_MODE64BIT))
		return tresor_refuse(error, "SGX_ATTRIBUTES",
				     "ATTRIBUTES 0x%llx are not MODE64BIT, with or without DEBUG",
				     (unsigned long long)secs->attributes);
	if ((secs->xfrm & 3) != 3 || (secs->xfrm & ~(3ull | SGX_XFRM_AVX | SGX_XFRM_AVX512)) != 0 ||
	    ((secs->xfrm & SGX_XFRM_AVX512) != 0 &&
	     (secs->xfrm & (SGX_XFRM_AVX512 | SGX_XFRM_AVX)) != (SGX_XFRM_AVX512 | SGX_XFRM_AVX)))
		return tresor_refuse(error, "SGX_XFRM", "XFRM 0x%llx is not x87 and SSE, with AVX or AVX-512 whole",
				     (unsigned long long)secs->xfrm);
	if (secs->misc_select > 1)
		return tresor_refuse(error, "SGX_MISC_SELECT", "MISCSELECT 0x%x has more than EXINFO",
				     secs->misc_select);
	if (secs->ssa_frame_size > 16 || (uint64_t)secs->ssa_frame_size * SGX_PAGE_SIZE < area + gprs + exinfo)
		return tresor_refuse(error, "SGX_SSA_FRAME_SIZE", "SSAFRAMESIZE %u pages does not fit XFRM 0x%llx",
				     secs->ssa_frame_size, (unsigned long long)secs->xfrm);
	return true;
}

bool tresor_check_range(const struct tresor_image *image, uint64_t offset, uint64_t size, size_t data_size,
			struct tresor_error *error)
{
	if (offset % SGX_PAGE_SIZE != 0 || size % SGX_PAGE_SIZE != 0 || size == 0)
		return tresor_refuse(error, "SGX_PAGE_ALIGNMENT", "0x%llx + 0x%llx are no whole pages",
				     (unsigned long long)offset, (unsigned long long)size);
	if (offset >= image->secs.size || size > image->secs.size - offset)
		return tresor_refuse(error, "SGX_PAGE_RANGE", "0x%llx + 0x%llx lies beyond the enclave's size",
				     (unsigned long long)offset, (unsigned long long)size);
	if (data_size > size)
		return tresor_refuse(error, "SGX_PAGE_RANGE", "more bytes than pages at 0x%llx",
				     (unsigned long long)offset);
	for (uint64_t page = offset / SGX_PAGE_SIZE; page < (offset + size) / SGX_PAGE_SIZE; page++) {
		if (image->pages[page] != 0)
			return tresor_refuse(error, "SGX_PAGE_PRESENT", "the page at 0x%llx was added before",
					     (unsigned long long)page * SGX_PAGE_SIZE);
	}
	return true;
}

/*
 * What EADD refuses in a TCS, and what EENTER would: this tells it at load. A
 * field that EADD would silently clear is refused, since it would be measured
 * cleared.
 */
bool tresor_check_tcs(const struct tresor_image *image, uint64_t offset, const struct sgx_tcs *tcs,
		      struct tresor_error *error)
{
	const uint64_t frame = (uint64_t)image->secs.ssa_frame_size * SGX_PAGE_SIZE;
	const char *fact = NULL;

	if (tcs->state != 0 || tcs->flags != 0 || tcs->cssa != 0 || tcs->aep != 0)
		fact = "STATE, FLAGS, CSSA or AEP set";
	else if (tcs->nssa == 0)
		fact = "no SSA frame";
	else if (tcs->ossa % SGX_PAGE_SIZE != 0 || tcs->ofs_base % SGX_PAGE_SIZE != 0 ||
		 tcs->ogs_base % SGX_PAGE_SIZE != 0)
		fact = "OSSA, OFSBASE or OGSBASE off a page";
	else if (tcs->ossa >= image->secs.size || tcs->nssa > (image->secs.size - tcs->ossa) / frame)
		fact = "SSA frames beyond the enclave's size";
	else if (tcs->oentry >= image->secs.size || tcs->ofs_base >= image->secs.size ||
		 tcs->ogs_base >= image->secs.size)
		fact = "OENTRY, OFSBASE or OGSBASE beyond the enclave's size";
	else if ((tcs->fs_limit & 0xfff) != 0xfff || (tcs->gs_limit & 0xfff) != 0xfff)
		fact = "FSLIMIT or GSLIMIT off a page";
	else if (!tresor_are_zeros(tcs->reserved, sizeof(tcs->reserved)))
		fact = "reserved bytes set";
	if (image->thread_count == TRESOR_THREADS)
		fact = "too many others before it";
	if (fact != NULL)
		return tresor_refuse(error, "SGX_TCS", "the TCS at 0x%llx has %s", (unsigned long long)offset, fact);
	return true;
}

/* SECINFO: W needs R; a TCS has no permissions. W with X the SDM allows and we do not. */
bool tresor_check_secinfo(uint64_t offset, uint32_t flags, bool measure, struct tresor_error *error)
{
	const bool is_tcs = flags == SGX_SECINFO_TCS;

	if (!is_tcs && ((flags & ~7u) != SGX_SECINFO_REG || !(flags & SGX_SECINFO_R) ||
			(flags & (SGX_SECINFO_W | SGX_SECINFO_X)) == (SGX_SECINFO_W | SGX_SECINFO_X)))
		return tresor_refuse(error, "SGX_SECINFO", "SECINFO.FLAGS 0x%x at 0x%llx is no page we load", flags,
				     (unsigned long long)offset);
	/* What nobody attests must neither run nor be believed. */
	if (!measure && (is_tcs || (flags & SGX_SECINFO_X)))
		return tresor_refuse(error, "SGX_SECINFO", "code or a TCS at 0x%llx is not measured",
				     (unsigned long long)offset);
	return true;
}

/* EENTER needs these; a thread without them could never be entered. */
bool tresor_check_threads(const struct tresor_image *image, struct tresor_error *error)
{
	const uint8_t writable = TRESOR_PAGE_PRESENT | SGX_SECINFO_R | SGX_SECINFO_W;

	if (image->thread_count == 0)
		return tresor_refuse(error, "SGX_TCS", "the enclave has no TCS");
	for (uint32_t i = 0; i < image->thread_count; i++) {
		const struct tresor_thread *thread = &image->threads[i];
		const uint64_t frames = (uint64_t)thread->nssa * image->secs.ssa_frame_size;

		if (!(image->pages[thread->oentry / SGX_PAGE_SIZE] & SGX_SECINFO_X))
			return tresor_refuse(error, "SGX_TCS", "the TCS at 0x%llx has an OENTRY that is no code",
					     (unsigned long long)thread->tcs);
		for (uint64_t page = 0; page < frames; page++) {
			if (image->pages[thread->ossa / SGX_PAGE_SIZE + page] != writable)
				return tresor_refuse(error, "SGX_TCS",
						     "the TCS at 0x%llx has an SSA that is not writable",
						     (unsigned long long)thread->tcs);
		}
	}
	return true;
}
