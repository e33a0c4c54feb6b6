# The engine among everything else a server does: snapshots, locks, DDL,
# poison, standbys, copies of the database, few descriptors, memory.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncLive;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(time);

my $hook = RmsyncFake->start('hook.py', '--secret', $secret);
my $node = live_node(streaming => 1, conf => { 'rmsync.max_attempts' => 2 });

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub new_user
{
	my ($user, %config) = @_;

	connect_user($node, $hook, $user, types => ['page_text'], %config);
	return sql("SELECT test.add_notebook($user, 'n$user', 'Notebook $user')");
}

sub add_pages
{
	my ($notebook, $from, $to) = @_;
	return sql("SELECT count(test.add_page($notebook, n, 'page ' || n)) FROM generate_series($from, $to) n");
}

sub requests
{
	my ($user) = @_;
	return scalar events($hook, $user);
}

# Memory of its own, not what it shares.
sub private_kb
{
	my ($pid) = @_;
	my ($kb) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
	return $kb;
}

# ------------------------------------------------------- snapshots and locks

my $n1 = new_user(1);
settle($node, 1);
rule($hook, 1, '/delay/1500', 5);
add_pages($n1, 1, 5);
wait_until(sub { requests(1) == 5 }, 'five slow deliveries');
is( sql(q{SELECT count(*) FILTER (WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR xact_start IS NOT NULL)
	FROM pg_stat_activity WHERE backend_type = 'rmsync worker' AND state = 'idle'}),
	0,
	'the worker holds no snapshot and no transaction meanwhile');
is(sql(q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE a.backend_type = 'rmsync worker' AND l.locktype = 'relation'}), 0, 'and no lock on any table');
settle($node, 1);

my $locker = $node->background_psql('postgres', on_error_die => 1);
my $position = log_position($node);
$locker->query_safe('BEGIN; LOCK TABLE rmsync.sync_queue IN ACCESS EXCLUSIVE MODE');
sql("UPDATE pages SET ocr_text = 'while locked' WHERE notebook_id = $n1");
log_has($node, qr/canceling statement due to lock timeout/, $position, 'a locked table makes the worker wait');
$locker->query_safe('COMMIT');
my $start = time;
settle($node, 1, 'the lock is gone, the work gets done');
cmp_ok(time - $start, '<', 5, 'soon');
$locker->quit;

# ------------------------------------------------------------------- poison

my $n2 = new_user(2);
my $n3 = new_user(3);
new_user(4);
new_user(5);
settle($node, $_) foreach 1 .. 5;
my ($pid) = worker_pids($node);
sql(q{
	UPDATE rmsync.integration_configs SET config_encrypted = 'gAAAAAgarbage' WHERE user_id = 4;
	UPDATE rmsync.integration_configs SET target_name = 'nonsense' WHERE user_id = 5;
	ALTER TABLE rmsync.sync_queue DROP CONSTRAINT sync_queue_status_check;
	INSERT INTO rmsync.sync_queue (user_id, lane_id, target_name, item_type, item_id, notebook_uuid, version, seq, priority)
	SELECT user_id, id, target_name, t, i, n, nextval('rmsync.version_seq'), 1, 1
	FROM rmsync.integration_configs, (VALUES ('garbage', 'x', 'n2'), ('page_text', 'no such page', NULL),
		('page_text', '', 'n2'), ('todo', 'not a number', 'n2'), ('page_text', E'"\\\\\\n', 'n2')) v (t, i, n)
	WHERE user_id IN (2, 4, 5);
	-- a ledger row that cannot be read, and one that cannot be written
	INSERT INTO rmsync.sync_records (user_id, target_name, item_type, item_id, lane_id, notebook_uuid, status, intent, metadata_json)
	SELECT 2, 'webhook', 'page_text', test.page_uuid(1, 1), id, 'n2', 'pending', '[{"id": 1}]', '"x"'
	FROM rmsync.integration_configs WHERE user_id = 2;
	CREATE FUNCTION test.poison() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		RAISE 'poison' USING ERRCODE = 'data_exception';
	END $$;
});
sql(qq{CREATE TRIGGER poison BEFORE INSERT ON rmsync.sync_records FOR EACH ROW
	WHEN (new.item_id = test.page_uuid($n3, 7)) EXECUTE FUNCTION test.poison()});
