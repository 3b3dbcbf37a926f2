/* SPDX-License-Identifier: Apache-2.0 */
	.section .note.GNU-stack, "", @progbits
