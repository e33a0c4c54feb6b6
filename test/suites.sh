# shellcheck shell=bash
#
# The test suites, run by test/run inside its scratch copy of the tree, as an
# account that may run a server.  Every suite appends one line to
# $RMSYNC_TEST_WORK/results: name, passed, failed, skipped.
set -uo pipefail

work=$RMSYNC_TEST_WORK
tree=$work/tree
logs=$work/logs
stage=$work/stage
names=("$@")
cd "$tree" || exit 1

bindir=$("$PG_CONFIG" --bindir)
pgxs_src=$(dirname "$("$PG_CONFIG" --pgxs)")/..
failures=0
built=no

# shellcheck source-path=SCRIPTDIR source=stage.sh
. test/stage.sh

wanted()
{
	[[ " $RMSYNC_TEST_SUITES " == *" $1 "* ]]
}

# record SUITE PASSED FAILED SKIPPED: for the total, and for the reader.
record()
{
	echo "$*" >>"$work/results"
	failures=$((failures + $3))
	if [ "${4:-0}" -gt 0 ]; then
		echo "$1: $2 passed, $3 failed, $4 skipped"
	else
		echo "$1: $2 passed, $3 failed"
	fi
}

# Prints the end of a file, indented, under a title.
show_tail()
{
	if [ -s "$1" ]; then
		echo "--- ${3:-$(basename "$1")}"
		tail -n "$2" "$1" | sed 's/^/    /'
	fi
}

# count PATTERN FILE
count()
{
	grep -cE -- "$1" "$2" || :
}

# ---------------------------------------------------------------- building

build()
{
	if stage_build "$stage_strict" >"$logs/build.log" 2>&1 &&
		stage_conf >>"$logs/build.log" 2>&1; then
		cat test/regress.conf "$stage/stage.conf" >"$stage/regress.conf"
		cat test/tap.conf "$stage/stage.conf" >"$stage/tap.conf"
		built=yes
		record build 1 0 0
	else
		show_tail "$logs/build.log" 60
		record build 0 1 0
	fi
}

# ----------------------------------------------------- one function per suite

start_lint()
{
	RMSYNC_BUILT=$built timeout -k 10 600 test/lint >"$logs/lint.log" 2>&1 &
	lint_pid=$!
}

finish_lint()
{
	local status=0 passed failed skipped

	wait "$lint_pid" || status=$?
	passed=$(count '^ok ' "$logs/lint.log")
	failed=$(count '^not ok ' "$logs/lint.log")
	skipped=$(count '^ok .*# SKIP' "$logs/lint.log")
	passed=$((passed - skipped))
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
	fi
	if [ -z "${CI:-}" ]; then
		cat "$logs/lint.log"
	else
		grep -vE '^ok ' "$logs/lint.log"
	fi
	record lint "$passed" "$failed" "$skipped"
}

# The stand-ins are programs too: their own tests come first.
run_fakes()
{
	local log=$logs/fakes.log
	local ran failed errors skipped status=0 args=(discover -s test/fake -t test/fake)
	local name

	if ! compgen -G 'test/fake/test*.py' >/dev/null; then
		record fakes 0 0 0
		return
	fi
	for name in "${names[@]}"; do
		args+=(-k "$name")
	done
	timeout -k 10 300 python3 -m unittest "${args[@]}" -v >"$log" 2>&1 || status=$?
	ran=$(sed -n 's/^Ran \([0-9]*\) test.*/\1/p' "$log" | tail -n 1)
	failed=$(tail -n 1 "$log" | sed -n 's/.*failures=\([0-9]*\).*/\1/p')
	errors=$(tail -n 1 "$log" | sed -n 's/.*errors=\([0-9]*\).*/\1/p')
	skipped=$(tail -n 1 "$log" | sed -n 's/.*skipped=\([0-9]*\).*/\1/p')
	failed=$((${failed:-0} + ${errors:-0}))
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
	fi
	ran=$((${ran:-0} - failed - ${skipped:-0}))
	if [ "$failed" -gt 0 ]; then
		show_tail "$log" 60
	elif [ -z "${CI:-}" ]; then
		grep -E '\.\.\. ' "$log"
	fi
	record fakes "$((ran > 0 ? ran : 0))" "$failed" "${skipped:-0}"
}

