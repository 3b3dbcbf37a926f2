# An upgrade: what one enclave has sealed to itself alone goes to the next one, by the processor's word and the user's.
cd $work && have_disk || return
before=$(word given)/before
ours=$(tresor enclave info --json | json '["mrenclave"]')

old() { "$before/dist/tresor" "$@"; }
sealer() { tresor dump old.img --json | json '["metadata"]["tokens"]["0"]["enclave"]["mrenclave"]'; }
made_before() {
	old create old.img --size 32M --backend sgx --key-file key --no-recovery --seal-policy mrenclave "${cheap[@]}" &&
		[ "$(sealer)" != "$ours" ]
}
unasked() { refused 2 "use --succeed $ours" tresor open old.img old --backend sgx --key-file key; }
wrong_passphrase() {
	refused 2 'No key available' tresor open old.img old --backend sgx --key-file key2 --succeed "$ours" && [ "$(sealer)" != "$ours" ]
}
named() {
	tresor open old.img old --backend sgx --key-file key --succeed "$ours" && tresor close old && [ "$(sealer)" = "$ours" ] &&
		tresor open old.img old --backend sgx --key-file key && tresor close old
}
gone_from_there() { refused 2 '' old open old.img old --backend sgx --key-file key; }

check "succession: the enclave before seals a volume to itself" made_before
check "succession: without the user's word nothing is handed over" unasked
check "succession: a wrong passphrase hands nothing over" wrong_passphrase
check "succession: named, the new enclave gets the salt from the old one, both in the EPC" named
check "succession: the enclave before does not open it any more" gone_from_there
