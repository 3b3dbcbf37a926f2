/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests only: a function with the contract of __vdso_sgx_enter_enclave
 * (<asm/sgx.h>), without user handlers. Its ENCLU raises SIGILL on a CPU without
 * SGX, and fake_cpu.c does then what the CPU would, and after an exception what
 * the kernel would: resume at tresor_fake_exception with the leaf in EAX and the
 * vector, the error code and the address in RDI, RSI and RDX.
 */
#define RUN_TCS		0
#define RUN_FUNCTION	8
#define RUN_VECTOR	12
#define RUN_ERROR	14
#define RUN_ADDRESS	16
#define EEXIT		4

	.text
	.globl tresor_fake_vdso
	.hidden tresor_fake_vdso
	.type tresor_fake_vdso, @function
tresor_fake_vdso:
	push	%rbp
	mov	%rsp, %rbp
	push	%rbx
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%r8
	push	%r9
	sub	$8, %rsp
	/* The seventh argument, above the return address and RBP. */
	mov	16(%rbp), %rdi
	mov	%ecx, %esi
	/* int tresor_fake_begin(run, function): 0, or what to return at once */
	call	tresor_fake_begin
	add	$8, %rsp
	pop	%r9
	pop	%r8
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	test	%eax, %eax
	jnz	.Lreturn
	mov	16(%rbp), %rbx
	mov	RUN_TCS(%rbx), %rbx
	mov	%ecx, %eax
	lea	tresor_fake_aep(%rip), %rcx
	.globl tresor_fake_aep
	.hidden tresor_fake_aep
tresor_fake_aep:
	.byte	0x0f, 0x01, 0xd7
	/* EEXIT ends here. The real one uses RAX, RBX, RBP and RSP, and nothing else. */
	mov	16(%rbp), %rbx
	movl	$EEXIT, RUN_FUNCTION(%rbx)
	jmp	.Lout

	.globl tresor_fake_exception
	.hidden tresor_fake_exception
tresor_fake_exception:
	mov	16(%rbp), %rbx
	mov	%eax, RUN_FUNCTION(%rbx)
	mov	%di, RUN_VECTOR(%rbx)
	mov	%si, RUN_ERROR(%rbx)
	mov	%rdx, RUN_ADDRESS(%rbx)
.Lout:
	push	%rdi
	push	%rsi
	push	%rdx
	push	%rcx
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	sub	$8, %rsp
	call	tresor_fake_end
	add	$8, %rsp
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rcx
	pop	%rdx
	pop	%rsi
	pop	%rdi
	xor	%eax, %eax
.Lreturn:
	pop	%rbx
	leave
	ret
	.size tresor_fake_vdso, . - tresor_fake_vdso
	.section .note.GNU-stack, "", @progbits
