/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EENTER, EEXIT and the other ENCLU leaves for the software backend.
 * The offsets are struct software_thread's (software_entry.h).
 */
#define HOST_RSP	0
#define EMULATOR_STACK	8
#define TCS		16
#define OENTRY		24

#define EEXIT		4
#define LOST		0xffffffff

/* XCR0 bit 9: PKRU is the process's, not the enclave's. */
#define NOT_PKRU	0xfffffdff

	.text
/*
 * uint32_t tresor_software_eenter(struct software_thread *thread, void *request)
 * with tresor_software_current == thread. What EENTER gives the enclave: RAX =
 * CSSA, RBX = TCS, RCX = the address after the ENCLU.
 */
	.globl tresor_software_eenter
	.hidden tresor_software_eenter
	.type tresor_software_eenter, @function
tresor_software_eenter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	mov	%rsp, HOST_RSP(%rdi)
	mov	TCS(%rdi), %rbx
	mov	OENTRY(%rdi), %r11
	lea	.Lreturned(%rip), %rcx
	mov	%rsi, %rdi
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%eax, %eax
	jmp	*%r11
.Lreturned:
	mov	%edi, %eax
.Lrestore:
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size tresor_software_eenter, . - tresor_software_eenter

/*
 * Where a fault inside ends: the signal handler returns here, with the vector
 * registers as they were, and so does an ENCLU that faults.
 */
	.globl tresor_software_abort
	.hidden tresor_software_abort
	.type tresor_software_abort, @function
tresor_software_abort:
	mov	tresor_software_current@gottpoff(%rip), %rcx
	mov	%fs:(%rcx), %rcx
	mov	HOST_RSP(%rcx), %rsp
	mov	$NOT_PKRU, %eax
	mov	$-1, %edx
	xrstor64 initial_state(%rip)
	cld
	mov	$LOST, %eax
	jmp	.Lrestore
	.size tresor_software_abort, . - tresor_software_abort

/*
 * The image's ENCLU site calls this, by way of a jump that lies within reach.
 * Every register but RAX is left as it was, as the leaves do; XMM are not, which
 * the image's C code expects of a call.
 */
	.globl tresor_software_enclu
	.hidden tresor_software_enclu
	.type tresor_software_enclu, @function
tresor_software_enclu:
	cmp	$EEXIT, %eax
	je	.Leexit
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%rbp
	mov	%rsp, %rbp
	mov	tresor_software_current@gottpoff(%rip), %r9
	mov	%fs:(%r9), %rdi
	mov	EMULATOR_STACK(%rdi), %rsp
	mov	%eax, %esi
	mov	%rdx, %r8
	mov	%rbx, %rdx
	/* uint64_t tresor_software_leaf(thread, leaf, rbx, rcx, rdx) */
	call	tresor_software_leaf
	cmp	$-1, %rax
	je	tresor_software_abort
	/* ZF says that RAX is an error code. */
	cmp	$1, %rax
	sbb	%ecx, %ecx
	test	%ecx, %ecx
	mov	%rbp, %rsp
	pop	%rbp
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	ret

	/* EEXIT goes wherever RBX says; anywhere but back is the end of this enclave. */
.Leexit:
	lea	.Lreturned(%rip), %rcx
	cmp	%rcx, %rbx
	jne	tresor_software_abort
	mov	tresor_software_current@gottpoff(%rip), %rcx
	mov	%fs:(%rcx), %rcx
	mov	HOST_RSP(%rcx), %rsp
	jmp	.Lreturned
	.size tresor_software_enclu, . - tresor_software_enclu

/* XRSTOR image with a zero header: every component to its initial value; the ABI's FCW and MXCSR. */
	.section .rodata
	.balign 64
initial_state:
	.short	0x037f
	.zero	22
	.long	0x1f80
	.long	0xffff
	.zero	544
	.size initial_state, . - initial_state
	.section .note.GNU-stack, "", @progbits
