# What people do with Tresor, on the driver.
cd $work || return

in_epc() { # by its own words
	tresor status work --json >status && [ "$(json '["enclave"]["backend"]' <status)" = sgx ] &&
		[ "$(json '["enclave"]["memory"]["keys"]' <status)" = EPC ] && [ "$(json '["enclave"]["debug"]' <status)" = False ]
}
on_disk() { python3 -c 'import sys; sys.exit(open(sys.argv[1], "rb").read()[:512] not in open(sys.argv[2], "rb").read())' "$@"; } # DATA DISK
load() { put && same && ! on_disk data disk.img && on_disk data back; }
stock_reads_it() { # dm-crypt's own cipher, with the recovery key
	modprobe -a loop dm_crypt && tr -d '\n' <recovery >recovery-key &&
		cryptsetup open disk.img stock --key-file recovery-key && cmp -n "$(stat -c %s data)" data /dev/mapper/stock &&
		cryptsetup close stock
}
waits() { # a read, until there is a key
	tresor lock work && [ "$(state_of work)" = locked ] || return
	nbdcopy "$(uri_of work)" back &
	local reader=$!
	tresor setkey work --key-file key && wait $reader && cmp -n "$(stat -c %s data)" data back
}
keys() {
	tresor key add disk.img --key-file key --new-key-file key2 "${cheap[@]}" && printf 'third' >key3 &&
		tresor key change disk.img --key-file key2 --new-key-file key3 "${cheap[@]}" &&
		refused 2 'No key available' tresor open disk.img work --key-file key2 &&
		open_work key3 && same && tresor close work &&
		tresor key remove disk.img --key-file key3 --batch-mode &&
		refused 2 'No key available' tresor open disk.img work --key-file key3
}
new_key() { # closed, then open
	cp disk.img new.img && tresor reencrypt new.img -q --backend sgx --key-file key --no-recovery "${cheap[@]}" &&
		tresor open new.img work --backend sgx --key-file key && same &&
		tresor reencrypt work -q --key-file key --no-recovery "${cheap[@]}" && same && tresor close work &&
		tresor open new.img work --backend sgx --key-file key && same && [ "$(cmp -l disk.img new.img | wc -l)" -gt 10000000 ] &&
		tresor close work && rm new.img
}
# CryptSetup's default of Argon2 is beyond the 96 MiB that every enclave has.
beyond_the_heap() {
	local before
	before=$(count_of EAUG)
	tresor create big.img --size 32M --backend sgx --key-file key --no-recovery \
		--pbkdf argon2id --pbkdf-memory 102400 --pbkdf-parallel 4 --pbkdf-force-iterations 1 || return
	tresor open big.img big --backend sgx --key-file key && tresor close big || return
	echo "EAUG: $before, $(count_of EAUG)"
	[ "$(count_of EAUG)" -gt $((before + 1000)) ]
}

check "doctor finds SGX, and SGX2" says '\(SGX2\): the enclave that was just started has 1\.[0-9] GiB' tresor doctor
check "selftest passes" tresor selftest --backend sgx
check "create makes a volume" create_disk
check "open serves it" open_work
check "status says that keys are in the EPC" in_epc
check "what clients write is read back, and not on the disk" load
check "lock lets a read wait, setkey resumes it" waits
check "close ends it" tresor close work
check "cryptsetup and dm-crypt read what the enclave wrote" stock_reads_it
check "key add, change and remove" keys
check "reencrypt moves a closed volume to a new key, and an open one" new_key
check "Argon2 beyond the fixed heap takes pages that SGX2 adds" beyond_the_heap