add_pages($n2, 1, 5);
add_pages($n3, 1, 20);
add_pages($n1, 6, 15);
wait_for($node, q{SELECT count(*) FROM rmsync.sync_records WHERE user_id IN (1, 2, 3) AND status = 'success'},
	15 + 5 + 19, 'poisoned rows do not stop what is good');
wait_for($node, q{SELECT error_code FROM rmsync.sync_queue WHERE user_id = 3}, 'record_failed',
	'an outcome that cannot be recorded is an error of its item');
is((worker_pids($node))[0], $pid, 'the worker survived all of it');
# its row was not announced: it is found at the next look
wait_for($node, 'SELECT state FROM rmsync.integration_configs WHERE user_id = 4', 'auth', 'a damaged configuration stops its own lane');
sql(qq{
	DROP TRIGGER poison ON rmsync.sync_records;
	UPDATE rmsync.sync_queue SET status = 'pending', run_at = NULL, attempt = 0 WHERE user_id = 3;
	DELETE FROM rmsync.sync_queue WHERE item_type = 'garbage' OR user_id IN (4, 5);
	DELETE FROM rmsync.integration_configs WHERE user_id IN (4, 5);
	ALTER TABLE rmsync.sync_queue ADD CONSTRAINT sync_queue_status_check CHECK (status IN ('pending', 'failed'));
	SELECT rmsync.wake()});
settle($node, undef, 'everything is clean again');

# ------------------------------------------------------------------- standby

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$hook->post('/_reset');
set_conf($node, 'rmsync.enabled' => 'off');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'rmsync worker'}, 0, 'the primary has no worker');
sql("UPDATE pages SET ocr_text = 'before promotion' WHERE notebook_id = $n1");
$node->wait_for_catchup($standby, 'replay');
is($standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM rmsync.sync_intake'), 't', 'the standby has the marks');
is($standby->safe_psql('postgres', q{SELECT rmsync_health()->>'queue_processor'}), 'stopped', 'and says that it does not work on them');
is(requests(), 0, 'a standby sends nothing');
$node->stop;
$standby->append_conf('postgresql.conf', "rmsync.enabled = on\n");
$standby->promote;
wait_for($standby, q{SELECT count(*) FROM rmsync.sync_records WHERE synced_at > now() - interval '1 hour' AND user_id = 1}, 15, 'ledger is there');
settle($standby, undef, 'promoted, it goes on by itself');
is((grep { /before promotion/ } event_texts($hook, 1)), 15, 'with what the primary left');

# -------------------------------------------------------- a copy of the data

# From here on the promoted server is the original.
my $original = $standby;
my ($dump) = run_command([ 'pg_dump', '-d', $original->connstr('postgres') ]);
my $copy = new_node(
	name => 'copy',
	extension => 0,
	conf => {
		'rmsync.master_key_file' => $original->safe_psql('postgres', 'SHOW rmsync.master_key_file'),
		'rmsync.backoff_scale' => '0.01',
		'rmsync.recheck_interval' => '1s'
	});
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
append_to_file($file, $dump);
$hook->post('/_reset');
$copy->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $copy->connstr('postgres'), '-f', $file ], 'a dump is restored');
is($copy->safe_psql('postgres', 'SELECT count(*) FROM rmsync.sync_records'), 40, 'with its ledger');
$copy->safe_psql('postgres', 'SELECT rmsync_attach()');
$copy->safe_psql('postgres', "UPDATE pages SET ocr_text = 'in the copy' WHERE notebook_id = $n1 AND page_uuid = test.page_uuid($n1, 1)");
wait_for($copy, q{SELECT last_turn_at > now() - interval '10 s' FROM rmsync.stat_worker}, 't', 'a worker looks at the copy');
is($copy->safe_psql('postgres', q{SELECT rmsync_health()->>'instance_ok'}), 'false', 'and knows that it is one');
is(requests(), 0, 'it sends nothing');
$copy->safe_psql('postgres', 'SELECT rmsync_adopt_instance()');
settle($copy, undef, 'until it is told to');
is_deeply([ event_texts($hook) ], ['page_text.updated in the copy'], 'and then only what is new');
$copy->stop;

