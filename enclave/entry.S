/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only way in and the only way out. SDM vol. 3D, EENTER and EEXIT.
 *
 * EENTER gives RAX = CSSA, RBX = our TCS, RCX = the host's return address;
 * everything else, flags and vector state included, is the host's choice.
 * Nothing here uses FS or GS. NSSA is 1, so the hardware refuses entry on top
 * of an asynchronous exit; the CSSA check repeats that.
 */
#include "layout.h"

#define EEXIT 4

	.section .text.entry, "ax", @progbits
	.globl tresor_entry
	.type tresor_entry, @function
tresor_entry:
	cld
	test	%rax, %rax
	jnz	.Lrefuse
	mov	%rsp, %r8
	/* Our stack: below the TCS lie SSA, scratch, stack (enclave.lds). */
	lea	-(PAGE_SIZE + SCRATCH_SIZE)(%rbx), %rsp
	push	%rcx
	push	%r8
	push	%rbp
	/* AC, NT, DF and the rest to their ABI state; only now that a stack exists. */
	push	$2
	popfq
	mov	$-1, %eax
	mov	$-1, %edx
	xrstor64 clean_state(%rip)
	/* No load below runs ahead of the checks and the clean state (MCDT, Spectre). */
	lfence
	lea	-(PAGE_SIZE + SCRATCH_SIZE)(%rbx), %rsi
	xor	%eax, %eax
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebp, %ebp
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
	/* Three pushes and 16-byte alignment at the call ask for one word more. */
	push	%rax
	/* struct tresor_exit tresor_main(uint64_t request, void *scratch) */
	call	tresor_main
	/* RAX = status, RDX = bytes of stack the operation may have used. */
	mov	%eax, %r12d
	mov	%rdx, %rcx
	mov	%rsp, %rdi
	sub	%rdx, %rdi
	shr	$3, %rcx
	xor	%eax, %eax
	rep stosq
	mov	$-1, %eax
	mov	$-1, %edx
	xrstor64 clean_state(%rip)
	mov	%r12d, %edi
	pop	%rax
	pop	%rbp
	pop	%rdx
	pop	%rbx			/* the host's return address, from our stack */
	mov	%rdx, %rsp
	mov	$EEXIT, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d		/* leaves the flags of a zero result as well */
	/* Falls into the site; EEXIT does not come back. */

/*
 * The one ENCLU of the image; every leaf passes here with its number in RAX.
 * The software backend puts a five-byte branch in its place.
 */
	.globl tresor_enclu_site
tresor_enclu_site:
	.byte	0x0f, 0x01, 0xd7
	nop
	nop
	ret
.Lrefuse:
	ud2
	.size tresor_entry, . - tresor_entry

/* uint64_t tresor_enclu(uint32_t leaf, const void *rbx, void *rcx, void *rdx) */
	.globl tresor_enclu
	.type tresor_enclu, @function
tresor_enclu:
	push	%rbx
	mov	%edi, %eax
	mov	%rsi, %rbx
	xchg	%rdx, %rcx
	call	tresor_enclu_site
	pop	%rbx
	ret
	.size tresor_enclu, . - tresor_enclu

/*
 * XRSTOR image, standard format, zero header: every state component that XCR0
 * has goes to its initial value whatever XCR0 is. FCW 0x037f, MXCSR 0x1fbf
 * (exceptions masked, flags pre-set: Intel's MCDT advice).
 */
	.section .rodata.entry, "a", @progbits
	.balign 64
clean_state:
	.short	0x037f
	.zero	22
	.long	0x1fbf
	.long	0xffff
	.zero	544
	.size clean_state, . - clean_state
	.section .note.GNU-stack, "", @progbits
