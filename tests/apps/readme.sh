#!/bin/bash
# In the guest: the program in README.md compiles and registers a BAR, and its commands
# that look at this machine do what they say.
set -euo pipefail

program=$(mktemp -d)/example
"$TOP/tests/apps/readme-example" >"$program.c"

if gcc -Wall -Wextra -Werror -o "$program" "$program.c" -libverbs; then
	echo "PASS compiles"
else
	echo "FAIL compiles: gcc does not take it"
	exit 1
fi

if said=$("$program" "$GPU0/resource2") && [[ $said == "rkey 0x"*" bytes of "*resource2*" for RDMA by "* ]]; then
	echo "PASS registers-a-bar"
else
	echo "FAIL registers-a-bar: it said '$said'"
	exit 1
fi

PATH=$TOP/build/cmake/libibverbs-ext:$TOP/build/cmake/libibverbs-ext/tools:$PATH
commands=$(sed -nE 's/^    (ibv_p2pinfo[^#]*).*/\1/p' "$TOP/README.md")
[ "$(wc -l <<<"$commands")" -ge 3 ] || {
	echo "FAIL commands: README.md has none"
	exit 1
}
while read -ra words; do
	name=${words[*]}
	rc=0
	# What watches ends when it is told to.
	timeout -s INT 5 "${words[@]}" >"$OUT/command" 2>&1 || rc=$?
	[[ $rc -eq 0 || ( $rc -eq 124 && $name == *--watch* ) ]] || {
		echo "FAIL $name: status $rc: $(tail -1 "$OUT/command")"
		exit 1
	}
	echo "PASS ${name// /-}"
done <<<"$commands"
