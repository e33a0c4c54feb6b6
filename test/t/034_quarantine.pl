# Items that crash the worker.  A crash of a worker restarts the server, so such
# an item must run out of chances; others must not be taken for it; and being
# killed is nobody's fault.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	conf => {
		'restart_after_crash' => 'on',
		'log_min_messages' => 'debug1' });
my $node = $t->node;
my $hook = RmsyncFake->start('hook.py');

sub page_uuid
{
	my ($book, $n) = @_;
	return sprintf('aaaaaaaa-0000-4000-8000-%06d%06d', $book->{id}, $n);
}

# How often the server went down since.
sub crashes
{
	my ($position) = @_;
	my @times = log_since($node, $position) =~ /all server processes terminated; reinitializing/g;
	return scalar @times;
}

# A query that may meet a server which is just restarting.
sub ask
{
	my ($sql) = @_;
	my ($out, $err, $status);

	wait_until(
		sub {
			$status = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err);
			return $status != 2;
		},
		'server answers');
	die "$sql: $err" if $status;
	return $out;
}

# Sends a signal to the worker once it is waiting for an answer, and waits
# until the server is back.
sub hit_worker
{
	my ($signal, $in_flight, $name) = @_;
	my $position;

	wait_for($node, 'SELECT count(*) FROM rmsync.in_flight()', $in_flight, "$name: worker waits for an answer");
	my ($pid) = worker_pids($node);
	ask('CHECKPOINT');			# a fold that a crash undoes leaves nobody to blame
	$position = log_position($node);
	signal_worker($signal, $pid);
	wait_until(sub { crashes($position) == 1 }, "$name: server restarts");
	wait_for($node, 'SELECT true', 't', "$name: server is back");
	return;
}

my $quarantined = "SELECT coalesce(string_agg(item_id, ' '), '') FROM rmsync.sync_queue
	WHERE status = 'failed' AND error_code = 'quarantined'";

# ------------------------------------------------ one of twenty is poison

sub deliveries_of
{
	my ($uuid) = @_;
	return scalar grep { $_->{body} =~ /\Q$uuid\E/ } @{ $hook->get('/_deliveries') };
}

ask('SELECT test.add_user(1)');
my $book = $t->add_notebook(1, 'Twenty', [ map { "text $_" } 1 .. 20 ]);
my $poison = page_uuid($book, 7);
my $position = log_position($node);
my $url = $hook->url('/hook');

set_conf($node, 'rmsync.debug_crash_item' => $poison);
ask("SELECT rmsync_connect(1, 'webhook', '{\"url\": \"$url\", \"secret\": \"whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\"}')");
wait_for($node, $quarantined, $poison, 'one by one: the poison item is quarantined');
$t->settled('one by one');
my $crashes = crashes($position);
cmp_ok($crashes, '>=', 2, 'one by one: two crashes at least, or this tests nothing');
cmp_ok($crashes, '<=', 4, 'one by one: at most four');
is(scalar(grep { deliveries_of(page_uuid($book, $_)) } 1 .. 20), 19, 'one by one: the others are delivered');
is(deliveries_of($poison), 0, 'one by one: the poison one is not');
is(ask("SELECT string_agg(kind || ' ' || item_id, ',') FROM rmsync.notifications WHERE kind <> 'first_success'"),
	"quarantined $poison", 'one by one: one notification');
is(ask('SELECT count(*) FROM rmsync.sync_queue WHERE suspect > 0 AND item_id <> ' . "'$poison'"),
	'0', 'one by one: nobody else is suspected');

# A change or a forced synchronization does not lift it
$position = log_position($node);
my $version = ask("SELECT version FROM rmsync.sync_queue WHERE item_id = '$poison'");
$t->edit_page($book->{pages}[6], 'changed');
ask("SELECT rmsync_trigger('webhook', force => true)");
wait_for($node, "SELECT version > $version FROM rmsync.sync_queue WHERE item_id = '$poison'", 't', 'change is folded');
$t->settled('forced');
is(ask($quarantined), $poison, 'it stays quarantined');
is(crashes($position), 0, 'and crashes nothing');

# rmsync_retry does: first while it is still poison
$version = ask("SELECT id FROM rmsync.sync_queue WHERE item_id = '$poison'");
ask("SELECT rmsync_retry($version)");
wait_until(sub { crashes($position) == 2 }, 'lifted: it has two chances again');
wait_for($node, $quarantined, $poison, 'lifted: quarantined again');
set_conf($node, 'rmsync.debug_crash_item' => '');
is(ask("SELECT rmsync_retry($version)"), 't', 'lifted');
$t->settled('lifted');
cmp_ok(deliveries_of($poison), '>', 0, 'lifted: it is delivered when it is poison no more');
is(crashes($position), 2, 'lifted: without a crash');

# ------------------------------------------------------ faults and kills

