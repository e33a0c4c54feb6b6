# Two-way completion: what is ticked at Notion is taken over by the host, and
# nothing is sent back for it.
# Slow: looks at Notion again and again.
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
	conf => {
		'restart_after_crash' => 'on',
		'rmsync.http_timeout' => '5s',
		# the test says when to look
		'rmsync.todo_poll_interval' => '1h' });
my $node = $t->node;
my $true = JSON::PP::true;
my $false = JSON::PP::false;
my %database;
my $since;

# A user with a database of to-dos, and a notebook of one page with to-dos.
sub add_user_with_todos
{
	my ($user, $count, %opt) = @_;

	$t->add_user($user);
	$database{$user} = $t->notion({ cmd => 'create_database', user => "user$user", preset => 'todos', %opt });
	my $book = $t->add_notebook($user, "Book of $user", ['text']);
	$t->sql("SELECT test.add_todo($book->{pages}[0], 'to-do ' || i) FROM generate_series(1, $count) i");
	return $book;
}

sub connect_todos
{
	my ($user, %config) = @_;
	my $json = encode_json({ api_token => $t->{users}{$user}{token}, database_id => $database{$user}{id}, %config });
	$t->sql("SELECT rmsync_connect($user, 'notion-todos', '$json')");
	$t->settled("user $user is connected");
	return;
}

# The row id of a to-do, and that of its row or block at Notion.
sub todo_id
{
	my ($user, $text) = @_;
	return $t->sql("SELECT id FROM todos WHERE user_id = $user AND text = '$text'");
}

