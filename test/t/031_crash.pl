# Workers killed and servers stopped in the middle of a sync to a receiver that
# misbehaves: nothing is lost, and what is sent twice carries the same id.
# Slow: twenty crashes.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncLive;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = $ENV{RMSYNC_TEST_SEED} // time;
srand($seed);
note("seed $seed (set RMSYNC_TEST_SEED to repeat)");

my $hook = RmsyncFake->start('hook.py', '--secret', $secret, '--seed', $seed);
my $node = live_node(
	conf => {
		'restart_after_crash' => 'on',
		'rmsync.http_timeout' => '2s'
	});

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub requests
{
	return $hook->get('/_stats')->{requests};
}

# Waits until the receiver has seen some requests more, or all is done.
sub wait_for_requests
{
	my ($more) = @_;
	my $wanted = requests() + $more;

	while (requests() < $wanted)
	{
		return if $node->psql('postgres', 'SELECT 1 / count(*) FROM rmsync.sync_queue') != 0;
		usleep(5_000);
	}
	return;
}

# As the operating system might do it.
sub kill_a_worker
{
	my ($pid) = worker_pids($node);

	return unless $pid;
	signal_worker('KILL', $pid);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"),
		'server is back after a worker was killed');
	return;
}

sub stop_the_server
{
	$node->stop('immediate');
	$node->start;
	pass('server is back after an immediate stop');
	return;
}

sub edit_some_pages
{
	my ($round) = @_;
	my $from = 1 + int(rand(90));

	sql("UPDATE pages SET ocr_text = 'round $round of ' || id WHERE id % 100 BETWEEN $from AND $from + 9");
	return;
}

sql('SELECT test.add_user(u) FROM generate_series(1, 3) u');
sql(q{SELECT test.add_page(n, p, 'page ' || p) FROM (SELECT test.add_notebook(u, 'n' || u, 'Notebook') AS n
	FROM generate_series(1, 3) u) n, generate_series(1, 100) p});
$hook->post('/_control',
	{
		faults => {
			'reset-before' => 0.03,
			'reset-after' => 0.03,
			'close' => 0.03,
			'status/500' => 0.03,
			'truncated' => 0.02,
			'delay/20' => 0.5
		}
	});
connect_user($node, $hook, $_, types => ['page_text']) foreach 1 .. 3;

foreach my $round (1 .. 8)
{
	wait_for_requests(1 + int(rand(60)));
	rand() < 0.6 ? kill_a_worker() : stop_the_server();
	edit_some_pages($round) if $round % 2;
}
settle($node, undef, 'the sync comes to its end');

# What was sent must have been decided for good: a crash right after it, before
# anything else has been written, must not lead to another decision.
set_conf($node, 'wal_writer_delay' => '10s');
foreach my $round (1 .. 3)
{
	my $pid;

	wait_until(sub { ($pid) = worker_pids($node) }, 'there is a worker');
	rule($hook, 2, '/hang', 1);
	sql("UPDATE pages SET ocr_text = 'last words $round' WHERE id = 101");
	wait_until(sub { (events($hook, 2))[-1]{body} =~ /last words $round/ }, 'a request is made');
	signal_worker('KILL', $pid);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid"),
		'and its worker killed at once');
	settle($node, 2, 'it is made again');
}

# The receiver has the last word.
my (%last, %body_of, %id_of);
my ($repeats, $strays, $unsigned) = (0, 0, 0);
foreach my $event (grep { $_->{event} } events($hook))
{
	my $id = $event->{headers}{'webhook-id'};
	my $body = $event->{body};

	$unsigned++ unless $event->{signature};
	$repeats++ if exists $body_of{$id};
	$strays++ if ($body_of{$id} //= $body) ne $body || ($id_of{$body} //= $id) ne $id;
	$last{ $event->{event}{data}{item_id} } = $event->{event}{data}{text};
}
my %source = map { split /\|/ } split /\n/, sql('SELECT item_id, text FROM rmsync.source_page WHERE live');
is(scalar keys %source, 300, 'there are 300 pages');
is_deeply(\%last, \%source, 'the receiver ended with the source');
is($strays, 0, 'an event and its id belong together, also over crashes');
note("$repeats requests repeated an earlier one");
is($unsigned, 0, 'all signatures were good');

is(sql(q{SELECT count(*) FROM rmsync.sync_records r JOIN rmsync.source_page p USING (user_id, item_id)
	WHERE r.status = 'success' AND r.intent IS NULL AND r.content_hash = rmsync.content_hash_page(p.text)}),
	300, 'the ledger is complete and equals the source');
is(sql(q{SELECT count(*) FROM rmsync.sync_queue WHERE status = 'failed'}), 0, 'nothing was given up');
my $before = requests();
sql('SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs; SELECT rmsync.wake()');
settle($node, undef, 'a reconcile');
is(requests(), $before, 'finds no difference');

$node->stop;
done_testing();
