# shellcheck shell=bash
#
# Sourced by test/run, test/lint and test/bench/run: finds PostgreSQL, and
# installs from Debian's packages what the tests need and the machine lacks.
# Silent when nothing is missing.  Sets and exports PG_CONFIG.
#
#   PG_CONFIG=/path/to/pg_config   test against that PostgreSQL
#   PG_MAJOR=17                    ... or against that Debian package
#   RMSYNC_NO_INSTALL=1            never install anything, only complain

# Prints the path of the pg_config to use; it need not exist yet.
rmsync_pg_config()
{
	local major=${PG_MAJOR:-15}

	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" || echo "$PG_CONFIG"
	elif [ -z "${PG_MAJOR:-}" ] && [ ! -x "/usr/lib/postgresql/$major/bin/postgres" ] &&
		command -v pg_config >/dev/null && [ -x "$(pg_config --bindir)/postgres" ]; then
		command -v pg_config
	else
		echo "/usr/lib/postgresql/$major/bin/pg_config"
	fi
}

# Remembers package $1, needed for $2.  Lint tools go to a second list: the
# tests can run without them.
rmsync_want()
{
	if [ "$2" = lint ]; then
		rmsync_lint_packages+=("$1")
	else
		rmsync_packages+=("$1")
		rmsync_reasons+=("  $1: $2")
	fi
}

rmsync_have()
{
	command -v "$1" >/dev/null 2>&1
}

rmsync_perl_has()
{
	perl "-M$1" -e 1 >/dev/null 2>&1
}

# Fills the two lists with what is missing.
rmsync_find_missing()
{
	local bindir pgxs include major

	rmsync_packages=() rmsync_reasons=() rmsync_lint_packages=()

	major=${PG_MAJOR:-15}
	if [ -x "$PG_CONFIG" ]; then
		major=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
		bindir=$("$PG_CONFIG" --bindir)
		pgxs=$("$PG_CONFIG" --pgxs)
		include=$("$PG_CONFIG" --includedir-server)
	else
		case $PG_CONFIG in
		/usr/lib/postgresql/*/bin/pg_config)
			major=${PG_CONFIG#/usr/lib/postgresql/}
			major=${major%%/*}
			;;
		esac
		bindir=/usr/lib/postgresql/$major/bin
		pgxs=/usr/lib/postgresql/$major/lib/pgxs/src/makefiles/pgxs.mk
		include=/usr/include/postgresql/$major/server
	fi

	[ -x "$bindir/postgres" ] ||
		rmsync_want "postgresql-$major" 'the server under test'
	[ -f "$include/postgres.h" ] ||
		rmsync_want "postgresql-server-dev-$major" 'headers and PGXS to build the extension'
	[ -f "${pgxs%/makefiles/*}/test/perl/PostgreSQL/Test/Cluster.pm" ] ||
		rmsync_want "postgresql-client-$major" 'psql, pg_regress and the Perl test library'
	rmsync_have gcc || rmsync_want gcc 'compiler'
	rmsync_have make || rmsync_want make 'build'
	rmsync_have pkg-config || rmsync_want pkg-config 'build'
	rmsync_have python3 || rmsync_want python3 'stand-ins for the remote services'
	rmsync_have prove || rmsync_want perl 'TAP tests'
	[ "$(id -u)" -ne 0 ] || rmsync_have runuser || rmsync_want util-linux 'leaving the root account, which may not run a server'
	rmsync_have curl-config || rmsync_want libcurl4-openssl-dev 'HTTP in the extension'
	[ -f /etc/ssl/certs/ca-certificates.crt ] || [ -f "$(curl-config --ca 2>/dev/null)" ] ||
		rmsync_want ca-certificates 'without any, libcurl refuses to begin with TLS'
	[ -f /usr/include/md4c.h ] || [ -f /usr/local/include/md4c.h ] ||
		rmsync_want libmd4c-dev 'Markdown parser of the extension'
	rmsync_perl_has IPC::Run || rmsync_want libipc-run-perl 'TAP tests'
	rmsync_perl_has IO::Pty || rmsync_want libio-pty-perl 'TAP tests that hold a psql session open'

	rmsync_have clang-format-14 || rmsync_want clang-format-14 lint
	rmsync_have clang-tidy || rmsync_want clang-tidy lint
	rmsync_have cppcheck || rmsync_want cppcheck lint
	rmsync_have shellcheck || rmsync_want shellcheck lint
	rmsync_have pmccabe || rmsync_want pmccabe lint
}

# Runs a command as root, with sudo where that works without a password.
rmsync_as_root()
{
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

# Installs packages.  Debian's server package would create and start a
# cluster of its own: a drop-in file forbids that while we install.
rmsync_apt()
{
	local env=(env DEBIAN_FRONTEND=noninteractive)
	local drop_in=/etc/postgresql-common/createcluster.d/rmsync-test.conf
	local log status=0

	log=$(mktemp)
	rmsync_as_root mkdir -p "${drop_in%/*}"
	echo 'create_main_cluster = false' | rmsync_as_root tee "$drop_in" >/dev/null

	# Package lists may be absent or too old: refresh them only then.
	if ! rmsync_as_root "${env[@]}" apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
		rmsync_as_root "${env[@]}" apt-get update >"$log" 2>&1 </dev/null || :
		rmsync_as_root "${env[@]}" apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null ||
			status=$?
	fi
	[ "$status" -eq 0 ] || tail -n 20 "$log" >&2

	rmsync_as_root rm -f "$drop_in"
	rmsync_as_root rmdir "${drop_in%/*}" 2>/dev/null
	rm -f "$log"
	return "$status"
}

# Whether packages can be installed here; else says what to do.
rmsync_can_install()
{
	if [ -n "${RMSYNC_NO_INSTALL:-}" ] || ! rmsync_have apt-get; then
		return 1
	fi
	[ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

rmsync_ensure_packages()
{
	local package

	PG_CONFIG=$(rmsync_pg_config)
	rmsync_find_missing

	if [ ${#rmsync_packages[@]} -gt 0 ]; then
		echo 'Needed for the tests and not installed:'
		printf '%s\n' "${rmsync_reasons[@]}"
		if ! rmsync_can_install; then
			echo "Please install them: apt-get install ${rmsync_packages[*]}" >&2
			return 1
		fi
		echo 'Installing them from Debian (no database cluster is created or started).'
		rmsync_apt "${rmsync_packages[@]}" || return 1
	fi

	if [ ${#rmsync_lint_packages[@]} -gt 0 ] && [ -z "${RMSYNC_ONLY_NEEDED:-}" ]; then
		if rmsync_can_install; then
			echo "Installing from Debian for the source checks: ${rmsync_lint_packages[*]}"
			# One by one: another release of Debian may lack one of them.
			for package in "${rmsync_lint_packages[@]}"; do
				rmsync_apt "$package" ||
					echo "Could not install $package: the checks that need it are skipped."
			done
		else
			echo "Not installed, so some source checks are skipped: ${rmsync_lint_packages[*]}"
		fi
	fi

	PG_CONFIG=$(rmsync_pg_config)
	if [ ! -x "$PG_CONFIG" ]; then
		echo "could not find pg_config at \"$PG_CONFIG\": set PG_CONFIG" >&2
		return 1
	fi
	export PG_CONFIG
}
