# shellcheck shell=bash
#
# Sourced by test/run and test/bench/run: a scratch copy of the tree that is
# gone at exit, together with every process started in it.  The caller sets
# $root, the top of the tree.

: "${root:?}"

# Makes the directory $work with tmp/ and logs/, and has it removed at exit.
scratch_make()
{
	local base=${TMPDIR:-/tmp}

	# Socket paths are short of room.
	if [ ${#base} -gt 40 ]; then
		base=/tmp
	fi
	work=$(mktemp -d "$base/rmsync.XXXXXX")
	work=$(cd "$work" && pwd -P)
	trap scratch_remove EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	chmod 755 "$work"
	mkdir "$work/tmp" "$work/logs"
}

# Copies the files that belong to the tree (tracked, or new and not ignored),
# without history and build products, to $work/tree.
scratch_copy_tree()
{
	local git=(git -c "safe.directory=$root" -C "$root")

	mkdir "$work/tree"
	if "${git[@]}" rev-parse --git-dir >/dev/null 2>&1; then
		"${git[@]}" ls-files -z --cached --others --exclude-standard
	else
		(cd "$root" && find . -type f ! -name '*.o' ! -name '*.so' ! -name '*.bc' -print0)
	fi | while IFS= read -r -d '' file; do
		if [ -e "$root/$file" ]; then
			printf '%s\0' "$file"
		fi
	done >"$work/files"
	tar -C "$root" --null -T "$work/files" -cf - | tar -C "$work/tree" -xf -
}

# Runs a command with a small environment, so that no proxy, locale or PG*
# variable of the caller matters; as postgres if we are root, because a server
# refuses to run as root.  Leading NAME=VALUE words are added.
scratch_run()
{
	local path=$PATH
	local user=()

	if [ "$(id -u)" -eq 0 ]; then
		chown -R postgres "$work"
		path=/usr/local/bin:/usr/bin:/bin
		user=(runuser -u postgres --)
	fi
	# In the background, so that a signal reaches our trap at once.
	"${user[@]}" env -i PATH="$path" HOME="$work/tmp" TMPDIR="$work/tmp" \
		LANG=C.UTF-8 LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
		PG_CONFIG="$PG_CONFIG" ${PERL5LIB:+PERL5LIB="$PERL5LIB"} ${CI:+CI="$CI"} \
		${PG_TEST_TIMEOUT_DEFAULT:+PG_TEST_TIMEOUT_DEFAULT="$PG_TEST_TIMEOUT_DEFAULT"} \
		RMSYNC_TEST_WORK="$work" "$@" </dev/null &
	wait $!
}

# Processes of this run: every child has its directory in its environment, and
# servers, which overwrite theirs, have a working directory below it.
scratch_processes()
{
	local dir pid cwd

	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		cwd=$(readlink "$dir/cwd" 2>/dev/null) || continue
		if [ "$pid" = $$ ]; then
			continue
		elif [[ $cwd == "$work"* ]] ||
			grep -qszFx "RMSYNC_TEST_WORK=$work" "$dir/environ" 2>/dev/null; then
			echo "$pid"
		fi
	done
}

# Ends them: politely, then not.
scratch_stop_processes()
{
	local pids

	pids=$(scratch_processes)
	if [ -z "$pids" ]; then
		return 0
	fi
	# shellcheck disable=SC2086
	kill -INT $pids 2>/dev/null || :
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.2
		pids=$(scratch_processes)
		if [ -z "$pids" ]; then
			return 0
		fi
	done
	# shellcheck disable=SC2086
	kill -KILL $pids 2>/dev/null || :
	sleep 0.2
}

scratch_remove()
{
	set +e
	scratch_stop_processes
	rm -rf "$work"
}
