/* SPDX-License-Identifier: Apache-2.0 */
/*
 * int host_enter(enter, request, function, struct sgx_enclave_run *run, int poison)
 *
 * As the addon's driver_entry.S, with any leaf, and on request with a state that no honest caller has.
 */
	.text
	.globl host_enter
	.type host_enter, @function
host_enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %r10
	/* The seventh argument, and a word for the alignment. */
	push	$0
	push	%rcx
	mov	%r10d, %ecx
	test	%r8d, %r8d
	jz	1f
	ldmxcsr	poisoned_mxcsr(%rip)
	fldcw	poisoned_control(%rip)
	std
1:
	mov	$0x5151515151515151, %rsi
	mov	$0x5252525252525252, %rdx
	mov	$0x5353535353535353, %r8
	mov	$0x5454545454545454, %r9
	call	*%rax
	cld
	add	$16, %rsp
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
	.size host_enter, . - host_enter

	.section .rodata
	.balign 4
poisoned_mxcsr:
	.long	0
poisoned_control:
	.short	0x340
	.section .note.GNU-stack, "", @progbits