# -------------------------------------------------------------- DROP EXTENSION

rule($hook, 1, '/hang', 1000);
$original->safe_psql('postgres', "UPDATE pages SET ocr_text = 'dropped' WHERE notebook_id = $n1");
wait_until(sub { (grep { /dropped/ } event_texts($hook, 1)) == 5 }, 'requests are under way');
$start = time;
$original->safe_psql('postgres', 'DROP EXTENSION rmsync CASCADE');
cmp_ok(time - $start, '<', 5, 'DROP EXTENSION does not wait for them');
wait_for($original, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'rmsync worker'}, 0, 'the worker leaves');
is($original->safe_psql('postgres', q{SELECT (SELECT count(*) FROM pg_trigger WHERE tgname ~ 'rmsync')
	+ (SELECT count(*) FROM pg_namespace WHERE nspname = 'rmsync') + (SELECT count(*) FROM pg_proc WHERE proname ~ '^rmsync')}),
	0, 'nothing is left');
$original->safe_psql('postgres', "UPDATE pages SET ocr_text = 'without' WHERE notebook_id = $n1");
$hook->post('/_reset');
$original->safe_psql('postgres', 'CREATE EXTENSION rmsync; SELECT rmsync_attach()');
connect_user($original, $hook, 1, types => ['page_text']);
settle($original, undef, 'created again it works again');
is((grep { /without/ } event_texts($hook, 1)), 15, 'from the start');
$original->stop;

# ----------------------------------------------------- descriptors and memory

my $fast = RmsyncFake->start('hook.py', '--fast');
$node = live_node(
	name => 'many',
	conf => { 'max_files_per_process' => 64, 'rmsync.max_in_flight' => 1000 });
sql(q{
	SELECT test.add_user(u) FROM generate_series(1, 20) u;
	SELECT test.add_page(n, p, 'page ' || p) FROM (SELECT test.add_notebook(u, 'n' || u, 'Notebook') AS n
		FROM generate_series(1, 20) u) n, generate_series(1, 50) p;
});
connect_user($node, $fast, $_, types => ['page_text'], max_in_flight => 64) foreach 1 .. 20;
wait_for($node, 'SELECT count(*) FROM rmsync.sync_records', 1000, 'a thousand deliveries with 64 descriptors');
is(sql(q{SELECT count(*) FROM rmsync.sync_log WHERE status <> 'success'}), 0, 'none of them in trouble');

# Buffers and caches grow at first; what grows later is lost.
set_conf($node, 'rmsync.max_in_flight' => 64);
sql('SELECT rmsync_worker_restart()');
my $private;
foreach my $round (1 .. 20)
{
	sql("UPDATE pages SET ocr_text = 'round $round'");
	wait_for($node, 'SELECT (SELECT count(*) FROM rmsync.sync_intake) + (SELECT count(*) FROM rmsync.sync_queue)',
		0, "round $round");
	($pid) = worker_pids($node) if $round == 1;
	$private = private_kb($pid) if $round == 6;
}
is((worker_pids($node))[0], $pid, 'one worker did it all');
cmp_ok($fast->get('/_stats?brief')->{requests}, '>=', 20_000, '20,000 deliveries');
cmp_ok(private_kb($pid) - $private, '<', 3_000, 'take no memory with them');
$node->stop;
done_testing();
