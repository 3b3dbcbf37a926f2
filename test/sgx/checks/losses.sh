# What becomes of enclaves and their seals: a suspend, microcode, another processor.
cd $work && have_disk || return

new_cpusvn() { ask cpusvn newer && lose_epc; }
old_cpusvn() { ask cpusvn older && lose_epc; }
another_cpu() { ask secret "$1" && lose_epc; }
sealed() { tresor dump disk.img --json | python3 -c '
import json, sys
tokens = json.load(sys.stdin)["metadata"]["tokens"].values()
print([token["sealed"] for token in tokens if token["type"] == "tresor"])'; }

lost_without_io() {
	open_work && put && lose_epc && [ "$(state_of work)" = locked ] && tresor setkey work --key-file key && same
}
lost_by_passphrase() { # a wrong one first: it is refused as a wrong one, not as something else
	lose_epc && refused 2 'No key available' tresor setkey work --key-file key2 && tresor setkey work --key-file key && same
}
lost_under_io() {
	local uri writer
	uri=$(uri_of work)
	rm -f stop
	(until [ -e stop ]; do nbdcopy data "$uri" || exit; done) &
	writer=$!
	lose_epc || return
	local i
	for i in $(seq 30); do [ "$(state_of work)" = locked ] && break; done
	[ "$(state_of work)" = locked ] && kill -0 $writer && touch stop && tresor setkey work --key-file key && wait $writer && same
}
lost_and_locked() { # lock and close take an enclave that is gone
	lose_epc && tresor lock work && [ "$(state_of work)" = locked ] && tresor close work
}
lost_before_close() { open_work && put && lose_epc && tresor close work && open_work && same && tresor close work; }
microcode_raised() {
	local before after
	before=$(sealed)
	new_cpusvn && open_work && same && tresor close work || return
	after=$(sealed)
	[ "$before" != "$after" ] || { echo "the seal is not renewed"; return 1; }
	open_work && tresor close work && [ "$(sealed)" = "$after" ]
}
microcode_lowered() { # its seal is for the newer one only now
	old_cpusvn && refused 2 'newer CPU microcode' open_work && new_cpusvn && open_work && same && tresor close work
}
other_processor() {
	another_cpu other && refused 2 'sealed on another machine' open_work
}
recovered_there() {
	tresor recover disk.img --backend sgx --recovery-key-file recovery --new-key-file key2 "${cheap[@]}" --batch-mode &&
		open_work key2 && same && tresor close work
}
back_home() { another_cpu test && open_work && same && tresor close work; }

check "the EPC is lost without I/O: the next passphrase finds a new enclave" lost_without_io
check "a wrong passphrase after a loss is a wrong passphrase" lost_by_passphrase
check "the EPC is lost under load: writes wait for the passphrase, nothing is lost" lost_under_io
check "lock and close work on a lost enclave" lost_and_locked
check "close after a loss leaves the data whole" lost_before_close
check "a microcode update: the old seal opens and is renewed, once" microcode_raised
check "a microcode downgrade is refused by name, and heals" microcode_lowered
check "another processor: the seal is refused by name" other_processor
check "another processor: the recovery key sets a passphrase there" recovered_there
check "back on the first processor its passphrase opens again" back_home
