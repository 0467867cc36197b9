#!/bin/bash
# In the guest: a program that uses all of libdmae and releases everything, under
# valgrind. What other libraries do is not for us to say.
set -euo pipefail

log=$OUT/valgrind.log
if ! valgrind --leak-check=full --show-leak-kinds=all --keep-debuginfo=yes --fullpath-after= \
		--log-file="$log" "$TOP/build/cmake/tests/dmae/tidy"; then
	echo "FAIL valgrind: the program failed"
	exit 1
fi
if ! grep -q 'ERROR SUMMARY' "$log"; then
	echo "FAIL valgrind: it said nothing"
	exit 1
fi
# Paragraphs are separated by lines with the process id alone.
if sed 's/^==[0-9]*== *$//' "$log" | awk -v RS= '/libdmae|providers\/dmae\//' >"$OUT/valgrind.libdmae" &&
		[ -s "$OUT/valgrind.libdmae" ]; then
	echo "FAIL valgrind: $(head -1 "$OUT/valgrind.libdmae") (see valgrind.libdmae)"
	exit 1
fi
echo "PASS valgrind"
