# shellcheck shell=bash
# From a kernel source to a bzImage, built once for each combination of source,
# config, series and compiler.
#
#   $cache/src-VERSION-pristine/   the source as it came
#   $cache/src-VERSION/            the same with the series applied
#   $cache/out-VERSION-CONFIG/     objects, built incrementally
#   $cache/*-VERSION-steps/        the same for ./run test steps
#   $cache/kernels/KEY/            bzImage, config, System.map, modules: the results

kernel_package=linux-source-6.12
packages_build=(build-essential bc bison flex git libelf-dev libssl-dev xz-utils)
patches_dir=$top/kernel-patches

# Same source, same bzImage.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
export KBUILD_BUILD_USER=rdma-p2p KBUILD_BUILD_HOST=rdma-p2p

# kernel_find_source: $kernel_source = the tarball or tree, $kernel_source_id =
# a hash of it.
kernel_find_source() {
	[ -z "${kernel_source_id:-}" ] || return 0
	if [ -n "${LINUX_SRC:-}" ]; then
		[ -e "$LINUX_SRC" ] ||
			die "LINUX_SRC=$LINUX_SRC does not exist: name a kernel" \
			    "source tarball or tree"
		kernel_source=$(realpath "$LINUX_SRC")
	else
		kernel_source=/usr/src/$kernel_package.tar.xz
		if [ ! -e "$kernel_source" ]; then
			[ -z "$(command -v apt-get)" ] || apt_knows "$kernel_package" ||
				die "apt has no package $kernel_package here: take" \
				    "any Linux 6.12 source (a tarball or a tree)" \
				    "and run LINUX_SRC=/path/to/it ./run ..."
			need_packages "$kernel_package"
		fi
	fi
	if [ -d "$kernel_source" ]; then
		kernel_source_id=$(cd "$kernel_source" && find . -name .git -prune \
			-o -type f -printf '%P %s %T@\n' | LC_ALL=C sort | sha256sum)
	else
		kernel_source_id=$(sha256sum <"$kernel_source")
	fi
	kernel_source_id=${kernel_source_id%% *}
}

# kernel_fragments CONFIG: the kconfig fragments that make it up.
kernel_fragments() {
	case $1 in
	pristine) echo "$patches_dir/config/base" ;;
	pristine-debug) echo "$patches_dir/config/"{base,debug,pristine-debug} ;;
	base | steps) echo "$patches_dir/config/base" "$patches_dir/config/p2p" ;;
	debug | kcsan) echo "$patches_dir/config/"{base,p2p,"$1"} ;;
	esac
}

# A series of no steps hashes like no series: base is pristine then.
kernel_series_hashes() {
	(cd "$patches_dir" && find . \( -path './patches/*' -o -path './files/*' \) \
		-type f -exec sha256sum {} + | LC_ALL=C sort -k2)
}

# kernel_key CONFIG: everything that the bzImage depends on, as one hash.
kernel_key() {
	local fragments

	kernel_find_source
	fragments=$(kernel_fragments "$1")
	{
		echo "$kernel_source_id"
		gcc --version | head -1
		# shellcheck disable=SC2086 # a list of paths of ours
		cat $fragments
		[[ $1 == pristine* ]] || kernel_series_hashes
	} | sha256sum | cut -c1-16
}

