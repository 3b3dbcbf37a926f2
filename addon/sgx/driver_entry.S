/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From C to __vdso_sgx_enter_enclave and back. The vDSO keeps RBX, RBP and RSP;
 * our enclave leaves every other register zeroed, callee-saved ones too, and the
 * ABI's MXCSR and x87 control word are ours to restore.
 *
 * uint64_t tresor_sgx_call(enter, request, struct sgx_enclave_run *run)
 */
	.text
	.globl tresor_sgx_call
	.hidden tresor_sgx_call
	.type tresor_sgx_call, @function
tresor_sgx_call:
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
	/* The seventh argument, and a word for the alignment. */
	push	$0
	push	%rdx
	xor	%esi, %esi
	xor	%edx, %edx
	mov	$2, %ecx		/* EENTER */
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	call	*%rax
	add	$16, %rsp
	cld
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	add	$8, %rsp
	mov	%eax, %eax
	shl	$32, %rdi
	or	%rdi, %rax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.size tresor_sgx_call, . - tresor_sgx_call
	.section .note.GNU-stack, "", @progbits
