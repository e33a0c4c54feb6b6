# Two workers that take in work for the same user's two connections do not get
# into each other's way.
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncLive;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	conf => { 'rmsync.max_workers' => 2, 'max_connections' => 40 });
my $node = $t->node;
my $hook = RmsyncFake->start('hook.py', '--fast');
my $sessions = 4;

# Each session changes pages of its own, again and again in another order.
$t->sql(q{
	CREATE PROCEDURE test.churn(session int, sessions int, rounds int) LANGUAGE plpgsql AS $$
	DECLARE
		page int;
	BEGIN
		FOR round IN 1 .. rounds LOOP
			FOR page IN SELECT id FROM pages WHERE id % sessions = session ORDER BY random() LOOP
				UPDATE pages SET ocr_text = 'page ' || page || ' round ' || round WHERE id = page;
			END LOOP;
			COMMIT;
		END LOOP;
	END $$
});
$t->add_user(1);
$t->sql(q{SELECT test.add_page(n, p, 'page') FROM (SELECT test.add_notebook(1, md5(b::text)::uuid::text, 'Book ' || b) AS n
	FROM generate_series(1, 4) b) n, generate_series(1, 50) p});
$t->connect(1, requests_per_minute => 600);
$t->sql(connect_sql($hook, 1, types => ['page_text'], max_in_flight => 16));
$t->settled('first sync');
wait_for($node, 'SELECT count(*) FROM rmsync.stat_worker WHERE requests > 0', 2, 'each connection has its worker');

my $position = log_position($node);
my @clients = map {
	IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', "CALL test.churn($_, $sessions, 40)" ],
		'<' => \undef)
} 0 .. $sessions - 1;
ok($_->finish, 'a client has done its changes') foreach @clients;
$t->settled('all is taken in and delivered');
$t->equal('after the changes', 1);
is($t->sql(q{SELECT count(*) FROM rmsync.sync_records WHERE target_name = 'webhook' AND status = 'success'}), 200, 'in both');
wait_for($node, 'SELECT count(*) FROM rmsync.stat_worker WHERE folded > 0', 2, 'both workers took in');
is($t->sql('SELECT sum(errors) FROM rmsync.stat_worker'), 0, 'none met an error');
log_lacks($node, qr/deadlock|lock timeout/, $position, 'none waited for the other in vain');

$t->stop;
done_testing();
