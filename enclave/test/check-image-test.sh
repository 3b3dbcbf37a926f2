#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Plants each defect check-image.py and check-stack.py look for in a copy of the
# real build, and expects it to be named.
set -eu
cd "$(dirname "$0")/.."
build=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-gcc}
flags=(-std=c11 -O2 -ffreestanding -fPIE -fno-stack-protector -fno-asynchronous-unwind-tables -mno-red-zone -I. -I../abi)
# Not all that lie there: what was built of a source that is gone is no part of the image.
objects=("${@:2}")
failed=0

check() { # name, expected text: the last link in $work/try
	cp "$work/try" "$work/stripped"
	strip "$work/stripped" 2>/dev/null || true
	passed=0
	out=$(python3 check-image.py --conf "${conf:-enclave.conf}" --symbols "$work/try" "${image:-$work/stripped}" "${extra[@]}" 2>&1) && passed=1
	again "$1" "$2"
}

again() { # name, expected text: what the last check said
	if [ "$passed" = 1 ]; then
		echo "not ok - $1: passed"
		failed=1
	elif ! grep -q -- "$2" <<<"$out"; then
		echo "not ok - $1: said: $out"
		failed=1
	else
		echo "ok - $1"
	fi
}

link() { # linker script, extra objects
	ld -static -nostdlib --build-id=none -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
		--unresolved-symbols=ignore-all -T "$1" -o "$work/try" "${objects[@]}" "${@:2}" 2>"$work/ld.log" || true
}

plant() { # name, C or asm text, expected
	printf '%s\n' "$2" >"$work/plant.c"
	"$cc" "${flags[@]}" ${4:-} -c -o "$work/plant.o" "$work/plant.c"
	extra=("$work/plant.o")
	link "$build/enclave.lds" "$work/plant.o"
	check "$1" "$3"
}

layout() { # name, sed expression on the linker script, expected
	sed -E "$2" "$build/enclave.lds" >"$work/planted.lds"
	cmp -s "$work/planted.lds" "$build/enclave.lds" && { echo "not ok - $1: nothing planted"; failed=1; return; }
	extra=()
	link "$work/planted.lds"
	check "$1" "$3"
}

# The unaltered link passes, so that what fails below fails for its defect.
link "$build/enclave.lds"
cp "$work/try" "$work/stripped" && strip "$work/stripped"
python3 check-image.py --conf enclave.conf --symbols "$work/try" "$work/stripped" "${objects[@]}"
echo "ok - the image as it is"

plant "relocation" 'static int x; int *tresor_planted[] = { &x, &x };' 'R_X86_64_64 in .rela.data'
plant "function table" 'void a(void); void a(void) {} void (*const tresor_planted[])(void) = { a };' 'needs the load address'
plant "GOT" 'extern __thread int t __attribute__((tls_model("initial-exec"))); int f(void); int f(void) { return t; }' 'R_X86_64_GOTTPOFF'
plant "undefined symbol" 'void missing(void); void f(void); void f(void) { missing(); }' 'undefined symbol missing'
plant "second ENCLU" '__asm__(".text; .byte 0x0f,0x01,0xd7; ret");' 'ENCLU at'
plant "ENCLU inside another instruction" '__asm__(".text; mov $0xd7010f, %eax; ret");' 'ENCLU at'
# All in one link, which is most of the work; each must be named. Not int3: the padding of .text.
instructions=(syscall sysenter cpuid rdtsc rdtscp 'int $0x80' 'in %dx,%al' 'out %al,%dx' hlt iretq lretq
	'mov %fs:0,%rax' 'mov %eax,%ds' 'rdfsbase %rax' xgetbv 'sgdt 8(%rsp)' 'clflush (%rax)')
text='.text;'
for i in "${!instructions[@]}"; do text+=" planted_$i: ${instructions[i]}; ret;"; done
for i in "${!instructions[@]}"; do
	if [ "$i" = 0 ]; then
		plant "${instructions[i]}" "__asm__(\"$text\");" "planted_0: .* is not for an enclave"
	else
		again "${instructions[i]}" "planted_$i: .* is not for an enclave"
	fi
