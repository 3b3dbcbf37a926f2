# Continues sleep.sh in the root that survives S3. Argument: the checkout's path.
root=$1
export PATH=/bin HOME=/root TRESOR_STATE_DIR=/run/state XDG_CONFIG_HOME=/run/config
cd /run || exit
say() { printf '%s\n' "$*" >&3; }
check() { # NAME COMMAND...
	local name=$1
	shift
	if "$@" >/run/said 2>&1; then say "ok $name"; else
		say "not ok $name"
		tail -n 30 /run/said | sed 's/^/# /' >&3
	fi
}
tresor() { "$root/dist/tresor" "$@"; }
uri=nbd+unix:///?socket=/run/tresor/work/nbd.sock

set_up() {
	mkdir -p state config && printf 'correct horse' >key && head -c 8M /dev/urandom >data &&
		tresor create disk.img --size 32M --backend sgx --key-file key --no-recovery --pbkdf pbkdf2 --pbkdf-force-iterations 1000 &&
		tresor open disk.img work --backend sgx --key-file key && nbdcopy data $uri
}
sleep_and_wake() {
	printf 'ask sleep\n' >&3
	IFS= read -r REPLY <&3
	echo mem >/sys/power/state && dmesg | tail -n 60 && dmesg | grep -q 'PM: suspend exit'
}
locked() { tresor status work --json >status && grep -q '"state": *"locked"' status; }
lost_and_found() { # status finds the enclave gone, a read waits
	locked || return
	nbdcopy $uri back &
	local reader=$!
	tresor setkey work --key-file key && wait $reader && cmp -n 8388608 data back &&
		tresor lock work && tresor setkey work --key-file key && nbdcopy $uri back && cmp -n 8388608 data back && tresor close work
}

check "sleep: a volume is open" set_up
check "sleep: the machine sleeps and wakes up" sleep_and_wake
check "sleep: after it a read waits for the passphrase, and nothing is lost" lost_and_found
quiet() { ! dmesg | grep -E 'BUG|WARNING|Oops|blocked for more|general protection|ENCLS'; }
check "sleep: the kernel warned of nothing" quiet
say end
echo o >/proc/sysrq-trigger
sleep 60