# kernel_find_pristine: $pristine_src, $kernel_version; fails if not unpacked yet.
kernel_find_pristine() {
	kernel_find_source
	pristine_src=$(grep -lsx "$kernel_source_id" "$cache"/src-*-pristine/.source-id |
		head -1) || return 1
	pristine_src=${pristine_src%/.source-id}
	kernel_version=${pristine_src#"$cache"/src-}
	kernel_version=${kernel_version%-pristine}
}

# kernel_unpack: the same, and unpack the source when that is still to be done.
# Needs the lock.
kernel_unpack() {
	local new=$cache/src-new

	! kernel_find_pristine || return 0
	note "unpacking $kernel_source"
	rm -rf "$new"
	mkdir -p "$new"
	if [ -d "$kernel_source" ]; then
		spawn_wait sh -c "tar cf - -C ${kernel_source@Q} --exclude=./.git . |
			tar xf - -C ${new@Q}"
	else
		spawn_wait tar xf "$kernel_source" -C "$new" --strip-components=1
	fi || die "cannot unpack $kernel_source into $new (disk full? 2 GB are" \
		  "needed; RDMA_P2P_CACHE= names another place)"
	[ -e "$new/Kbuild" ] || die "$kernel_source is no kernel source"
	kernel_version=$(make -s -C "$new" kernelversion)
	# Objects of another source with this version number would look up to
	# date to make.
	rm -rf "$cache/src-$kernel_version" "$cache/src-$kernel_version-pristine" \
		"$cache/out-$kernel_version"-*
	echo "$kernel_source_id" >"$new/.source-id"
	pristine_src=$cache/src-$kernel_version-pristine
	mv "$new" "$pristine_src"
}

# kernel_patch_source: bring src-VERSION to what the series says, in place: only
# files whose content changes get a new date, so little is compiled again.
# Unpatched files are hard links into the pristine source.
kernel_patch_source() {
	local src=$cache/src-$kernel_version state=$cache/series-$kernel_version
	local path kind

	[ -d "$src" ] || {
		rm -rf "$src.new" "$state"
		spawn_wait cp -al "$pristine_src" "$src.new"
		mv "$src.new" "$src"
	}
	# Mails of its own: those in $build/series are others' to make and read.
	spawn_wait "$patches_dir/make-series" -t "$state.new" "$state.mails" "$pristine_src"

	git -C "$state.new" diff --no-renames --name-status pristine HEAD \
		>"$state.new/.status"

	# Until the update is complete the list holds what either series touches,
	# or an interrupted one would leave files behind that no list names.
	mkdir -p "$state"
	cut -f2 "$state.new/.status" | tee "$state.new/.touched" >>"$state/.touched"

	while read -r path; do
		[ ! -e "$state.new/$path" ] || continue
		if [ ! -e "$pristine_src/$path" ]; then
			rm -f "$src/$path"
		elif ! cmp -s "$pristine_src/$path" "$src/$path"; then
			kernel_put "$pristine_src/$path" "$src/$path"
		fi
	done <"$state/.touched"
	while read -r kind path; do
		if [ "$kind" = D ]; then
			rm -f "$src/$path"
		elif ! cmp -s "$state.new/$path" "$src/$path"; then
			kernel_put "$state.new/$path" "$src/$path"
		fi
	done <"$state.new/.status"
	rm -rf "$state"
	mv "$state.new" "$state"
}

# A new file and a rename, never a write through a hard link.
kernel_put() {
	mkdir -p "$(dirname "$2")"
	cp --preserve=mode "$1" "$2.new"
	mv -f "$2.new" "$2"
}

# kernel_configure SRC OUT CONFIG: allnoconfig plus the fragments, each of whose
# lines has to survive - but in the middle of the series, where an option may
# not be there yet.
kernel_configure() {
	local log=$2/configure.log lost

	mkdir -p "$2"
	# shellcheck disable=SC2046 # a list of paths of ours
	(cd "$1" && scripts/kconfig/merge_config.sh -n -Q -O "$2" \
		$(kernel_fragments "$3")) >"$log" 2>&1 9>&- || {
		tail -20 "$log" >&2
		die "cannot configure the $3 kernel; the whole log is $log"
	}
	# What is off because what it depends on is off was not asked for in vain.
	[ "$3" != steps ] || return 0
	lost=$(awk '/^Requested value:/ { want = $3; name = $4 }
		/^Actual value:/ && (want != "#" || $3 ~ /^CONFIG/) {
			sub(/=.*/, "", want); print want == "#" ? name : want }' "$log")
	[ -z "$lost" ] || die "kernel-patches/config: the $3 kernel does not" \
		"take ${lost//$'\n'/, }: a dependency is missing, another option" \
		"selects it, or it is gone"
}

# kernel_progress PID LOG TODO: objects done of objects to do, until PID ends.
kernel_progress() {
	local objects last=0 started=$SECONDS

	while kill -0 "$1" 2>/dev/null; do
		objects=$(grep -cE '^  (CC|AS) ' "$2" || true)
		if [ -t 2 ]; then
			printf '\r    %d of %d objects, %d s ' "$objects" "$3" \
				$((SECONDS - started)) >&2
		elif [ $((SECONDS - last)) -ge 30 ]; then
			last=$SECONDS
			echo "    $objects of $3 objects, $((SECONDS - started)) s" >&2
		fi
		sleep 1
	done
	[ ! -t 2 ] || printf '\r\033[K' >&2
}

# kernel_modules OUT: those that are built, of all that the configuration names.
kernel_modules() {
	! grep -qx CONFIG_SAMPLE_P2P=m "$1/.config" || echo samples/p2p/p2p_sample.ko
}

# kernel_compile SRC OUT CONFIG
kernel_compile() {
	local log=$build/kernel-$3.log make modules todo jobs rc=0

	jobs=$(nproc)
	make=(make -C "$1" "O=$2")
	# A dry run tells what is out of date. It stops at the link, for want of
	# the objects, but by then it has named them all.
	{
		"${make[@]}" -j"$jobs" prepare 9>&- || true
		"${make[@]}" -n vmlinux 9>&- || true
	} >"$2/dry-run.log" 2>&1
	todo=$(grep -cE "echo '  (CC|AS) " "$2/dry-run.log" || true)
	rm -f "$2/dry-run.log"

	note "compiling the $3 kernel ($kernel_version, log: $log)"
	mapfile -t modules < <(kernel_modules "$2")
	spawn nice "${make[@]}" -j"$jobs" bzImage "${modules[@]}" >"$log" 2>&1
	kernel_progress "$spawned" "$log" "$todo"
	wait "$spawned" || rc=$?
	[ "$rc" -eq 0 ] || {
		grep -nE '(error|Error|undefined reference)' "$log" | head -20 >&2 || true
		tail -15 "$log" >&2
		die "the $3 kernel does not build (make said $rc); the whole log is $log"
	}
}

# One build at a time in a cache.
kernel_lock() {
	mkdir -p "$cache/kernels" "$build"
	exec 9>"$cache/lock"
	flock -n 9 || {
		note "another build is using $cache; waiting for it"
		flock 9
	}
}
kernel_unlock() { exec 9>&-; }

# kernel_prepare CONFIG: source and configuration are in place, in $src and $out.
# Needs the lock.
kernel_prepare() {
	kernel_unpack
	src=$pristine_src
	out=$cache/out-$kernel_version-$1
	if [[ $1 != pristine* ]]; then
		kernel_patch_source
		src=$cache/src-$kernel_version
	fi
	kernel_configure "$src" "$out" "$1"
}

# kernel_build CONFIG: $bzimage = the kernel, built if it is not there yet.
kernel_build() {
	local key src out

	case $1 in
	base | debug | kcsan | pristine | pristine-debug) ;;
	stock-*)
		stock_build "${1#stock-}"
		return
		;;
	*) die "no kernel '$1': there are base, debug, kcsan, pristine, " \
	       "pristine-debug, stock-6.12, stock-6.1" ;;
	esac
	need_packages "${packages_build[@]}"
	kernel_find_source
	key=$(kernel_key "$1")
	bzimage=$cache/kernels/$key/bzImage
	[ ! -e "$bzimage" ] || return 0

	kernel_lock
	# We may have waited, and the series may have been edited meanwhile.
	key=$(kernel_key "$1")
	bzimage=$cache/kernels/$key/bzImage
	if [ ! -e "$bzimage" ]; then
		kernel_prepare "$1"
		[ "$key" = "$(kernel_key "$1")" ] ||
			die "kernel-patches/ was edited just now, while it was" \
			    "being read: run this again"
		kernel_compile "$src" "$out" "$1"

		rm -rf "$cache/kernels/$key" "$cache/kernels/new"
		mkdir "$cache/kernels/new"
		cp "$out/arch/x86/boot/bzImage" "$out/System.map" "$cache/kernels/new"
		cp "$out/.config" "$cache/kernels/new/config"
		kernel_modules "$out" | (cd "$out" && xargs -r cp -t "$cache/kernels/new")
		mv "$cache/kernels/new" "$cache/kernels/$key"
		# Every edit of the series makes one more: keep the latest.
		find "$cache/kernels" -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' |
			sort -rn | tail -n +25 | cut -d' ' -f2- | xargs -r rm -rf
	fi
	kernel_unlock
}
