# Linux's own selftest of its driver, and ours in it: sgx-machine/selftest.c.
cd "$(word selftest)" || return
./test_sgx >/run/selftest 2>&1
sed -nE 's/^ok [0-9]+ # SKIP (.*)/skip \1/p; s/^ok [0-9]+ ([^ ]+) # SKIP.*/skip \1/p; s/^(ok|not ok) [0-9]+ ([^ ]+)$/\1 \2/p' /run/selftest >&3
grep -E '^# (.*Expected|.*terminated|Totals)' /run/selftest >&3
ask counters
