# Life and death of the launcher and the workers.
#
# Every wait is for a condition; nothing here depends on how fast it comes.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'rmsync'
restart_after_crash = on
});
$node->start;

# Number of workers in a database (of any, if none is named).
sub workers_are
{
	my ($count, $datname, $name, $on) = @_;
	my $where = defined $datname ? "AND datname = '$datname'" : '';
	$on ||= $node;
	ok( $on->poll_query_until(
			'postgres',
			"SELECT count(*) = $count FROM pg_stat_activity
			WHERE backend_type = 'rmsync worker' $where"),
		$name);
}

sub worker_pid
{
	my ($datname) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'rmsync worker' AND datname = '$datname'");
}

# A worker that is not the one we knew.
sub worker_is_new
{
	my ($datname, $old, $name) = @_;
	ok( $node->poll_query_until(
			'postgres',
			"SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'rmsync worker' AND datname = '$datname'
			AND pid <> $old"),
		$name);
}

sub configure
{
	$node->append_conf('postgresql.conf', $_) for @_;
	$node->reload;
}

sub reason_like
{
	my ($datname, $pattern, $name) = @_;
	ok( $node->poll_query_until(
			$datname,
			"SELECT reason LIKE '$pattern' FROM rmsync.worker_state()"),
		$name);
}

# Runs a command and says how long it took.
sub timed_sql
{
	my ($sql, $limit, $name) = @_;
	my $start = time;
	$node->safe_psql('postgres', $sql);
	cmp_ok(time - $start, '<', $limit, $name);
}

# Start
ok( $node->poll_query_until(
		'postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'rmsync launcher'"
	),
	'launcher runs');
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(one two);
workers_are(0, undef, 'no worker where the extension is not');
$node->safe_psql('one', 'CREATE EXTENSION rmsync CASCADE');
workers_are(1, 'one', 'CREATE EXTENSION starts a worker');
workers_are(0, 'two', 'not in the other database');
is( $node->safe_psql('one',
		'SELECT preloaded, launcher_pid IS NOT NULL, failures, reason IS NULL FROM rmsync.worker_state()'
	),
	't|t|0|t',
	'worker_state() is content');
is( $node->safe_psql('one', 'SELECT pid FROM rmsync.stat_worker'),
	worker_pid('one'), 'stat_worker shows the worker');
is( $node->safe_psql('one',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'rmsync%' AND backend_xmin IS NOT NULL AND state = 'idle'"
	),
	'0',
	'idle processes hold no snapshot');

# Settings that reach the worker from its database do not upset it
$node->safe_psql('postgres', q{
	ALTER DATABASE one SET default_transaction_read_only = on;
	ALTER DATABASE one SET default_transaction_isolation = 'serializable';
	ALTER DATABASE one SET statement_timeout = '1ms';
	ALTER DATABASE one SET search_path = '';
});
my $pid = worker_pid('one');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
worker_is_new('one', $pid, 'terminated worker is replaced');
$node->safe_psql('postgres', q{
	ALTER DATABASE one RESET ALL;
});

# Cancelling is ignored
$pid = worker_pid('one');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$node->safe_psql('one', 'SELECT rmsync.wake()');
ok( $node->poll_query_until(
		'one',
		"SELECT last_turn_at > now() - interval '10 s' FROM rmsync.stat_worker WHERE pid = $pid"
	),
	'cancelled worker goes on');

# Restart by function
is($node->safe_psql('one', 'SELECT rmsync_worker_restart()'),
	'1', 'rmsync_worker_restart() finds the worker');
worker_is_new('one', $pid, 'and another one comes');

# SIGHUP
configure("rmsync.enabled = off");
workers_are(0, undef, 'rmsync.enabled = off: workers leave');
reason_like('one', 'rmsync.enabled is off', 'and the state says why');
configure("rmsync.enabled = on");
workers_are(1, 'one', 'rmsync.enabled = on: they come back');
configure("rmsync.databases = 'two, three'");
workers_are(0, undef, 'rmsync.databases without it: worker leaves');
reason_like('one', '%rmsync.databases%', 'and the state says why');
configure("rmsync.databases = '*'");
workers_are(0, 'two', 'none in a database without the extension');
$node->safe_psql('one', 'SELECT rmsync.wake()');
workers_are(1, 'one', 'worker is back for work');

# Idle exit
configure("rmsync.worker_idle_timeout = 0");
workers_are(0, 'one', 'idle worker exits');
configure("rmsync.worker_idle_timeout = 60");
$node->safe_psql('one', 'SELECT rmsync.wake()');
workers_are(1, 'one', 'work brings it back');
$node->safe_psql('one',
	'BEGIN; SELECT rmsync.wake(); ROLLBACK;');

# DDL on databases
$pid = worker_pid('one');
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
my ($ret) = $node->psql('postgres', 'DROP DATABASE one',
	extra_params => [ '-U', 'nobody' ]);
isnt($ret, 0, 'DROP DATABASE by a stranger fails');
is(worker_pid('one'), $pid, 'and does not touch the worker');

timed_sql('CREATE DATABASE copy TEMPLATE one',
	30, 'CREATE DATABASE TEMPLATE of a database with a worker');
workers_are(1, 'one', 'worker comes back afterwards');
timed_sql('ALTER DATABASE one RENAME TO uno', 5, 'ALTER DATABASE RENAME');
workers_are(1, 'uno', 'worker comes back under the new name');
timed_sql('ALTER DATABASE uno RENAME TO one', 5, 'and again');
workers_are(1, 'one', 'worker comes back under the old name');
$node->safe_psql('copy', 'SELECT rmsync.wake()');
workers_are(1, 'copy', 'the copy gets a worker of its own');
timed_sql('DROP DATABASE two', 5, 'DROP DATABASE of a third one');
timed_sql('DROP DATABASE copy', 5, 'DROP DATABASE of one with a worker');
workers_are(0, 'copy', 'no worker is left');
is($node->safe_psql('postgres',
		"SELECT count(*) FROM pg_database WHERE datname IN ('two', 'copy')"),
	'0', 'databases are gone');

# A failed command lets the worker in again
my $session = $node->background_psql('one');
$session->query_safe('SELECT 1');
($ret) = $node->psql('postgres', 'DROP DATABASE one');
isnt($ret, 0, 'DROP DATABASE fails with a session in it');
$session->quit;
workers_are(1, 'one', 'worker comes back');

# DROP EXTENSION
$node->safe_psql('one', 'DROP EXTENSION rmsync');
workers_are(0, undef, 'DROP EXTENSION: worker leaves');
$node->safe_psql('one', 'CREATE EXTENSION rmsync');
workers_are(1, 'one', 'CREATE EXTENSION: it comes back');

# Termination while a worker connects.  An open ALTER DATABASE keeps it there.
my $offset = -s $node->logfile;
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe('ALTER DATABASE one RENAME TO uno');
my $waiting = "FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass";
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $waiting"),
	'worker waits while connecting');
$pid = $node->safe_psql('postgres', "SELECT pid $waiting");
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok( $node->poll_query_until(
		'postgres', "SELECT count(*) = 0 $waiting AND pid = $pid"),
	'it can be terminated there');
$session->query_safe('ROLLBACK');
$session->quit;
workers_are(1, 'one', 'another worker comes');
unlike(slurp_file($node->logfile, $offset),
	qr/terminating any other active server processes/,
	'the server did not restart');

# Launcher
$pid = worker_pid('one');
my $launcher = $node->safe_psql('one', 'SELECT launcher_pid FROM rmsync.worker_state()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
ok( $node->poll_query_until(
		'one',
		"SELECT launcher_pid <> $launcher FROM rmsync.worker_state()"),
	'terminated launcher is replaced');
is(worker_pid('one'), $pid, 'workers survive it');
$node->safe_psql('one', 'SELECT rmsync_worker_restart()');
worker_is_new('one', $pid, 'the new launcher looks after them');

# Crash
$pid = worker_pid('one');
$offset = -s $node->logfile;
kill 'KILL', $pid;
ok( $node->poll_query_until(
		'postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'rmsync launcher'"
	),
	'server recovers from a killed worker');
$node->wait_for_log(qr/database system is ready to accept connections/,
	$offset);
$node->safe_psql('one', 'SELECT rmsync.wake()');
worker_is_new('one', $pid, 'worker is back after the crash');

# Standby
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is( $standby->safe_psql('one',
		"SELECT reason LIKE '%standby%' FROM rmsync.worker_state()"),
	't', 'standby says why there is no worker');
workers_are(0, undef, 'no worker on a standby', $standby);
$standby->promote;
$standby->safe_psql('one', 'SELECT rmsync.wake()');
workers_are(1, 'one', 'promotion starts it', $standby);
$standby->stop;

# Fast stop
workers_are(1, 'one', 'a worker is running');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 5, 'fast stop is fast');

# No room
$node->append_conf('postgresql.conf', q{
max_worker_processes = 1
max_logical_replication_workers = 0
});
$offset = -s $node->logfile;
$node->start;
reason_like('one', '%max_worker_processes%',
	'state says that worker slots are missing');
$node->safe_psql('one', 'SELECT rmsync.wake()') for 1 .. 3;
my @warnings = slurp_file($node->logfile, $offset) =~
  /out of background worker slots/g;
is(scalar @warnings, 1, 'one warning');
$node->stop;

# Not preloaded
$node->append_conf('postgresql.conf', q{
max_worker_processes = 8
shared_preload_libraries = ''
});
$node->start;
is( $node->safe_psql('one',
		"SELECT preloaded, launcher_pid IS NULL, workers, reason LIKE '%shared_preload_libraries%' FROM rmsync.worker_state()"
	),
	'f|t|0|t',
	'without preloading the state says what to do');
$node->safe_psql('one', 'SELECT rmsync.wake()');
is($node->safe_psql('one', 'SELECT count(*) FROM rmsync.stat_worker'),
	'0', 'no workers');
is($node->safe_psql('one', 'SELECT rmsync_worker_restart()'),
	'0', 'nothing to restart');
is($node->safe_psql('one', 'LOAD \'rmsync\'; SHOW rmsync.max_databases'),
	'16', 'settings are there');
$node->stop;

done_testing();
