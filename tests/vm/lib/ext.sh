# shellcheck shell=bash
# ./run test: libibverbs-ext where there is neither an RDMA device nor a GPU, and on a
# kernel without the series.

ext_units=(addr device memory p2p-dmabuf p2p-dmabuf-forbidden
	symbols topology mrs told report p2pinfo)

test_ext() {
	local line

	ctest_cases ext ext "$1" preload "${ext_units[@]}"
	! want install "$1" || check ext/install "$build/ext-install.log" ext_installs "$build/staged"
	! want cuda-driver "$1" || while IFS= read -r line; do
		case_line ext "$line"
	done < <("$build/cmake/libibverbs-ext/tests/ext-cuda-driver")
}

# ext_installs DIR: where ld.so does not look by itself, any program starts under
# ibv_p2prun, and says if it is told something else.
ext_installs() {
	local preload

	cmake --install "$build/cmake/libibverbs-ext" --prefix "$1" || return 1
	preload=$(find "$1" -name libibverbs-ext-preload.so)
	IBV_P2P_PRELOAD=$preload "$1/bin/ibv_p2prun" --memory=cuda true &&
		! IBV_P2P_PRELOAD=$preload "$1/bin/ibv_p2prun" --memory=cudaa true
}

# The same with sanitizers, in front of which nothing can be preloaded, and those that
# valgrind does not take minutes for.
test_ext_more() {
	local dir=$build/sanitized log=$build/ext-sanitized.log name

	if ! ext_sanitized "$dir" >"$log" 2>&1; then
		case_fail ext-more/builds "$(grep -m1 -i error "$log") (all of it: $log)"
		return
	fi
	for name in "${ext_units[@]}"; do
		! want "sanitized.$name" "$1" || check "ext-more/sanitized.$name" \
			"$build/ext-sanitized-$name.log" ctest --test-dir "$dir" \
			-R "^ext-$name\$" --no-tests=error --output-on-failure
	done
	for name in addr device p2p-dmabuf topology mrs told report; do
		! want "valgrind.$name" "$1" || check "ext-more/valgrind.$name" \
			"$build/ext-valgrind-$name.log" valgrind --quiet --leak-check=full \
			--error-exitcode=9 "$build/cmake/libibverbs-ext/tests/ext-$name"
	done
}

# ext_sanitized DIR: builds libibverbs-ext and its tests there.
ext_sanitized() {
	cmake -S "$top" -B "$1" -DCMAKE_BUILD_TYPE=Debug \
		-DCMAKE_C_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all" &&
		cmake --build "$1/libibverbs-ext" -j2
}

test_stock() { guest_suite stock pristine -- "$build/cmake/tests/exporters/stock"; }
