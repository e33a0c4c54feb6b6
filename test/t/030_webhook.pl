# Delivery to a webhook by live workers: what is sent, how often, with which
# id and signature, and what every kind of failure does to whom.
use strict;
use warnings;

use JSON::PP;
use List::Util qw(uniq);
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncLive;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(time);

my $hook = RmsyncFake->start('hook.py', '--secret', "$secret $other_secret");
my $node = live_node(conf => { 'rmsync.max_attempts' => 3 });

sub sql
{
	return $node->safe_psql('postgres', @_);
}

# A user with a connection for pages and a notebook; returns the notebook's
# row id.
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

# How many requests a user's receiver got.
sub requests
{
	my ($user) = @_;
	return scalar events($hook, $user);
}

# What the engine wrote about a user, and only that.
sub notifications
{
	my ($user) = @_;
	return sql("SELECT coalesce(string_agg(kind, ' ' ORDER BY id), '') FROM rmsync.notifications
		WHERE user_id = $user AND kind <> 'first_success'");
}

# Passes once a user's lane has a state.
sub lane_becomes
{
	my ($user, $state) = @_;
	return wait_for($node,
		"SELECT state FROM rmsync.integration_configs WHERE user_id = $user",
		$state, "lane of user $user becomes $state");
}

# Every id was sent to one content only, and every content of an item got one
# id; answers how many requests repeat an earlier one.
sub ids_are_stable
{
	my ($user, $name) = @_;
	my (%by_id, %by_body);
	my $repeats = 0;

	foreach my $event (grep { $_->{event} } events($hook, $user))
	{
		my $id = $event->{headers}{'webhook-id'};

		$repeats++ if $by_id{$id};
		$by_id{$id}{ $event->{body} } = 1;
		$by_body{ $event->{body} }{$id} = 1;
	}
	ok(!(grep { keys %$_ != 1 } values %by_id, values %by_body), $name);
	return $repeats;
}

# ---------------------------------------------------------------- on commit

my $n1 = new_user(1, types => [qw(notebook_metadata page_text todo highlight)]);
settle($node, 1);
is_deeply([ event_texts($hook, 1) ],
	['notebook_metadata.created Notebook 1'],
	'a notebook is announced');
wait_for($node, "SELECT string_agg(kind, ' ') FROM rmsync.notifications WHERE user_id = 1",
	'first_success', 'the first success is told, once');
is(lane($node, 1, 'total_items_synced'), 1, 'and counted');

sql(qq{
	BEGIN;
	COPY pages (id, notebook_id, page_uuid, ocr_status, ocr_text, created_at, updated_at) FROM STDIN;
1001	$n1	p1	completed	copied one	2026-01-01	2026-01-01
1002	$n1	p2	completed	copied two	2026-01-01	2026-01-01
\\.
	INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES ($n1, 1001, 1), ($n1, 1002, 2);
	SAVEPOINT a;
	UPDATE pages SET ocr_text = 'rolled back' WHERE id = 1001;
	ROLLBACK TO a;
	SAVEPOINT b;
	UPDATE pages SET ocr_text = 'released' WHERE id = 1002;
	RELEASE b;
	COMMIT;
});
settle($node, 1);
is_deeply([ sort(grep { /page_text/ } event_texts($hook, 1)) ],
	[ 'page_text.created copied one', 'page_text.created released' ],
	'COPY and savepoints: what was committed arrives, and only that');

$node->psql('postgres', "BEGIN; UPDATE pages SET ocr_text = 'never' WHERE id = 1001; ROLLBACK");
sql("SELECT test.add_todo(1001, 'buy milk'), test.add_highlight(1002, 'a fine sentence')");
settle($node, 1);
is_deeply([ sort(grep { /todo|highlight/ } event_texts($hook, 1)) ],
	[ 'highlight.created a fine sentence', 'todo.created buy milk' ],
	'to-dos and highlights arrive');
is((grep { /never/ } event_texts($hook, 1)), 0, 'a transaction rolled back does not');

# A mark that locked or updated a shared row would fail this with 40001.
my $rr = $node->background_psql('postgres', on_error_die => 1);
$rr->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pages');
sql("UPDATE pages SET ocr_text = 'other session' WHERE id = 1001");
settle($node, 1);
$rr->query_safe("UPDATE pages SET ocr_text = 'repeatable read' WHERE id = 1002");
$rr->query_safe('COMMIT');
$rr->quit;
settle($node, 1);
is_deeply([ (event_texts($hook, 1))[ -2, -1 ] ],
	[ 'page_text.updated other session', 'page_text.updated repeatable read' ],
	'a REPEATABLE READ transaction writes among others');

sql("BEGIN; UPDATE pages SET ocr_text = 'prepared' WHERE id = 1001; PREPARE TRANSACTION 'two'");
sql("UPDATE pages SET ocr_text = 'after' WHERE id = 1002");
settle($node, 1);
is((event_texts($hook, 1))[-1], 'page_text.updated after', 'a prepared transaction is not sent');
sql("COMMIT PREPARED 'two'");
wait_until(
	sub { (event_texts($hook, 1))[-1] eq 'page_text.updated prepared' },
	'COMMIT PREPARED is noticed within the re-check interval');

# ---------------------------------------------------------- edits and removal

my $before = requests(1);
sql("BEGIN; UPDATE pages SET ocr_text = 'B' WHERE id = 1001; UPDATE pages SET ocr_text = 'prepared' WHERE id = 1001; COMMIT");
sql("UPDATE pages SET updated_at = now() WHERE id = 1001");
sql("UPDATE pages SET ocr_text = 'changed' WHERE id = 1002");
settle($node, 1);
is(requests(1), $before + 1, 'an edit taken back before its turn is not sent');

rule($hook, 1, '/delay/700', 1);
sql("UPDATE pages SET ocr_text = 'slow B' WHERE id = 1001");
wait_until(sub { (event_texts($hook, 1))[-1] =~ /slow B/ }, 'a delivery is under way');
is(sql(q{SELECT rmsync_queue(1)->>'processing'}), '1', 'and is shown as processing');
sql("UPDATE pages SET ocr_text = 'C' WHERE id = 1001");
settle($node, 1);
is_deeply([ (event_texts($hook, 1))[ -2, -1 ] ],
	[ 'page_text.updated slow B', 'page_text.updated C' ],
	'an edit during a delivery is sent after it');

rule($hook, 1, '/delay/700', 1);
sql("UPDATE pages SET ocr_text = 'slow D' WHERE id = 1001");
wait_until(sub { (event_texts($hook, 1))[-1] =~ /slow D/ }, 'another one');
sql("UPDATE pages SET ocr_text = 'C' WHERE id = 1001");
settle($node, 1);
is((event_texts($hook, 1))[-1], 'page_text.updated C', 'back to what it was during a delivery: sent too');
my @c = grep { ($_->{event}{data}{text} // '') eq 'C' } events($hook, 1);
is(scalar(uniq map { $_->{headers}{'webhook-id'} } @c),
	2, 'A, B, A are three events: the second A is not a repeat of the first');

sql("SELECT test.add_todo(1002, 'twice'), test.add_todo(1002, 'twice')");
settle($node, 1);
my @twice = grep { ($_->{event}{data}{text} // '') eq 'twice' } events($hook, 1);
is(scalar(uniq map { $_->{headers}{'webhook-id'} } @twice), 2, 'two equal to-dos are two events');
is(scalar(uniq map { $_->{event}{data}{item_id} } @twice), 2, 'of two items');

sql("UPDATE todos SET completed = true WHERE text = 'buy milk'");
settle($node, 1);
ok((events($hook, 1))[-1]{event}{data}{completed}, 'a to-do ticked off');

sql("DELETE FROM notebook_pages WHERE page_id = 1001");
settle($node, 1);
my $last = (events($hook, 1))[-1];
is($last->{event}{type} . ' ' . $last->{event}{data}{item_id},
	'rmsync.page_text.deleted p1', 'a page taken out of its notebook is deleted');
sql("SELECT test.delete_notebook('n1')");
settle($node, 1);
is_deeply(
	[ sort(grep { /deleted/ } event_texts($hook, 1)) ],
	[
		'highlight.deleted -', 'notebook_metadata.deleted -',
		('page_text.deleted -') x 2,
		('todo.deleted -') x 3
	],
	'a notebook goes with all it holds');
is(sql('SELECT count(*) FROM rmsync.sync_records WHERE user_id = 1'), 0, 'and the ledger is empty');

# ------------------------------------------------------------ retries and ids

my $n2 = new_user(2);
settle($node, 2);
rule($hook, 2, '/status/500', 3);
add_pages($n2, 1, 1);
settle($node, 2);
my @tries = grep { $_->{event}{type} =~ /page/ } events($hook, 2);
is(scalar @tries, 4, 'three answers with status 500 and a good one');
is(ids_are_stable(2, 'webhook-id is the same for all of them'), 3, 'and only for repeats');
isnt($tries[0]{headers}{'webhook-signature'}, '', 'each is signed');
is(lane($node, 2, 'fail_streak || coalesce(blocked_until::text, $$ free$$)'), '0 free', 'the lane is free again');
is(sql('SELECT count(*) FROM rmsync.sync_log WHERE user_id = 2 AND status = $$retry$$'), 0, 'the outage cost no attempts');

rule($hook, 2, '/status/500', 2);
sql("UPDATE pages SET ocr_text = 'first' WHERE notebook_id = $n2");
wait_until(sub { (event_texts($hook, 2))[-1] =~ /first/ }, 'a change fails');
sql("UPDATE pages SET ocr_text = 'second' WHERE notebook_id = $n2");
settle($node, 2);
is((event_texts($hook, 2))[-1], 'page_text.updated second', 'what it was changed to meanwhile arrives');
ids_are_stable(2, 'with an id of its own');

rule($hook, 2, '/close', 3);
sql("UPDATE pages SET ocr_text = 'third' WHERE notebook_id = $n2");
wait_until(sub { (event_texts($hook, 2))[-1] =~ /third/ }, 'a change fails');
sql('SELECT rmsync.reconcile_lane(id) FROM rmsync.integration_configs WHERE user_id = 2; SELECT rmsync.wake()');
sql("UPDATE notebooks SET visible_name = 'other' WHERE id = $n2");
settle($node, 2);
ids_are_stable(2, 'the id stays if the item is queued again meanwhile');
sql("SELECT test.upload_content('n2', '{}')");
settle($node, 2);
sql("SELECT test.upload_content('n2', ARRAY[test.page_uuid($n2, 1)])");
settle($node, 2);
my @third = grep { ($_->{event}{data}{text} // '') eq 'third' } events($hook, 2);
is($third[-1]{event}{type}, 'rmsync.page_text.created', 'a page taken out and put back');
is(scalar(grep { $_->{headers}{'webhook-id'} eq $third[-1]{headers}{'webhook-id'} } @third), 1, 'is no repeat');

# ---------------------------------------------------------------- signatures

# Judged by the package that receivers use.
sub verify
{
	my ($modules, $events, @secrets) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/deliveries.json';

	append_to_file($file,
		JSON::PP->new->ascii->encode([ map { { body => $_->{body}, headers => $_->{headers} } } @$events ]));
	my ($out, $err) =
	  run_command([ 'node', test_file('fake/verify_webhooks.js'), $modules, $file, @secrets ]);
	diag($err) if $err;
	return $out;
}

my $n10 = new_user(10, secrets => [ $other_secret, $secret ], secret => undef);
sql("SELECT test.add_page($n10, 1, 'Größe 🙂 \\ \" ' || chr(8232))");
settle($node, 10);
my @signed = grep { $_->{event} } events($hook, 1), events($hook, 10);
my $modules = PostgreSQL::Test::Utils::tempdir() . '/npm';
mkdir($modules);
SKIP:
{
	my $wrong = $other_secret =~ s/_c/_d/r;
	my $npm = "timeout 30 npm install --prefix '$modules' --no-audit --no-fund --fetch-retries 0";

	# node trusts its own list of authorities only, unless told
	local $ENV{NODE_EXTRA_CA_CERTS} = $ENV{NODE_EXTRA_CA_CERTS} // '/etc/ssl/certs/ca-certificates.crt';
	skip 'npm or the package standardwebhooks is not there', 2
	  if system("$npm standardwebhooks >'$modules/install.log' 2>&1") != 0;
	cmp_ok(scalar @signed, '>', 20, 'there are signatures to verify');
	is( verify("$modules/node_modules", \@signed, $secret, $other_secret, $wrong),
		scalar(@signed) . " 0\n1 0\n0 0",
		'standardwebhooks accepts them all, and those of a rotation with both secrets');
}

# ------------------------------------------------------------- own mistakes

my $n3 = new_user(3);
settle($node, 3);
rule($hook, 3, '/status/400', 3);
add_pages($n3, 1, 1);
wait_for($node, 'SELECT status || attempt || error_code FROM rmsync.sync_queue WHERE user_id = 3',
	'failed3rejected', 'an event that is refused fails after its attempts');
is(notifications(3), 'retries_exhausted', 'the user is told, once');
is(sql('SELECT string_agg(status, $$ $$ ORDER BY at) FROM rmsync.sync_log WHERE user_id = 3 AND item_type = $$page_text$$'),
	'retry retry failed', 'the log has every attempt');
sql("SELECT test.add_page(test.add_notebook(3, 'n3b', 'Other'), 1, 'fine')");
wait_until(sub { (event_texts($hook, 3))[-1] eq 'page_text.created fine' }, 'other events of the lane go on');
is(sql('SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE user_id = 3'), 't', 'rmsync_retry()');
settle($node, 3, 'delivers it after all');

# --------------------------------------------------------------- lane states

my $n4 = new_user(4);
settle($node, 4);
rule($hook, 4, '/status/410', 5);
add_pages($n4, 1, 10);
lane_becomes(4, 'held');
is(notifications(4), 'held', '410: one notification');
my $sent = requests(4);
cmp_ok($sent, '<=', 5, '410: no event more than those under way');
sql("SELECT test.add_page($n4, 11, 'while held')");
sql("SELECT test.add_page($n3, 3, 'marker')");
settle($node, 3);
is(requests(4), $sent, 'a held lane sends nothing');
is(sql('SELECT sum(attempt) FROM rmsync.sync_queue WHERE user_id = 4'), '0', 'and uses up no attempts');
sql("SELECT rmsync_enable(4, 'webhook')");
# what is left of the rule may hold it again
wait_until(
	sub {
		sql("SELECT rmsync_enable(4, 'webhook')") if lane($node, 4, 'state') ne 'active';
		sql('SELECT count(*) FROM rmsync.sync_queue WHERE user_id = 4') eq '0';
	},
	'rmsync_enable() lets it go on');
is(scalar(uniq map { $_->{event}{data}{item_id} } events($hook, 4)), 11, 'with everything');

foreach my $case ([ 5, 401 ], [ 6, 403 ])
{
	my ($user, $status) = @$case;
	my $notebook = new_user($user);

	settle($node, $user);
	rule($hook, $user, "/status/$status", 1000);
	add_pages($notebook, 1, 10);
	lane_becomes($user, 'auth');
	is(notifications($user), 'auth_failure', "$status: one notification");
	is(sql("SELECT sum(attempt) FROM rmsync.sync_queue WHERE user_id = $user"), '0', "$status: no attempts used");
	my $config = config_for($hook, "${user}00", types => ['page_text']);
	sql("SELECT rmsync_connect($user, 'webhook', '$config')");
	settle($node, $user, "$status: new credentials and it goes on");
	is(scalar(uniq map { $_->{event}{data}{item_id} } events($hook, "${user}00")), 10, 'with everything');
}

my $n7 = new_user(7, headers => { Authorization => 'Bearer one' });
settle($node, 7);
my $backup = config_for($hook, 7, types => ['page_text'], headers => { Authorization => 'Bearer two' });
sql("SELECT rmsync_connect(7, 'webhook', '$backup', true)");
rule($hook, 7, '/status/401', 1000, authorization => 'Bearer one');
add_pages($n7, 1, 30);
settle($node, 7, 'the backup credential takes over');
is(scalar(grep { $_->{headers}{authorization} eq 'Bearer two' } events($hook, 7)), 30, 'and delivers everything');
is(lane($node, 7, 'state'), 'active', 'the lane stays active');
is(notifications(7), '', 'nobody is alarmed');
rule($hook, 7, '/status/401', 1000, authorization => 'Bearer two');
add_pages($n7, 31, 40);
lane_becomes(7, 'auth');
is(notifications(7), 'auth_failure', 'when the backup is refused too, one notification');

# -------------------------------------------------------------------- limits

my $n8 = new_user(8);
my $n9 = new_user(9);
settle($node, $_) foreach (8, 9);
rule($hook, 8, '/status/429?retry-after=6', 1);
my $start = time;
add_pages($n8, 1, 8);
wait_until(sub { requests(8) > 1 }, '429 with Retry-After: 6');
add_pages($n9, 1, 3);
settle($node, 9);
settle($node, 8);
my ($refusal) = grep { $_->{mode} =~ /429/ } events($hook, 8);
my $until = $refusal->{time} + 6;
cmp_ok(scalar(grep { $_->{time} < $until } events($hook, 8)), '<=', 6, 'only what was under way is sent');
cmp_ok((events($hook, 9))[-1]{time}, '<', $until, 'another lane does not wait') or diag('slow machine?');
cmp_ok(time - $start, '>', 6, 'the lane slept as long as it was told');
is(sql('SELECT count(*) FROM rmsync.sync_log WHERE user_id = 8 AND status <> $$success$$'), 0, 'no attempts used, nothing failed');

my $date = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3)) =~ s/ /%20/gr;
rule($hook, 8, "/status/429?retry-after=$date", 1);
$start = time;
sql("UPDATE pages SET ocr_text = 'dated' WHERE notebook_id = $n8");
settle($node, 8, '429 with a date');
cmp_ok(time - $start, '>', 1.5, 'the lane slept until then');

rule($hook, 8, '/status/429?retry-after=99999999999', 1);
sql("UPDATE pages SET ocr_text = 'absurd' WHERE notebook_id = $n8");
wait_for($node, q{SELECT blocked_until BETWEEN now() + interval '50 min' AND now() + interval '61 min'
	FROM rmsync.integration_configs WHERE user_id = 8}, 't', 'an absurd Retry-After is an hour');
is(sql(q{SELECT rmsync_health()->'targets'->'webhook'->>'status'}), 'degraded', 'health shows it');
sql("SELECT rmsync_enable(8, 'webhook')");
settle($node, 8, 'rmsync_enable() ends the waiting');

rule($hook, 8, '/status/429', 6);
sql("UPDATE pages SET ocr_text = 'no hint' WHERE notebook_id = $n8 AND id % 8 = 0");
settle($node, 8, '429 without Retry-After');
is(sql('SELECT count(*) FROM rmsync.sync_log WHERE user_id = 8 AND status IN ($$retry$$, $$failed$$)'), 0, 'no attempts used');

# ------------------------------------------------------- trouble of all kinds

# Each of these is one user's; none may cost an item, and none may disturb
# another user.
my %trouble = (
	20 => '/status/500',
	21 => '/status/502',
	22 => '/status/503?retry-after=1',
	23 => '/reset-before',
	24 => '/reset-after',
	25 => '/close',
	26 => '/garbage',
	27 => '/truncated',
	28 => '/redirect?to=/elsewhere',
	29 => '/hang',
	30 => '/trickle',
	31 => '/slow-headers',
	32 => '/endless-headers',
	33 => '/endless-body',
	34 => '/endless-interim',
	35 => '/long-header',
	36 => '/gzip-bomb',
	37 => '/hang-body');
my $pid = (worker_pids($node))[0];

sub resident_kb
{
	my ($status) = slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
	return $status;
}

my $resident = resident_kb();
# the same worker to the end, however long the questions below take
set_conf($node, 'rmsync.http_timeout' => '1500ms', 'rmsync.worker_idle_timeout' => '1h');
sql('SELECT ' . join(', ', map { "test.add_user($_)" } sort keys %trouble));
sql('SELECT ' . join(', ', map { "test.add_page(test.add_notebook($_, 'n$_', 'Notebook $_'), 1, 'troubled')" } sort keys %trouble));
rule($hook, $_, $trouble{$_}, 2) foreach keys %trouble;
sql(join(';', map { connect_sql($hook, $_) } sort keys %trouble));
wait_for($node, 'SELECT count(*) FROM rmsync.sync_records WHERE user_id >= 20 AND status = $$success$$',
	2 * keys %trouble, 'every kind of trouble passes');
foreach my $user (sort keys %trouble)
{
	is(sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id = $user AND status = 'success'"), 2,
		"$trouble{$user}: everything arrived");
	ids_are_stable($user, "$trouble{$user}: repeats have the id of the first");
}
is(sql('SELECT count(*) FROM rmsync.sync_log WHERE user_id >= 20 AND status IN ($$retry$$, $$failed$$)'), 0, 'no attempts used');
is(sql('SELECT count(*) FROM rmsync.integration_configs WHERE user_id >= 20 AND (fail_streak > 0 OR blocked_until IS NOT NULL)'), 0, 'no lane is left blocked');
is(scalar(grep { $_->{path} =~ /elsewhere/ } events($hook)), 0, 'a redirect is not followed');
is((worker_pids($node))[0], $pid, 'the worker survived it');
cmp_ok(resident_kb() - $resident, '<', 40_000, 'and did not keep what it was sent');

# The breaker: a dead receiver is asked less and less, and one's user's dead
# receiver is not another user's trouble.
rule($hook, 20, '/status/500', 100_000);
set_conf($node, 'rmsync.backoff_scale' => '0.02');
sql("UPDATE pages SET ocr_text = 'dead' WHERE notebook_id IN (SELECT id FROM notebooks WHERE user_id = 20)");
wait_for($node, 'SELECT fail_streak >= 8 FROM rmsync.integration_configs WHERE user_id = 20', 't', 'a dead receiver');
my @times = map { $_->{time} } events($hook, 20);
cmp_ok($times[-1] - $times[-2], '>', 0.5, 'is asked seldom');
$start = time;
sql("UPDATE pages SET ocr_text = 'alive' WHERE notebook_id = $n9");
settle($node, 9);
cmp_ok(time - $start, '<', 1, 'others are not affected') or diag('slow machine?');

# ------------------------------------------------------------------ fairness

set_conf($node, 'rmsync.enabled' => 'off');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'rmsync worker'}, 0, 'workers are off');
$hook->post('/_reset');
sql(q{SELECT test.add_user(u) FROM generate_series(40, 52) u});
sql(q{SELECT test.add_page(n, p, 'page ' || p) FROM (SELECT test.add_notebook(40, 'n40', 'Big') AS n) n, generate_series(1, 2000) p});
sql(q{SELECT test.add_page(n, p, 'page ' || p) FROM (SELECT test.add_notebook(u, 'n' || u, 'Small') AS n FROM generate_series(41, 51) u) n, generate_series(1, 10) p});
sql(join(';', map { connect_sql($hook, $_) } 40 .. 51));
rule($hook, 51, '/hang', 100);
set_conf($node, 'rmsync.enabled' => 'on');
wait_for($node, 'SELECT count(*) FROM rmsync.sync_records WHERE user_id BETWEEN 40 AND 50', 2001 + 110, 'everybody is served');
my ($n, %finished) = (0);
foreach my $event (events($hook))
{
	my ($user) = $event->{path} =~ m{^/u(\d+)/};

	$finished{$user} = ++$n;
}
my $slowest = (sort { $a <=> $b } map { $finished{$_} } 41 .. 50)[-1];
cmp_ok($slowest, '<', 500, 'users with 10 items do not wait for one with 2000');
cmp_ok($finished{40}, '>', 2000, 'who is served, too');
ids_are_stable($_, "user $_ got everything once") foreach (40, 41);

# The limit of a lane: of eleven events only so many are under way at once.
$hook->post('/_reset');
rule($hook, 52, '/hang', 100);
set_conf($node, 'rmsync.http_timeout' => '20s');
my $n52 = new_user(52, max_in_flight => 2);
add_pages($n52, 1, 10);
wait_until(sub { requests(52) == 2 }, 'a receiver hangs with two requests');
add_pages($n9, 4, 4);
settle($node, 9);
is(requests(52), 2, 'but no third, if the limit is two');
is(sql(q{SELECT rmsync_queue(52)->>'processing'}), '2', 'two are shown as processing');
is($hook->get('/_stats')->{bad_signatures}, 0, 'all signatures were good');

$node->stop;
done_testing();
