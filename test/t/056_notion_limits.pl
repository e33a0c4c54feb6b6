# What Notion allows: so many requests a minute, for all connections with one
# token together, whichever worker they are in; and what a refusal stops.
# Slow: keeps to a limit.
use strict;
use warnings;
use utf8;

use JSON::PP;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

# A plan with 600 requests a minute: the same in less time.
my $per_minute = 600;
my $t = RmsyncNotion->new(
	fake => [ '--rate', $per_minute, '--window', 60 ],
	conf => { 'rmsync.max_workers' => 2, 'restart_after_crash' => 'on' });
my $node = $t->node;
my %todos;

# Connects a user's to-dos, with the token of the notebooks.
sub connect_todos
{
	my ($user, %config) = @_;
	$todos{$user} //= $t->notion({ cmd => 'create_database', user => "user$user", preset => 'todos' });
	my $json = encode_json({ api_token => "ntn_user$user", database_id => $todos{$user}{id}, %config });
	return "SELECT rmsync_connect($user, 'notion-todos', '$json')";
}

sub refused
{
	return $t->fake->get('/_stats')->{rate_refusals};
}

# The most arrivals in any so many seconds.
sub peak
{
	my ($seconds, @arrivals) = @_;
	my ($first, $most) = (0, 0);

	foreach my $i (0 .. $#arrivals)
	{
		$first++ while $arrivals[$first]{at} <= $arrivals[$i]{at} - $seconds;
		$most = $i - $first + 1 if $i - $first + 1 > $most;
	}
	return $most;
}

# ------------------------------------------------- the first synchronization

$t->add_user(1);
$t->sql(q{
	SELECT test.add_page(n, p, 'page ' || p || ' of ' || n) FROM (SELECT test.add_notebook(1, md5(b::text)::uuid::text, 'Book ' || b) AS n
		FROM generate_series(1, 30) b) n, generate_series(1, 10) p;
	SELECT test.add_highlight(id, 'highlight on ' || id) FROM pages;
	SELECT test.add_todo(id, 'to-do on ' || id) FROM (SELECT id FROM pages ORDER BY id LIMIT 200) p;
});
# both in one transaction, so that none has a start
my $book_config = encode_json({ api_token => 'ntn_user1', database_id => $t->{users}{1}{database}, requests_per_minute => $per_minute });
$t->sql("BEGIN; SELECT rmsync_connect(1, 'notion', '$book_config'); "
	  . connect_todos(1, requests_per_minute => $per_minute) . '; COMMIT');
$t->{users}{1}{$_->[0]} = $_->[1] foreach [ highlights => 'callout' ], [ todos => 'off' ];
$t->settled('first sync of 300 pages and 200 to-dos');
my @all = $t->arrivals;
my $elapsed = $all[-1]{at} - $all[0]{at};
my $source = $todos{1}{data_source_id};
my @of_todos = grep { $_->{path} =~ /\Q$source\E/ } @all;
note(sprintf '%d requests in %.1f s, %d in the fullest minute', scalar(@all), $elapsed, peak(60, @all));
is(refused(), 0, 'Notion refused nothing');
cmp_ok(peak(60, @all), '<=', 0.97 * $per_minute + 6, 'no minute had more than is allowed');
cmp_ok(@all, '>', 0.7 * $per_minute, 'it was enough to meet the limit');
cmp_ok($elapsed, '<', @all / ($per_minute * 0.9 / 60) * 1.5 + 10, 'and what is allowed was used');
cmp_ok($t->sql('SELECT count(*) FROM rmsync.stat_worker WHERE requests > 50'), '==', 2, 'by two processes');
$t->equal('first sync', 1);
is($t->sql(q{SELECT count(*) FROM rmsync.sync_records WHERE target_name = 'notion-todos' AND status = 'success'}), 200, 'and 200 to-dos');

# a to-do is looked up and made: two requests for one look
my ($last) = grep { $_->{path} =~ m{/blocks/} } reverse @all;
my @meanwhile = grep { $_->{at} <= $last->{at} } @all;
my $looks = grep { $_->{at} <= $last->{at} } @of_todos;
my $share = 2 * $looks / @meanwhile;
note(sprintf 'to-dos had %.0f %% of %d requests', 100 * $share, scalar @meanwhile);
cmp_ok($share, '>', 0.3, 'while both had work to-dos were not starved');
cmp_ok($share, '<', 0.7, 'and neither were notebooks');

# ------------------------------------------- a refusal, and whom it concerns

# What came from a user since an arrival, after a refusal if there was one.
sub after_refusal
{
	my ($since, $user) = @_;
	my @of = grep { ($_->{user} // '') eq "user$user" } $t->arrivals(since => $since);
	my ($refusal) = grep { ($_->{status} // 0) == 429 } @of;
	return map { $_->{at} - ($refusal ? $refusal->{at} : 0) } grep { !$refusal || $_->{n} > $refusal->{n} } @of;
}

$t->add_user(2);
my $other = $t->add_notebook(2, 'Other', ['other page']);
$t->connect(2);
$t->settled('second user');
my $since = $t->arrived;
$t->notion({ fault => 'rate_429', retry_after => 8, match => { user => 'user1', path => '^/v1/pages/' }, times => 1 });
$t->sql("UPDATE todos SET completed = true WHERE id = (SELECT min(id) FROM todos)");
wait_until(sub { grep { ($_->{status} // 0) == 429 } $t->arrivals(since => $since) }, 'one to-do is refused');
$t->sql("SELECT test.complete_page((SELECT min(id) FROM pages), 'edited while nothing may be sent')");
$t->edit_page($other->{pages}[0], 'edited by somebody else');
$t->settled('another token', user => 2);
my ($refusal) = grep { ($_->{status} // 0) == 429 } $t->arrivals(since => $since);
my ($first) = grep { $_->{user} eq 'user2' } $t->arrivals(since => $since);
cmp_ok($first->{at} - $refusal->{at}, '<', 7.5, 'another token did not wait');
$t->settled('the same token');
my @later = after_refusal($since, 1);
cmp_ok(scalar(@later), '>=', 3, 'the same token went on, in both connections');
cmp_ok($later[0], '>=', 7.9, 'when it was told to');

# --------------------------------------------------------- two connections of a workspace

$t->add_users([ 3, 4 ]);
$t->notion({ cmd => 'add_token', token => 'ntn_second', user => 'user3' });
my %second = %{ $t->notion({ cmd => 'create_database', user => 'user3', preset => 'notebooks' }) };
$t->{users}{4} = { token => 'ntn_second', database => $second{id}, source => $second{data_source_id} };
my %book = map { $_ => $t->add_notebook($_, "Book of $_", ["page of $_"]) } 3, 4;
$t->connect([ 3, 4 ], workspace_id => 'one workspace');
$t->settled('two users of a workspace');

foreach my $case ([ 'public_api_space_request_rate_limit', '>=', 7.9, 'waits' ], [ 'public_api_request_rate_limit', '<', 7.5, 'does not wait' ])
{
	my ($reason, $op, $limit, $what) = @$case;

	$since = $t->arrived;
	# the only request with its text
	$t->notion({ fault => "rate_429:$reason", retry_after => 8, match => { body => "refused $reason" }, times => 1 });
	$t->edit_page($book{3}{pages}[0], "refused $reason");
	wait_until(sub { grep { ($_->{status} // 0) == 429 } $t->arrivals(since => $since) }, "$reason: one is refused");
	($refusal) = grep { ($_->{status} // 0) == 429 } $t->arrivals(since => $since);
	$t->edit_page($book{4}{pages}[0], "the other one, $reason");
	$t->settled("$reason: another connection", user => 4);
	($first) = grep { $_->{n} > $refusal->{n} } $t->arrivals(since => $since);
	cmp_ok($first->{at} - $refusal->{at}, $op, $limit, "$reason: another connection of the workspace $what");
	$t->settled("$reason: all");
}

# ----------------------------------------------- workers that come and go

my $slow = 60;
$t->add_user(5);
$t->sql(q{SELECT test.add_page(test.add_notebook(5, 'cccccccc-0000-4000-8000-000000000001', 'Slow'), 1, 'page')});
$t->notion({ cmd => 'set', rate => $slow });
$t->connect(5, requests_per_minute => $slow);
$since = $t->arrived;
foreach my $n (1 .. 6)
{
	my $before = grep { ($_->{user} // '') eq 'user5' } $t->arrivals(since => $since);
	$t->sql(qq{SELECT test.add_page(id, $n + 1, 'page $n') FROM notebooks WHERE user_id = 5});
	wait_until(sub { (grep { ($_->{user} // '') eq 'user5' } $t->arrivals(since => $since)) > $before }, "request $n");
	my ($pid) = worker_pids($node);
	# a killed one takes the server's memory with it
	signal_worker($n % 2 ? 'TERM' : 'KILL', $pid);
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0, "worker $n is gone");
}
$t->settled('after crashes');
my @slow = grep { ($_->{user} // '') eq 'user5' } $t->arrivals(since => $since);
my $seconds = $slow[-1]{at} - $slow[0]{at};
note(sprintf '%d requests in %.1f s', scalar(@slow), $seconds);
is(refused(), 0, 'Notion refused nothing');
cmp_ok(scalar(@slow), '<=', $slow / 15 + 0.9 * $slow / 60 * $seconds + 2, 'a crash gives no new allowance');

# a worker that comes back after an idle time sends at once
$t->notion({ cmd => 'set', rate => 0 });
$t->connect(5, requests_per_minute => 10);
$t->settled('one request in seven seconds');
set_conf($node, 'rmsync.worker_idle_timeout' => '0', 'rmsync.recheck_interval' => '60s');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'rmsync.*worker'}, 0, 'idle workers leave');
# a token has come: an empty bucket gets one in 6.7 s
wait_until(sub { clock_gettime(CLOCK_MONOTONIC) > $slow[-1]{at} + 8 }, 'some time');
$since = $t->arrived;
my $start = clock_gettime(CLOCK_MONOTONIC);
$t->sql("SELECT test.complete_page((SELECT max(p.id) FROM pages p JOIN notebooks n ON n.id = p.notebook_id WHERE n.user_id = 5), 'edited')");
wait_until(sub { $t->arrived > $since }, 'the first request');
($first) = $t->arrivals(since => $since);
note(sprintf 'commit to wire: %.0f ms with the start of a worker', 1000 * ($first->{at} - $start));
cmp_ok($first->{at} - $start, '<', 6, 'at once');

$t->stop;
done_testing();