done
plant "VEX" '__asm__(".text; .globl planted; .type planted, @function; planted: vpxor %ymm0,%ymm0,%ymm0; ret; .size planted, . - planted");' 'needs AVX'
plant "EVEX" '__asm__(".text; .globl planted; .type planted, @function; planted: vpxorq %zmm0,%zmm0,%zmm0; ret; .size planted, . - planted");' 'needs AVX'
outside='int tresor_boundary_outside(unsigned long, unsigned long); int planted_fence(char *, char *); int planted_fence(char *to, char *from)'
copy='__asm__ volatile("rep movsq" : "+D"(to), "+S"(from) : "c"(1L) : "memory")'
plant "no fence after the check" "$outside { if (!tresor_boundary_outside((long)from, 8)) return 0; $copy; return 1; }" 'planted_fence: rep movsq .*without an lfence'
plant "fence before the check" "$outside { __asm__ volatile(\"lfence\"); if (!tresor_boundary_outside((long)from, 8)) return 0; $copy; return 1; }" 'planted_fence: rep movsq .*without an lfence'
plant "fence on one path" "$outside { if (!tresor_boundary_outside((long)from, 8)) return 0; if (*to) __asm__ volatile(\"lfence\" : : : \"memory\"); $copy; return 1; }" 'planted_fence: rep movsq .*without an lfence'
layout "writable and executable" 's/text PT_LOAD FLAGS\(5\)/text PT_LOAD FLAGS(7)/' 'writable and executable'
layout "unaligned segment" 's/(\.bss : \{[^}]*\. = ALIGN\(0x1000\));/\1 + 8;/' 'not aligned'
layout "NSSA" 's/LONG\(0\) LONG\(1\)/LONG(0) LONG(2)/' 'NSSA is 2'
layout "unknown flag" 's/FLAGS\(6 \| 0x00200000\)|FLAGS\(\(?6 \| 0x00200000\)?\)/FLAGS(0x00800006)/' 'mean nothing'
layout "unmeasured code" 's/text PT_LOAD FLAGS\(5\)/text PT_LOAD FLAGS(0x00200005)/' 'nothing measures'
extra=()
link "$build/enclave.lds"
sed 's/^size = .*/size = 0x1000000/' enclave.conf >"$work/small.conf"
conf=$work/small.conf check "beyond ELRANGE" 'beyond ELRANGE'
sed 's/^size = .*/size = 0x90000000/' enclave.conf >"$work/odd.conf"
conf=$work/odd.conf check "size no power of two" 'no enclave'
image=/bin/true check "another image" 'PT_LOAD\|not the same link'

stack() { # name, C text, expected
	printf '%s\n' "$2" >"$work/stack.c"
	(cd "$work" && "$cc" "${flags[@]}" -fcallgraph-info=su -c -o stack.o stack.c)
	if out=$(python3 check-stack.py layout.h "$work/stack.ci" 2>&1); then
		echo "not ok - $1: passed"
		failed=1
	elif ! grep -q -- "$3" <<<"$out"; then
		echo "not ok - $1: said: $out"
		failed=1
	else
		echo "ok - $1"
	fi
}
use='void use(void *); __attribute__((noinline)) void use(void *p) { __asm__ volatile("" : : "r"(p) : "memory"); }'
op='void tresor_op_sectors(void); __attribute__((noinline)) void tresor_op_sectors(void)'
main='void tresor_main(void); void tresor_main(void)'
stack "deep stack" "$use $op { } $main { char c[100000]; use(c); tresor_op_sectors(); }" 'STACK_SIZE is too small'
stack "deep sector path" "$use $op { char c[9000]; use(c); } $main { tresor_op_sectors(); use(0); }" 'SHALLOW_STACK is too small'
stack "frame of any size" "$use $op { } $main { tresor_op_sectors(); use(__builtin_alloca(*(volatile int *)8)); }" 'frame is dynamic'
stack "recursion" "$use $op { use(0); tresor_op_sectors(); use(0); } $main { tresor_op_sectors(); }" 'recursion'
stack "call through a pointer" "$op { } $main { tresor_op_sectors(); (*(void (*volatile *)(void))8)(); __asm__(\"\"); }" 'through a pointer'
stack "unknown callee" "void lost(void); $op { } $main { tresor_op_sectors(); lost(); __asm__(\"\"); }" 'whose frame is unknown'

parts() { # name, image it claims to be, expected: the last link in $work/try
	if out=$(python3 check-parts.py "$2" "$work/try" "$work/unused" 2>&1); then
		echo "not ok - $1: passed"
		failed=1
	elif ! grep -q -- "$3" <<<"$out"; then
		echo "not ok - $1: said: $out"
		failed=1
	else
		echo "ok - $1"
	fi
}
printf '%s\n' 'int spare(void); int spare(void) { return 1; }' >"$work/plant.c"
"$cc" "${flags[@]}" -ffunction-sections -c -o "$work/plant.o" "$work/plant.c"
ld -static -nostdlib --gc-sections --print-gc-sections --no-warn-rwx-segments -T "$build/enclave.lds" -o "$work/try" \
	"${objects[@]}" "$work/plant.o" 2>"$work/unused"
parts "a function that nothing calls" product 'spare of .*plant.o is not used'
parts "operations on keys in the second image" vectors 'tresor_op_unlock is in the second image'
parts "keyslots in the second image" vectors 'tresor_luks_open is in the second image'
exit $failed
