# Queries of Notion show late what was changed, and in another order: a tick is
# taken over once, whenever it shows, and what was true before is not believed.
use strict;
use warnings;
use utf8;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	# the test says when to look
	conf => { 'rmsync.todo_poll_interval' => '1h' });
my $node = $t->node;
my $true = JSON::PP::true;
my %todos;

# ------------------------------------------------------------- helpers

sub lag
{
	my ($seconds) = @_;
	return { cmd => 'set', query_lag => $seconds };
}

sub advance
{
	my ($seconds) = @_;
	return { cmd => 'advance', seconds => $seconds };
}

# The clock of Notion goes back to second 5 of a minute, so that what is 85 s
# older is of the last minute but one.
sub second_5
{
	my $now = $t->notion(advance(0))->{offset} + time;
	$t->notion(advance(-(($now + 55) % 60)));
	return;
}

# A user with to-dos, of which all is known; nothing is late yet.
sub connected
{
	my ($user, $count) = @_;

	$t->notion(lag(0));
	$t->add_user($user);
	$t->{users}{$user}{todos} = 'off';
	$todos{$user} = $t->notion({ cmd => 'create_database', user => "user$user", preset => 'todos' });
	my $book = $t->add_notebook($user, "Book of $user", ['text']);
	$t->sql("SELECT test.add_todo($book->{pages}[0], 'to-do ' || i) FROM generate_series(1, $count) i");
	my $json = encode_json({ api_token => $t->{users}{$user}{token}, database_id => $todos{$user}{id}, two_way => $true });
	$t->sql("SELECT rmsync_connect($user, 'notion-todos', '$json')");
	$t->settled("user $user is connected");
	look($user, "user $user, first look");
	return;
}

sub tick
{
	my ($user, $n, $checked) = @_;
	my $id = $t->sql("SELECT r.external_id FROM rmsync.sync_records r JOIN todos d ON d.id::text = r.item_id
		WHERE r.user_id = $user AND r.item_type = 'todo' AND d.text = 'to-do $n'");
	return { cmd => 'check', id => $id, property => 'Completed', checked => $checked // $true };
}

sub look
{
	my ($user, $name) = @_;
	my $before = $t->sql('SELECT clock_timestamp()');

	$t->sql("UPDATE rmsync.integration_configs SET poll_at = now() WHERE user_id = $user AND two_way; SELECT rmsync.wake()");
	wait_for($node, "SELECT bool_and(polled_at > '$before') FROM rmsync.integration_configs WHERE user_id = $user AND two_way",
		't', "$name: Notion was looked at");
	return $t->settled($name, user => $user);
}

# Which of a user's to-dos are done: "1 3".
sub host
{
	my ($user) = @_;
	return $t->sql("SELECT coalesce(string_agg(substr(text, 7), ' ' ORDER BY id), '') FROM todos WHERE user_id = $user AND completed");
}

sub taken
{
	my ($user) = @_;
	return $t->sql("SELECT count(*) FROM rmsync.sync_log WHERE user_id = $user AND operation = 'read_back'");
}

# ------------------------------------------------- late, and out of order

# A tick of 85 s ago shows now, after one of now that showed at once.
second_5();
connected(1, 3);
second_5();
$t->notion(advance(-85), lag(89), tick(1, 1), lag(0), advance(85), tick(1, 2));
look(1, 'the later one shows first');
is(host(1), '2', 'the later one shows first: the host has it');
$t->notion(advance(10));
look(1, 'the earlier one shows');
is(host(1), '1 2', 'the earlier one shows: the host has it, too');
look(1, 'and again');
is(host(1), '1 2', 'nothing changes afterwards');
is(taken(1), 2, 'each was taken over once');

# ----------------------------------------------- while a long look goes on

# There are more rows than one answer has.  While the first part is waited for
# time goes by, and what is edited then is seen at the end; what was ticked
# before shows only now, where the look has already been.
connected(2, 3);
$t->notion(lag(89), tick(2, 1), lag(0), advance(61));
$t->notion(map { { cmd => 'create_row', data_source => $todos{2}{data_source_id}, title => "mine $_" } } 1 .. 150);
my $since = $t->arrived;
$t->notion({ fault => 'slow:2', match => { path => '/query$', user => 'user2' }, times => 1 });
$t->sql("UPDATE rmsync.integration_configs SET poll_at = now() WHERE user_id = 2; SELECT rmsync.wake()");
wait_until(sub { scalar grep { $_->{path} =~ m{/query$} } $t->arrivals(since => $since, user => 'user2') }, 'a long look has begun');
$t->notion(advance(300), { cmd => 'create_row', data_source => $todos{2}{data_source_id}, title => 'mine, and the last' });
$t->settled('a long look', user => 2);
like($t->sql("SELECT poll_state ->> 'watermark' < to_char(now() AT TIME ZONE 'UTC' + interval '2 minutes', 'YYYY-MM-DD\"T\"HH24:MI')
	FROM rmsync.integration_configs WHERE user_id = 2"), qr/^t$/, 'a long look: it is not taken to have seen all up to its last row');
is(host(2), '', 'a long look: the tick was not seen');
look(2, 'after a long look');
is(host(2), '1', 'what showed behind it arrives');
is(taken(2), 1, 'once');
$t->notion(advance(-361));

# ------------------------------------------------ what was true is not news

# The host's own tick: a query still says otherwise.
connected(3, 3);
$t->notion(lag(90));
$t->sql("UPDATE todos SET completed = true WHERE user_id = 3 AND text = 'to-do 1'");
$t->settled('ticked in the host', user => 3);
look(3, 'ticked in the host');
is(host(3), '1', 'what a query says that does not know of it yet, is not believed');

# Ticked at Notion, known from a webhook.
$t->notion({ cmd => 'webhook_subscribe', user => 'user3', token => 'secret_3' });
$t->sql("SELECT rmsync_webhook_verification(3, 'notion', 'secret_3')");
$t->notion(tick(3, 2));
foreach my $delivery (@{ $t->notion({ cmd => 'webhooks', user => 'user3' })->{deliveries} })
{
	my $headers = RmsyncNotion::quote(encode_json($delivery->{headers}));
	my $body = RmsyncNotion::quote($delivery->{body});
	$t->sql("SELECT rmsync_webhook_receive('notion', $headers, convert_to($body, 'UTF8'))");
}
wait_for($node, "SELECT completed FROM todos WHERE user_id = 3 AND text = 'to-do 2'", 't', 'after a webhook the host has it');
look(3, 'ticked at Notion');
is(host(3), '1 2', 'nor here');
is($t->sql("SELECT count(*) FROM rmsync.remote_changes"), '0', 'and nothing is left to be looked at');
$t->notion(advance(91));
look(3, 'the query knows');
is(host(3), '1 2', 'when it does, it is no news');
is(taken(3), 1, 'one was taken over, once');

# --------------------------------------- whatever comes late, in any order

$t->notion({ cmd => 'set', query_lag => [ 0, 90 ], seed => 4 });
connected(4, 20);
$t->notion({ cmd => 'set', query_lag => [ 0, 90 ], seed => 4 });
foreach my $round (1 .. 6)
{
	$t->notion(map { (tick(4, $_), advance(4)) } grep { $_ % 6 == $round - 1 } 1 .. 20);
	look(4, "round $round");
	$t->notion(advance(12));
}
$t->notion(advance(91));
look(4, 'at last');
is(host(4), join(' ', 1 .. 20), 'all have arrived');
is(taken(4), 20, 'each once');

is_deeply($t->fake->get('/_stats')->{bugs}, [], 'the stand-in is well');
$t->stop;
done_testing();