sub remote
{
	my ($user, $text) = @_;
	return $t->sql("SELECT r.external_id FROM rmsync.sync_records r JOIN todos t ON t.id::text = r.item_id
		WHERE r.user_id = $user AND r.item_type = 'todo' AND t.text = '$text'");
}

# What the host says of to-dos: "to-do 1:t to-do 2:f".
sub host
{
	my ($user) = @_;
	return $t->sql("SELECT coalesce(string_agg(text || ':' || left(completed::text, 1), ' ' ORDER BY id), '') FROM todos WHERE user_id = $user");
}

# What Notion says: the same of the rows, or of the blocks.
sub notion
{
	my ($user) = @_;
	return join(' ', map { "$_->{title}:" . ($_->{properties}{Completed} ? 't' : 'f') }
		sort { $a->{title} cmp $b->{title} } grep { $_->{marker} =~ /:todo:/ } $t->pages($user));
}

sub blocks
{
	my ($book) = @_;
	return join(' ', map { "$_->{title}:" . ($_->{checked} ? 't' : 'f') } grep { $_->{type} eq 'to_do' } $t->blocks_of($book));
}

# Has a user's connection looked at, and waits until that is done and settled.
sub look
{
	my ($user, $name) = @_;
	my $before = $t->sql('SELECT clock_timestamp()');

	$t->sql("UPDATE rmsync.integration_configs SET poll_at = now() WHERE user_id = $user AND two_way; SELECT rmsync.wake()");
	wait_for($node, "SELECT bool_and(polled_at > '$before') FROM rmsync.integration_configs WHERE user_id = $user AND two_way",
		't', "$name: Notion was looked at");
	return $t->settled($name);
}

# Requests of a user since then that write something.
sub writes
{
	my ($user, $since) = @_;
	return grep { $_->{method} ne 'GET' && $_->{path} !~ m{/query$} && ($_->{user} // '') eq "user$user" } $t->arrivals(since => $since);
}

sub no_write
{
	my ($user, $since, $name) = @_;
	my @writes = writes($user, $since);
	return is(RmsyncNotion::summary(@writes), '', "$name: nothing was sent for it");
}

# ----------------------------------------------------------- rows, one by one

my $book = add_user_with_todos(1, 3);
connect_todos(1, two_way => $true);
look(1, 'first look');
is(host(1), 'to-do 1:f to-do 2:f to-do 3:f', 'nothing is ticked');
$since = $t->arrived;
$t->sql("UPDATE todos SET updated_at = '2026-01-01' WHERE user_id = 1");
$t->notion({ cmd => 'check', id => remote(1, 'to-do 1'), property => 'Completed' });
look(1, 'ticked at Notion');
is(host(1), 'to-do 1:t to-do 2:f to-do 3:f', 'ticked at Notion: the host has it');
is($t->sql("SELECT updated_at > (now() AT TIME ZONE 'UTC') - interval '1 hour' FROM todos WHERE user_id = 1 AND completed"), 't', 'as an edit of now');
no_write(1, $since, 'ticked at Notion');
# a query, and as the row is so new, the row itself
$t->at_most(2, $since, 'ticked at Notion');
look(1, 'again');
is(host(1), 'to-do 1:t to-do 2:f to-do 3:f', 'it stays so, though its state says "Not started"');
is($t->sql("SELECT count(*) FROM rmsync.sync_log WHERE user_id = 1 AND operation = 'read_back'"), '1', 'the log says so once');
is($t->sql("SELECT rmsync_integrations(1) -> 0 -> 'two_way' ->> 'last_read_at' IS NOT NULL"), 't', 'the connection says when it was read');

$t->notion({ cmd => 'check', id => remote(1, 'to-do 1'), checked => $false });
look(1, 'unticked at Notion');
is(host(1), 'to-do 1:f to-do 2:f to-do 3:f', 'unticked at Notion: the host has it');
no_write(1, $since, 'unticked at Notion');

# By its state alone.
$t->notion({ cmd => 'set_property', id => remote(1, 'to-do 2'), property => 'Workflow', value => { select => { name => 'Done' } } });
look(1, 'its state is Done');
is(host(1), 'to-do 1:f to-do 2:t to-do 3:f', 'its state is Done: the host has it');
look(1, 'and once more');
is(host(1), 'to-do 1:f to-do 2:t to-do 3:f', 'the check box next to it does not undo it');
$t->notion({ cmd => 'set_property', id => remote(1, 'to-do 2'), property => 'Workflow', value => { select => { name => 'In progress' } } });
look(1, 'its state is In progress');
is(host(1), 'to-do 1:f to-do 2:f to-do 3:f', 'another state: not done');
no_write(1, $since, 'states');

# The other way, at the same time, and the same on both sides.
$t->sql("UPDATE todos SET completed = true WHERE text = 'to-do 3' AND user_id = 1");
$t->settled('ticked in the host');
is(notion(1), 'to-do 1:f to-do 2:f to-do 3:t', 'ticked in the host: Notion has it');
$since = $t->arrived;
look(1, 'what we sent comes back');
is(host(1), 'to-do 1:f to-do 2:f to-do 3:t', 'what we sent is no news');
no_write(1, $since, 'what we sent');
$t->notion({ fault => 'slow:1', match => { method => 'PATCH' }, times => 1 });
$t->sql("UPDATE todos SET completed = false WHERE text = 'to-do 3' AND user_id = 1");
$t->notion({ cmd => 'check', id => remote(1, 'to-do 1') });
look(1, 'both at once');
is(host(1), 'to-do 1:t to-do 2:f to-do 3:f', 'both at once: the host has both');
is(notion(1), 'to-do 1:t to-do 2:f to-do 3:f', 'and so has Notion');
$t->notion({ cmd => 'clear' });

# An edit of the text neither undoes a tick that nobody has read yet ...
$t->notion({ cmd => 'check', id => remote(1, 'to-do 2') });
$t->sql("UPDATE todos SET text = 'to-do 2, edited' WHERE text = 'to-do 2' AND user_id = 1");
$t->settled('an edit before the look');
is(notion(1), 'to-do 1:t to-do 2, edited:t to-do 3:f', 'an edit of the text leaves the tick alone');
look(1, 'after the edit');
is(host(1), 'to-do 1:t to-do 2, edited:t to-do 3:f', 'and the host gets it');
# ... nor is it lost by one that meets it.
$t->notion({ fault => 'slow:1', match => { method => 'PATCH' }, times => 1 });
$t->sql("UPDATE todos SET text = 'to-do 3, edited' WHERE text = 'to-do 3' AND user_id = 1");
wait_until(sub { scalar grep { $_->{method} eq 'PATCH' && ($_->{fault} // '') =~ /slow/ } $t->arrivals(user => 'user1') }, 'an edit is under way');
$t->notion({ cmd => 'check', id => remote(1, 'to-do 3, edited') });
look(1, 'a tick during an edit');
look(1, 'a tick during an edit, later');
is(host(1), 'to-do 1:t to-do 2, edited:t to-do 3, edited:t', 'a tick during an edit arrives');
is(notion(1), 'to-do 1:t to-do 2, edited:t to-do 3, edited:t', 'and so does the edit');
$t->notion({ cmd => 'clear' });

# Two edits that meet, and nobody knows what was before: the newer wins.
sub forget
{
	my ($text, $completed, $at) = @_;
	my $id = todo_id(1, $text);
	$t->sql("UPDATE todos SET completed = $completed, updated_at = $at WHERE id = $id");
	$t->settled("$text is set");
	$t->sql("UPDATE rmsync.sync_records SET metadata_json = metadata_json - 'completed' - 'state', content_hash = 'of long ago' WHERE item_id = '$id'");
	return;
}
forget('to-do 1', 'false', "'2026-01-01'");
$t->notion({ cmd => 'check', id => remote(1, 'to-do 1') });
look(1, 'newer at Notion');
like(host(1), qr/to-do 1:t/, 'newer at Notion: the host follows');
forget('to-do 1', 'false', "now() + interval '1 day'");
$t->notion({ cmd => 'check', id => remote(1, 'to-do 1') });
look(1, 'newer in the host');
like(host(1), qr/to-do 1:f/, 'newer in the host: it stays');
like(notion(1), qr/to-do 1:f/, 'and Notion follows');

# What is thrown away was not done.
$t->notion({ cmd => 'check', id => remote(1, 'to-do 1') }, { cmd => 'trash', id => remote(1, 'to-do 1') });
look(1, 'ticked and thrown away');
like(host(1), qr/to-do 1:f/, 'a row in the trash is not looked at');

# ------------------------------------------------------------ nobody asked

add_user_with_todos(2, 2);
connect_todos(2);
$since = $t->arrived;
$t->notion({ cmd => 'check', id => remote(2, 'to-do 1') });
$t->sql("SELECT rmsync_trigger(user_id => 2)");
$t->settled('one-way');
is(host(2), 'to-do 1:f to-do 2:f', 'without two_way the host is not written');
is(scalar($t->arrivals(since => $since, user => 'user2')), 0, 'nor is Notion looked at');
# Asked for later, it is read from the beginning; and no more when it ends.
connect_todos(2, two_way => $true);
look(2, 'switched on');
is(host(2), 'to-do 1:t to-do 2:f', 'switched on: what was ticked before arrives');
connect_todos(2);
$t->notion({ cmd => 'check', id => remote(2, 'to-do 2') });
$t->sql("SELECT rmsync_trigger(user_id => 2)");
$t->settled('switched off');
is(host(2), 'to-do 1:t to-do 2:f', 'switched off: the host is not written');

# ------------------------------------------------------- a status, many rows

# Rows of the user's own; and away with them, or every look reads them again.
sub mine
{
	my ($n) = @_;
	my %row = (cmd => 'create_row', data_source => $database{3}{data_source_id}, title => 'mine');
	return map { { cmd => 'trash', id => $_->{id} } } @{ $t->notion(map { \%row } 1 .. $n) };
}

add_user_with_todos(3, 16, preset => undef, title => 'Aufgaben', properties => { Aufgabe => { title => {} },
		Stand => { status => { options => [ map { { name => $_ } } 'Not started', 'In progress', 'Done' ] } } });
connect_todos(3, two_way => $true);
look(3, 'a database of the user\'s own');
my @rows = grep { $_->{marker} =~ /:todo:/ } $t->pages(3);
is(scalar(@rows), 16, 'sixteen rows');
$since = $t->arrived;
# Theirs are the first and the last of a thousand that were edited.
my @done = map { { cmd => 'set_property', id => $_->{id}, property => 'Stand', value => { status => { name => 'Done' } } } } @rows;
$t->notion(@done[ 0 .. 7 ]);
my @mine = mine(1200);
$t->notion({ cmd => 'advance', seconds => 60 }, @done[ 8 .. 15 ]);
look(3, 'many are edited');
is($t->sql("SELECT count(*) FROM todos WHERE user_id = 3 AND completed"), '16', 'many are edited: the host has all that are done');
no_write(3, $since, 'many are edited');
my @queries = grep { $_->{path} =~ m{/query$} } $t->arrivals(since => $since, user => 'user3');
cmp_ok(scalar(@queries), '>=', 13, 'more than one job reads');
cmp_ok(scalar(@queries), '<=', 15, 'and goes on where the one before ended');

# Notion gives no more than so many rows for one filter: the next one begins
# where they end.
$t->notion(@mine, { cmd => 'advance', seconds => 180 }, { cmd => 'set', query_limit => 250 });
my @undone = map { { %$_, value => { status => { name => 'Not started' } } } } @done;
$t->notion(@undone[ 0 .. 7 ]);
@mine = ();
push(@mine, mine(100)), $t->notion({ cmd => 'advance', seconds => 60 }) foreach 1 .. 8;
$t->notion(@undone[ 8 .. 15 ]);
look(3, 'more than Notion gives');
is($t->sql("SELECT count(*) FROM todos WHERE user_id = 3 AND completed"), '0', 'more than Notion gives: all are read');

# More than that in one minute: what comes after it is read all the same.
$t->notion(@mine, { cmd => 'advance', seconds => 180 }, @done[ 0 .. 7 ], { cmd => 'advance', seconds => 60 });
@mine = mine(300);
$t->notion({ cmd => 'advance', seconds => 60 }, @done[ 8 .. 15 ]);
look(3, 'more than Notion gives in a minute');
is($t->sql("SELECT count(*) FROM todos WHERE user_id = 3 AND completed"), '16', 'more than Notion gives in a minute: it is passed');
$t->notion(@mine, { cmd => 'set', query_limit => 10_000 });

# ----------------------------------------------------------------- webhooks

sub receive
{
	my (%opt) = @_;
	my $news = $t->notion({ cmd => 'webhooks', %opt, user => "user$opt{user}" });
	foreach my $delivery (@{ $news->{deliveries} })
	{
		my $headers = RmsyncNotion::quote(encode_json($delivery->{headers}));
		my $body = RmsyncNotion::quote($delivery->{body});
		$t->sql("SELECT rmsync_webhook_receive('notion', $headers, convert_to($body, 'UTF8'))");
	}
	return scalar @{ $news->{deliveries} };
}

$t->notion({ cmd => 'webhook_subscribe', user => 'user3', token => 'secret_3' });
$t->sql("SELECT rmsync_webhook_verification(3, 'notion', 'secret_3')");
$t->notion({ cmd => 'webhooks', user => 'user3' });
$since = $t->arrived;
$t->notion(map { { cmd => 'set_property', id => remote(3, "to-do $_"), property => 'Stand', value => { status => { name => 'Not started' } } } } 7, 8);
is(receive(user => 3, duplicates => 1, shuffle => $true), 4, 'two changes, told twice');
wait_for($node, "SELECT string_agg(text, ' ' ORDER BY id) FROM todos WHERE user_id = 3 AND NOT completed", 'to-do 7 to-do 8', 'after a webhook the host has them');
$t->settled('after a webhook');
my @reads = $t->arrivals(since => $since, user => 'user3');
is(RmsyncNotion::summary(grep { $_->{path} !~ m{/pages/} } @reads), '', 'only the rows were read');
cmp_ok(scalar(@reads), '<=', 4, 'once for each news');
is($t->sql('SELECT count(*) FROM rmsync.remote_changes WHERE user_id = 3'), '0', 'nothing is left to be looked at');

# ------------------------------------------------------- trouble at Notion

foreach my $fault ('rate_429', 'reject_503', 'commit_close', 'truncated_json', '409')
{
	my $was = host(3) =~ /to-do 9:t/ ? 'Not started' : 'Done';
	$t->notion({ fault => $fault, match => { path => '/query$', user => 'user3' }, times => 1, retry_after => 1 },
		{ cmd => 'set_property', id => remote(3, 'to-do 9'), property => 'Stand', value => { status => { name => $was } } });
	look(3, $fault);
	like(host(3), $was eq 'Done' ? qr/to-do 9:t/ : qr/to-do 9:f/, "$fault: it arrives all the same");
}
$t->notion({ fault => '403', match => { path => '/query$', user => 'user3' }, times => 1 });
$t->sql("SELECT rmsync_trigger(item_type => 'todo', user_id => 3)");
wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE user_id = 3 AND poll_error IS NOT NULL", 'active',
	'a permission to read is missing: it is said, and the connection goes on');
$t->sql("UPDATE todos SET text = 'to-do 10, edited' WHERE user_id = 3 AND text = 'to-do 10'");
$t->settled('an edit meanwhile');
ok((grep { $_->{title} eq 'to-do 10, edited' } $t->pages(3)), 'what is to be sent is sent');
look(3, 'the permission is back');
is($t->sql('SELECT poll_error IS NULL FROM rmsync.integration_configs WHERE user_id = 3'), 't', 'nothing is wrong any more');
is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = 3 AND kind <> 'first_success'"), '0', 'nobody was bothered');

# -------------------------------------------------- a crash after the reading

my $times = "SELECT count(*) FROM rmsync.sync_log l JOIN todos t ON t.id::text = l.item_id
	WHERE l.operation = 'read_back' AND t.text = 'to-do 11' AND t.user_id = 3";
my $before = $t->sql($times);
$since = $t->arrived;
$t->notion({ fault => 'slow:1', match => { path => '/query$', user => 'user3' }, times => 1 },
	{ cmd => 'set_property', id => remote(3, 'to-do 11'), property => 'Stand', value => { status => { name => 'Not started' } } });
$t->sql("SELECT rmsync_trigger(item_type => 'todo', user_id => 3)");
wait_until(sub { scalar grep { $_->{path} =~ m{/query$} } $t->arrivals(since => $since, user => 'user3') }, 'Notion is being read');
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT FROM rmsync.integration_configs WHERE user_id = 3 FOR UPDATE');
wait_until(sub {
		$t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'rmsync worker' AND wait_event_type = 'Lock'") ne '0' },
	'it is read, and about to be recorded');
my ($worker) = split /\n/, $t->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'rmsync worker' AND wait_event_type = 'Lock'");
ok(signal_worker('KILL', $worker), 'the worker is killed');
wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'rmsync worker' AND pid <> $worker", 't', 'another one is there');
eval { $locker->quit };
$t->settled('after the crash');
like(host(3), qr/to-do 11:f/, 'a crash between reading and recording loses nothing');
is($t->sql($times), $before + 1, 'nor is it done twice');
no_write(3, $since, 'the crash');

# A row that the application is changing is not waited for.
$locker = $node->background_psql('postgres');
$locker->query_safe("BEGIN; SELECT FROM todos WHERE user_id = 3 AND text = 'to-do 12' FOR UPDATE");
$t->notion(map { { cmd => 'set_property', id => remote(3, "to-do $_"), property => 'Stand', value => { status => { name => 'Not started' } } } } 12, 13);
look(3, 'a row is locked');
like(host(3), qr/to-do 12:t to-do 13:f/, 'the others are taken over meanwhile');
$locker->query_safe('COMMIT');
$locker->quit;
look(3, 'and free again');
like(host(3), qr/to-do 12:f to-do 13:f/, 'and then this one');

# ------------------------------------------------------------------- blocks

$t->add_user(4);
my $list = $t->add_notebook(4, 'List', ['text']);
$t->sql("SELECT test.add_todo($list->{pages}[0], 'to-do ' || i) FROM generate_series(1, 3) i");
$t->connect(4, todos => 'blocks', two_way => $true);
my $plain = $t->add_notebook(4, 'Without to-dos', ['- [ ] a box of the text']);
look(4, 'blocks');
is(blocks($list), 'to-do 1:f to-do 2:f to-do 3:f', 'blocks are there');
$since = $t->arrived;
$t->notion({ cmd => 'check', id => remote(4, 'to-do 2') });
look(4, 'a block is ticked');
is(host(4), 'to-do 1:f to-do 2:t to-do 3:f', 'a block is ticked: the host has it');
no_write(4, $since, 'a block is ticked');
$t->at_most(2, $since, 'a block is ticked');
$t->equal('a block is ticked', 4);
$t->sql("UPDATE todos SET completed = true WHERE user_id = 4 AND text = 'to-do 3'");
$t->settled('a tick for a block');
is(blocks($list), 'to-do 1:f to-do 2:t to-do 3:t', 'a tick of the host arrives');
$since = $t->arrived;
$t->notion({ cmd => 'check', id => remote(4, 'to-do 3'), checked => $false }, { cmd => 'check', id => remote(4, 'to-do 1') });
$t->sql("UPDATE todos SET text = 'to-do 1, edited' WHERE user_id = 4 AND text = 'to-do 1'");
$t->settled('an edit before the look');
is(blocks($list), 'to-do 1, edited:t to-do 2:t to-do 3:f', 'an edit leaves the tick alone');
look(4, 'two blocks');
is(host(4), 'to-do 1, edited:t to-do 2:t to-do 3:f', 'two blocks: the host has them');
$t->equal('two blocks', 4);

$t->notion({ cmd => 'webhook_subscribe', user => 'user4', token => 'secret_4' });
$t->sql("SELECT rmsync_webhook_verification(4, 'notion', 'secret_4')");
$t->notion({ cmd => 'webhooks', user => 'user4' });
$since = $t->arrived;
$t->notion({ cmd => 'check', id => remote(4, 'to-do 2'), checked => $false });
receive(user => 4);
wait_for($node, "SELECT count(*) FROM todos WHERE user_id = 4 AND NOT completed", '2', 'after a webhook the host has the block');
$t->settled('a webhook of a page');
is(RmsyncNotion::summary($t->arrivals(since => $since, user => 'user4')), '1 GET /v1/blocks/*/children', 'only its page was read');

# ------------------------------------------------------- nobody says when

$t->notion({ cmd => 'check', id => remote(4, 'to-do 3') });
set_conf($node, 'rmsync.todo_poll_interval' => '1s');
wait_for($node, "SELECT completed FROM todos WHERE user_id = 4 AND text = 'to-do 3'", 't', 'it is looked at by itself');
$t->notion({ cmd => 'check', id => remote(4, 'to-do 3'), checked => $false });
wait_for($node, "SELECT completed FROM todos WHERE user_id = 4 AND text = 'to-do 3'", 'f', 'again and again');
set_conf($node, 'rmsync.worker_idle_timeout' => '0', 'rmsync.todo_poll_interval' => '20s');
wait_until(sub { !worker_pids($node) }, 'also when no worker is there', timeout => 60);
$t->notion({ cmd => 'check', id => remote(4, 'to-do 3') });
wait_for($node, "SELECT completed FROM todos WHERE user_id = 4 AND text = 'to-do 3'", 't', 'one comes to look');
is($t->sql("SELECT rmsync_stats(4) -> 'type_counts' ? 'remote_poll'"), 'f', 'a look is no item');
is_deeply($t->fake->get('/_stats')->{bugs}, [], 'the stand-in is well');

$t->no_blind_resend('all of it', $t->arrivals);
$t->stop;
done_testing();
