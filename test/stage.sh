# shellcheck shell=bash
#
# Sourced inside the scratch copy, by test/suites.sh and test/bench/inside.sh:
# builds rmsync and its test modules and stages them below $stage, where the
# throw-away servers find them.  The caller sets $stage.

: "${stage:?}"

stage_jobs=$(nproc 2>/dev/null || echo 1)
if [ "$stage_jobs" -gt 2 ]; then
	stage_jobs=2
fi

# Strict is for tests: assertions on, warnings are errors.  PostgreSQL's own
# headers are not ours to judge, so they count as system headers; unused
# parameters are the price of its callbacks.
stage_strict="-Wextra -Werror -Wno-unused-parameter -Wno-sign-compare
	-Wno-missing-field-initializers -DUSE_ASSERT_CHECKING
	-isystem $("$PG_CONFIG" --includedir-server)"
stage_strict=${stage_strict//[$'\n\t']/ }

# stage_build COPT: builds and stages everything.
stage_build()
{
	local flags=(-s "-j$stage_jobs" PG_CONFIG="$PG_CONFIG" with_llvm=no COPT="$1")
	local dir

	mkdir -p "$stage"
	make "${flags[@]}" || return 1
	make "${flags[@]}" install DESTDIR="$stage" || return 1
	for dir in test/module*/; do
		if [ -f "$dir/Makefile" ]; then
			make "${flags[@]}" -C "$dir" install DESTDIR="$stage" || return 1
		fi
	done
}

# Writes $stage/stage.conf, which every server of the run needs: where the
# staged files are, and a key for the credentials.  PostgreSQL 18 has a setting
# for extensions outside its tree; Debian patches one into the older majors.
stage_conf()
{
	local search described

	described=$("$("$PG_CONFIG" --bindir)/postgres" --describe-config)
	if grep -q '^extension_control_path' <<<"$described"; then
		search="extension_control_path = '$stage$("$PG_CONFIG" --sharedir):\$system'"
	elif grep -q '^extension_destdir' <<<"$described"; then
		search="extension_destdir = '$stage'"
	else
		echo 'This server cannot load an extension from a staging directory: run "make install installcheck".'
		return 1
	fi

	(umask 077 && echo 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=' >"$stage/master.key")
	{
		echo "$search"
		echo "dynamic_library_path = '$stage$("$PG_CONFIG" --pkglibdir):\$libdir'"
		echo "rmsync.master_key_file = '$stage/master.key'"
	} >"$stage/stage.conf"
}
