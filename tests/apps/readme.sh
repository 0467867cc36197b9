#!/bin/bash
# In the guest: the program in README.md compiles and registers a BAR.
set -euo pipefail

program=$(mktemp -d)/example
# shellcheck disable=SC2016 # back quotes of Markdown
sed -n '/^```c$/,/^```$/{/^```/d;p}' "$TOP/README.md" | sed '/^static struct p2p_mapping/,$d' >"$program.c"

if gcc -Wall -Wextra -Werror -o "$program" "$program.c" -libverbs; then
	echo "PASS compiles"
else
	echo "FAIL compiles: gcc does not take it"
	exit 1
fi

if said=$("$program" "$GPU0/resource2") && [[ $said == "rkey 0x"*" bytes of "*resource2*" for RDMA" ]]; then
	echo "PASS registers-a-bar"
else
	echo "FAIL registers-a-bar: it said '$said'"
	exit 1
fi
