# What Notion allows: so many requests a minute, for all connections with one
# token together, whichever worker they are in; what a refusal stops, and what
# answers teach.  Slow: keeps to a limit.
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

# Connects a user with so many to-dos, two requests each, and nothing else, and
# without saying what Notion allows.
sub add_todo_user
{
	my ($user, $n) = @_;
	$t->add_user($user);
	$t->sql("SELECT test.add_todo(p, 'to-do ' || n) FROM (SELECT test.add_page(test.add_notebook($user, md5('$user')::uuid::text, 'Book'), 1, 'page') AS p) p,
		generate_series(1, $n) n");
	$t->sql(connect_todos($user));
	return;
}

# What is known of the limits of a user's connection.
sub known
{
	my ($user, $target) = @_;
	return decode_json($t->sql("SELECT coalesce(i -> 'service_limits', '{}') FROM jsonb_array_elements(rmsync_integrations($user)) i WHERE i ->> 'target_name' = '$target'"));
}

sub of_user
{
	my ($user, @arrivals) = @_;
	return grep { ($_->{user} // '') eq "user$user" } @arrivals;
}

sub is_refusal
{
	return (shift->{status} // 0) == 429;
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
# Others work at the same time, and learn.  The plan of user 6 allows what nobody
# has said.  That of user 7 does not: it refuses the 171st request, by when more
# than usual is tried.  The token
# of user 8 is used by something else, too.
$t->notion({ fault => 'rate_429', retry_after => 10, match => { user => 'user7' }, after => 170, times => 1 });
$t->notion({ fault => 'rate_429', retry_after => 8, match => { user => 'user8' }, after => 60, times => 1 });
add_todo_user(6, 400);
add_todo_user(7, 100);
add_todo_user(8, 80);

# both in one transaction, so that none has a start
my $book_config = encode_json({ api_token => 'ntn_user1', database_id => $t->{users}{1}{database}, requests_per_minute => $per_minute });
$t->sql("BEGIN; SELECT rmsync_connect(1, 'notion', '$book_config'); "
	  . connect_todos(1, requests_per_minute => $per_minute) . '; COMMIT');
$t->{users}{1}{$_->[0]} = $_->[1] foreach [ highlights => 'callout' ], [ todos => 'off' ];
$t->settled('first sync of 300 pages and 200 to-dos', user => 1);
my @all = of_user(1, $t->arrivals);
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
is($t->sql(q{SELECT count(*) FROM rmsync.sync_records WHERE target_name = 'notion-todos' AND user_id = 1 AND status = 'success'}), 200, 'and 200 to-dos');

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
	my @of = of_user($user, $t->arrivals(since => $since));
	my ($refusal) = grep { is_refusal($_) } @of;
	return map { $_->{at} - ($refusal ? $refusal->{at} : 0) } grep { !$refusal || $_->{n} > $refusal->{n} } @of;
}

$t->add_user(2);
my $other = $t->add_notebook(2, 'Other', ['other page']);
$t->connect(2);
$t->settled('second user');
my $since = $t->arrived;
$t->notion({ fault => 'rate_429', retry_after => 8, match => { user => 'user1', path => '^/v1/pages/' }, times => 1 });
$t->sql('UPDATE todos SET completed = true WHERE id = (SELECT min(id) FROM todos WHERE user_id = 1)');
wait_until(sub { grep { is_refusal($_) } of_user(1, $t->arrivals(since => $since)) }, 'one to-do is refused');
$t->sql("SELECT test.complete_page((SELECT min(p.id) FROM pages p JOIN notebooks n ON n.id = p.notebook_id WHERE n.user_id = 1), 'edited while nothing may be sent')");
$t->edit_page($other->{pages}[0], 'edited by somebody else');
$t->settled('another token', user => 2);
my ($refusal) = grep { is_refusal($_) } of_user(1, $t->arrivals(since => $since));
my ($first) = of_user(2, $t->arrivals(since => $since));
cmp_ok($first->{at} - $refusal->{at}, '<', 7.5, 'another token did not wait');
$t->settled('the same token', user => 1);
my @later = after_refusal($since, 1);
cmp_ok(scalar(@later), '>=', 3, 'the same token went on, in both connections');
cmp_ok($later[0], '>=', 7.9, 'when it was told to');

# ------------------------------------------------- what was learned

wait_until(sub { (known(6, 'notion-todos')->{requests_per_minute} // 0) == 600 }, 'more is allowed than nobody has said');
my @of_six = of_user(6, $t->arrivals);
cmp_ok(peak(60, @of_six), '>', 360, 'it was found out with more than two minutes may have');
cmp_ok(peak(60, @of_six), '<=', 580, 'and less than the next limit');
is(scalar(grep { is_refusal($_) } @of_six), 0, 'nothing was refused');
$t->settled('the others', user => 7);
my @of_seven = of_user(7, $t->arrivals);
is(known(7, 'notion-todos')->{requests_per_minute}, 180, 'a refusal says that it is not more');
my ($seventh) = grep { is_refusal($_) } @of_seven;
cmp_ok(peak(60, grep { $_->{n} < $seventh->{n} } @of_seven), '>=', 157, 'it came when the minute was used up');
# what was on its way then does not count
is(scalar(grep { $_->{at} > $seventh->{at} + 0.5 && $_->{at} < $seventh->{at} + 9.9 } @of_seven), 0, 'it is waited for as long as Notion says');
is(scalar(grep { is_refusal($_) } @of_seven), 1, 'and it was the only one');
my ($eighth) = grep { is_refusal($_) } of_user(8, $t->arrivals);
my $less = known(8, 'notion-todos')->{reduced_to};
cmp_ok($less // 999, '<=', 55, 'another application: seven eighths of what was sent when it was refused');
cmp_ok($less // 0, '>=', 40, 'and not much less');
my @of_eight = grep { $_->{n} > $eighth->{n} } of_user(8, $t->arrivals);
note(sprintf 'user 6: %d in the fullest minute; user 8: %d after a refusal, %d in the fullest minute', peak(60, @of_six), scalar(@of_eight), peak(60, @of_eight));
cmp_ok(peak(60, @of_eight), '<', 70, 'from then on less is sent');

# the server starts again: nothing of it is forgotten
$node->restart;
$since = $t->arrived;
$t->sql("UPDATE todos SET completed = true WHERE user_id IN (6, 8)");
wait_until(sub { of_user(6, $t->arrivals(since => $since)) >= 60 }, 'sixty changes, twenty seconds after a start');
my @again = of_user(6, $t->arrivals(since => $since));
cmp_ok($again[59]{at} - $again[0]{at}, '<', 30, 'nearly five a second are sent by who may send 600 a minute');
my @less = grep { $_->{at} < $again[0]{at} + 10 } of_user(8, $t->arrivals(since => $since));
cmp_ok(scalar(@less), '<', 10, 'less than one a second by who shares a token');
is(known(6, 'notion-todos')->{requests_per_minute}, 600, 'it is still known');
$t->sql("SELECT rmsync_disconnect($_, 'notion-todos')") foreach 6, 7, 8;

# --------------------------------------- a refusal outlives the server

$t->add_user(9);
my $ninth = $t->add_notebook(9, 'Ninth', ['page']);
$t->sql("SELECT test.add_todo($ninth->{pages}[0], 'to-do')");
$t->connect(9);
$t->sql(connect_todos(9));
$t->settled('user 9', user => 9);
$since = $t->arrived;
$t->notion({ fault => 'rate_429', retry_after => 20, match => { body => 'refused for long' }, times => 1 });
$t->edit_page($ninth->{pages}[0], 'refused for long');
wait_until(sub { known(9, 'notion')->{closed_until} }, 'it is noted until when');
$node->restart;
$t->sql('UPDATE todos SET completed = true WHERE user_id = 9');
$t->settled('after the start', user => 9);
@later = after_refusal($since, 9);
cmp_ok(scalar(@later), '>=', 3, 'both connections have gone on');
cmp_ok($later[0], '>=', 19.9, 'when the time was over, after a start of the server');

# --------------------------------------------------- a person is refused

$since = $t->arrived;
$t->notion({ fault => 'rate_429', retry_after => 3000, match => { user => 'user9', path => '/users/me' }, times => 1 });
my $result = decode_json($t->sql("CALL rmsync_test_connection('notion', 9)"));
is($result->{code}, 'rate_limit', 'a test of the connection is refused');
$result = decode_json($t->sql("CALL rmsync_test_connection('notion-todos', 9)"));
is($result->{code}, 'rate_limit', 'and so is the next, without asking');
cmp_ok($result->{retry_after}, '>', 2900, 'which says for how long');
$t->edit_page($ninth->{pages}[0], 'edited while a person was told to wait');
$t->edit_page($other->{pages}[0], 'edited by somebody else, again');
$t->settled('somebody else', user => 2);
is(scalar(of_user(9, $t->arrivals(since => $since))), 1, 'workers are stopped, too');
$t->sql("SELECT rmsync_enable(9, 'notion')");
$t->settled('until somebody wants it to go on', user => 9);
$t->equal('a refused test', 9);

# --------------------------------------------------------- two connections of a workspace

# Notion says that it is one.

$t->add_users([ 3, 4 ]);
$t->notion({ cmd => 'add_token', token => 'ntn_second', user => 'user3' });
my %second = %{ $t->notion({ cmd => 'create_database', user => 'user3', preset => 'notebooks' }) };
$t->{users}{4} = { token => 'ntn_second', database => $second{id}, source => $second{data_source_id} };
my %book = map { $_ => $t->add_notebook($_, "Book of $_", ["page of $_"]) } 3, 4;
$since = $t->arrived;
$t->connect([ 3, 4 ]);
$t->settled('two users of a workspace');
is(scalar(grep { $_->{path} =~ m{/users/me$} } $t->arrivals(since => $since)), 2, 'each was asked once');

foreach my $case ([ 'public_api_space_request_rate_limit', '>=', 7.9, 'waits' ], [ 'public_api_request_rate_limit', '<', 7.5, 'does not wait' ])
{
	my ($reason, $op, $limit, $what) = @$case;

	$since = $t->arrived;
	# the only request with its text
	$t->notion({ fault => "rate_429:$reason", retry_after => 8, match => { body => "refused $reason" }, times => 1 });
	$t->edit_page($book{3}{pages}[0], "refused $reason");
	wait_until(sub { grep { is_refusal($_) } $t->arrivals(since => $since) }, "$reason: one is refused");
	($refusal) = grep { is_refusal($_) } $t->arrivals(since => $since);
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
	my $before = of_user(5, $t->arrivals(since => $since));
	$t->sql(qq{SELECT test.add_page(id, $n + 1, 'page $n') FROM notebooks WHERE user_id = 5});
	wait_until(sub { of_user(5, $t->arrivals(since => $since)) > $before }, "request $n");
	my ($pid) = worker_pids($node);
	# a killed one takes the server's memory with it
	signal_worker($n % 2 ? 'TERM' : 'KILL', $pid);
	wait_until(sub { (eval { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") } // '') eq '0' }, "worker $n is gone");
}
$t->settled('after crashes');
my @slow = of_user(5, $t->arrivals(since => $since));
my $seconds = $slow[-1]{at} - $slow[0]{at};
note(sprintf '%d requests in %.1f s', scalar(@slow), $seconds);
is(refused(), 0, 'Notion refused nothing');
# before the first crash half of the budget may go out at once, then half a
# request a second
cmp_ok(scalar(@slow), '<=', $slow / 2 + 0.5 * $seconds + 2, 'a crash gives no new allowance');

# a worker that comes back after an idle time sends at once
$t->notion({ cmd => 'set', rate => 0 });
$t->connect(5, requests_per_minute => 600);
$t->settled('more is allowed');
set_conf($node, 'rmsync.worker_idle_timeout' => '0', 'rmsync.recheck_interval' => '60s');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'rmsync.*worker'}, 0, 'idle workers leave');
$since = $t->arrived;
my $start = clock_gettime(CLOCK_MONOTONIC);
$t->sql("SELECT test.complete_page((SELECT max(p.id) FROM pages p JOIN notebooks n ON n.id = p.notebook_id WHERE n.user_id = 5), 'edited')");
wait_until(sub { $t->arrived > $since }, 'the first request');
($first) = $t->arrivals(since => $since);
note(sprintf 'commit to wire: %.0f ms with the start of a worker', 1000 * ($first->{at} - $start));
cmp_ok($first->{at} - $start, '<', 2, 'at once');

$t->stop;
done_testing();