# Test names under a pattern, restricted to the names asked for.
select_names()
{
	local file stem name

	for file in $1; do
		[ -e "$file" ] || continue
		stem=$(basename "$file")
		stem=${stem%.*}
		if [ ${#names[@]} -eq 0 ]; then
			echo "$stem"
			continue
		fi
		for name in "${names[@]}"; do
			if [ "$stem" = "$name" ] || [[ $stem == [0-9]*_$name && $1 == *.pl ]]; then
				echo "$stem"
			fi
		done
	done
}

# A server of the SQL suites has no reason to crash.
crashed()
{
	[ -f "$1" ] && grep -E 'TRAP: |was terminated by signal|PANIC: ' "$1"
}

# A missing expected output would end pg_regress at once; an empty one makes
# just that test fail, and its result is shown as the difference.
add_expected()
{
	local name

	for name in $2; do
		if [ ! -e "$1/$name.out" ]; then
			mkdir -p "$1"
			: >"$1/$name.out"
		fi
	done
}

# Both SQL suites have one driver and one output format: "test x ... ok" up to
# PostgreSQL 15, "ok 1 - x" later.
run_pg_regress()
{
	local suite=$1 variable=$2 output=$3 selected=$4
	local log=$logs/$suite.log
	local status=0 passed failed

	if [ -z "$selected" ]; then
		record "$suite" 0 0 0
		return
	fi
	timeout -k 10 600 make -s installcheck PG_CONFIG="$PG_CONFIG" with_llvm=no \
		INSTANCE="--temp-config=$stage/regress.conf" \
		REGRESS= ISOLATION= TAP_TESTS= "$variable=${selected//$'\n'/ }" >"$log" 2>&1 || status=$?
	passed=$(count '^((test| +) ?[^ ]+ +\.\.\. ok|ok [0-9]+ )' "$log")
	failed=$(count '(\.\.\. (FAILED|failed)|^not ok [0-9]+ )' "$log")
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
	fi
	mkdir -p "$logs/$suite"
	cp -R "$output"/log "$output"/results "$output"/regression.* "$logs/$suite/" 2>/dev/null
	if [ -z "${CI:-}" ]; then
		grep -E '\.\.\. |^(not )?ok ' "$log"
	fi
	if [ "$failed" -gt 0 ]; then
		show_tail "$log" 20
		show_tail "$logs/$suite/regression.diffs" 120
	fi
	if crashed "$logs/$suite/log/postmaster.log"; then
		echo "not ok - no crash in the $suite server's log"
		failed=$((failed + 1))
	fi
	if [ "$failed" -gt 0 ]; then
		show_tail "$logs/$suite/log/postmaster.log" 30
	fi
	record "$suite" "$passed" "$failed" 0
}

run_regress()
{
	local selected

	selected=$(select_names 'test/sql/*.sql')
	add_expected expected "$selected"
	run_pg_regress regress REGRESS . "$selected"
}

run_isolation()
{
	local selected

	selected=$(select_names 'test/isolation/specs/*.spec')
	add_expected test/isolation/expected "$selected"
	run_pg_regress isolation ISOLATION output_iso "$selected"
}

# Runs one TAP file, with its own log.
run_tap_file()
{
	local name=$1

	ulimit -c 0					# crashes are part of the tests
	timeout -k 10 600 prove -v -I "$pgxs_src/test/perl" -I test/perl "test/t/$name.pl" \
		>"$logs/tap/$name.log" 2>&1
	echo $? >"$logs/tap/$name.status"
}

report_tap_file()
{
	local name=$1 log=$logs/tap/$1.log
	local status passed failed skipped

	status=$(cat "$logs/tap/$name.status" 2>/dev/null || echo 1)
	passed=$(count '^ok ' "$log")
	skipped=$(count '^ok .*# (SKIP|skip)' "$log")
	failed=$(($(count '^not ok ' "$log") - $(count '^not ok .*# TOD[O]' "$log")))
	passed=$((passed - skipped))
	if grep -qE '^1\.\.0 # (SKIP|skip)' "$log"; then
		skipped=$((skipped + 1))
	fi
	# An assertion that failed in a server is a failure, whatever the test says.
	if grep -l 'TRAP: ' "$work/tap/tmp_check/log/$name"_*.log 2>/dev/null; then
		echo "not ok - no failed assertion in a server's log"
		failed=$((failed + 1))
	fi
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
	fi
	if [ "$failed" -gt 0 ]; then
		echo "--- $name: failed"
		grep -E '^not ok |^#  ' "$log" | head -n 40 | sed 's/^/    /'
		show_tail "$log" 40
		for server_log in "$work/tap/tmp_check/log/$name"_*.log; do
			show_tail "$server_log" 25
		done
	elif [ -z "${CI:-}" ]; then
		echo "$name: $passed passed"
	fi
	tap_passed=$((tap_passed + passed))
	tap_failed=$((tap_failed + failed))
	tap_skipped=$((tap_skipped + skipped))
}

# Tests that say they are slow go first, so that the run does not end with one
# of them alone.
slow_first()
{
	local name

	for name in $1; do
		if grep -q '^# Slow: ' "test/t/$name.pl"; then
			echo "$name"
		fi
	done
	for name in $1; do
		if ! grep -q '^# Slow: ' "test/t/$name.pl"; then
			echo "$name"
		fi
	done
}

run_tap()
{
	local name tap_passed=0 tap_failed=0 tap_skipped=0
	local selected

	selected=$(slow_first "$(select_names 'test/t/*.pl')")
	mkdir -p "$logs/tap" "$work/tap/tmp_check/log"
	export TESTDIR=$work/tap TESTDATADIR=$work/tap/tmp_check TESTLOGDIR=$work/tap/tmp_check/log
	export TEMP_CONFIG=$stage/tap.conf PG_REGRESS=$pgxs_src/test/regress/pg_regress
	export PGPORT=65432 PATH=$bindir:$PATH
	for name in $selected; do
		# They wait more than they compute.
		while [ "$(jobs -rp | wc -l)" -gt "$stage_jobs" ]; do
			wait -n
		done
		run_tap_file "$name" &
	done
	wait
	for name in $selected; do
		report_tap_file "$name"
	done
	cp -R "$work/tap/tmp_check/log" "$logs/tap/servers" 2>/dev/null
	record tap "$tap_passed" "$tap_failed" "$tap_skipped"
}

# --------------------------------------------------------------------- main

if [[ $RMSYNC_TEST_SUITES == *[!\ ]* ]]; then
	if wanted lint || wanted regress || wanted isolation || wanted tap; then
		build
	fi
	if wanted lint; then
		start_lint
	fi
	if wanted fakes; then
		run_fakes
	fi
	for suite in regress isolation; do
		if wanted "$suite" && [ "$built" = yes ]; then
			"run_$suite"
		fi
	done
	if wanted lint; then
		finish_lint
	fi
	if wanted tap && [ "$built" = yes ]; then
		run_tap
	fi
fi
echo 'finished 0 0 0' >>"$work/results"
[ "$failures" -eq 0 ]