# One item, of which the answer never comes.
$hook->post('/_control', { rules => [ { path => '/hook', mode => '/hang' } ] });
$t->edit_page($book->{pages}[0], 'hangs');
hit_worker('KILL', 1, "kill -9, time $_") foreach 1 .. 5;
wait_for($node, 'SELECT count(*) FROM rmsync.in_flight()', 1, 'kill -9: it is tried again');
is(ask('SELECT max(crash_count), max(suspect), count(*) FROM rmsync.sync_queue'),
	'0|0|1', 'kill -9: nobody is blamed');

hit_worker('SEGV', 1, 'first fault');
wait_for($node, 'SELECT crash_count, suspect, status FROM rmsync.sync_queue', '1|2|pending', 'first fault: it is blamed');
hit_worker('SEGV', 1, 'second fault');
wait_for($node, 'SELECT crash_count, status, error_code FROM rmsync.sync_queue',
	'2|failed|quarantined', 'second fault: it is quarantined');

# Several at once are suspects and are cleared by success.
$t->edit_page($book->{pages}[$_], 'hangs') foreach 1 .. 3;
hit_worker('ABRT', 3, 'signal sent by another process');
wait_for($node, 'SELECT count(*) FROM rmsync.in_flight()', 3, 'SIGABRT: they are tried again');
is(ask('SELECT max(suspect) FROM rmsync.sync_queue WHERE status = $$pending$$'), '0', 'SIGABRT from outside is no fault');
hit_worker('SEGV', 3, 'fault of three');
wait_for($node, 'SELECT array_agg(DISTINCT (crash_count, suspect)) FROM rmsync.sync_queue WHERE status = $$pending$$',
	'{"(0,1)"}', 'fault of three: all are suspects');
wait_for($node, 'SELECT count(*) FROM rmsync.in_flight()', 1, 'fault of three: they run one at a time');
$hook->post('/_reset');
hit_worker('KILL', 1, 'suspect in flight');
$t->settled('fault of three');
is(ask('SELECT count(*) FROM rmsync.sync_queue WHERE status = $$pending$$'), '0', 'fault of three: success clears them');

# ----------------------------------- where a notebook's items travel together

$t->add_user(2);
my $pages = $t->add_notebook(2, 'Together', [ map { "page $_" } 1 .. 20 ]);
$poison = page_uuid($pages, 13);
$position = log_position($node);
set_conf($node, 'rmsync.debug_crash_item' => $poison);
$t->connect(2);
wait_for($node, "$quarantined AND user_id = 2", $poison, 'together: the poison item is quarantined, and it alone');
$t->settled('together', user => 2);
$crashes = crashes($position);
cmp_ok($crashes, '>=', 2, 'together: two crashes at least');
cmp_ok($crashes, '<=', 5, 'together: at most five');
$t->expect_failed('aaaaaaaa-0000-4000-8000-000034000013');
$t->equal('together', 2);
$t->expect_failed();
is(scalar(grep { $_->{marker} // '' } @{ $t->fake->get('/_dump?user=user2')->{pages} }), 1, 'together: one page at Notion');

# ------------------------------------------------- versions must match

$position = log_position($node);
set_conf($node, 'rmsync.debug_crash_item' => '');
my $installed = ask("SELECT extversion FROM pg_extension WHERE extname = 'rmsync'");
ask("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'rmsync'");
ask('SELECT rmsync.wake()');
wait_for($node, "SELECT rmsync_health() ->> 'reason' LIKE '%versions%differ%'", 't', 'other version: health says so');
$t->edit_page($book->{pages}[8], 'waits for the right version');
wait_until(
	sub {
		my @starts = log_since($node, $position) =~ /starting background worker process "rmsync worker: postgres"/g;
		return @starts >= 3;
	},
	'other version: it is looked at again now and then');
my @lines = log_since($node, $position) =~ /LOG:  rmsync delivers nothing in this database/g;
is(scalar @lines, 1, 'other version: one line in the log');
is(ask('SELECT count(*) FROM rmsync.sync_intake'), '1', 'other version: marks wait');
ask("UPDATE pg_extension SET extversion = '$installed' WHERE extname = 'rmsync'");
$t->settled('right version');
is(crashes($position), 0, 'right version: nothing crashed');

# ----------------------------------------------------------------- files

my $data = $node->data_dir;
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION rmsync CASCADE');
my $oid = ask("SELECT oid FROM pg_database WHERE datname = 'other'");
wait_until(sub { -s "$data/rmsync/$oid.0.inflight" }, 'a worker records');
is((stat "$data/rmsync")[2] & 07777, 0700, 'nobody else can read it');
$node->safe_psql('postgres', 'DROP DATABASE other');
wait_until(sub { !-e "$data/rmsync/$oid.0.inflight" }, 'a dropped database leaves nothing behind');

$node->stop('fast');
is(scalar(grep { -s } glob "$data/rmsync/*"), 0, 'a clean exit leaves nothing to be told');

done_testing();
