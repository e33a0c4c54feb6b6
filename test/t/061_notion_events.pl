# Webhooks of Notion about objects of ours: what a user did there is looked at
# now and not at the next write, what we did ourselves is not looked at at all,
# and what is the user's own is left alone.
use strict;
use warnings;
use utf8;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

# Waits are as long as they are: an hour for a page that is lost.
my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.backoff_scale' => '1' });
my $node = $t->node;
my $false = JSON::PP::false;
my $true = JSON::PP::true;

# ------------------------------------------------------------- helpers

sub subscribe
{
	my ($user) = @_;
	$t->notion({ cmd => 'webhook_subscribe', user => "user$user", token => "secret_$user" });
	$t->sql("SELECT rmsync_webhook_verification($user, 'notion', 'secret_$user')");
	return;
}

# Takes what Notion delivers for a user since the last time, as the application
# does; answers what became of it: { 'page.deleted marked' => 1, ... }.
sub receive
{
	my ($user, %opt) = @_;
	my %became;

	foreach my $delivery (@{ $t->notion({ cmd => 'webhooks', user => "user$user", %opt })->{deliveries} })
	{
		my $headers = RmsyncNotion::quote(encode_json($delivery->{headers}));
		my $body = RmsyncNotion::quote($delivery->{body});
		my $reason = $t->sql("SELECT rmsync_webhook_receive('notion', $headers, convert_to($body, 'UTF8')) ->> 'reason'");
		$became{ decode_json($delivery->{body})->{type} . " $reason" }++;
	}
	return \%became;
}

# The user does something, and Notion tells.
sub told
{
	my ($user, $name, $expected, @commands) = @_;
	receive($user);
	$t->notion(@commands);
	return is_deeply(receive($user), { map { $_ => 1 } @$expected }, "$name: " . join(', ', @$expected));
}

sub arrivals
{
	my ($user, $since) = @_;
	return RmsyncNotion::summary($t->arrivals(since => $since, user => "user$user"));
}

# No event is left to be looked at, and nothing in the queue that could run.
sub quiet
{
	my ($user, $name) = @_;
	return wait_for($node, "SELECT NOT EXISTS (SELECT FROM rmsync.remote_changes WHERE user_id = $user)
		AND NOT EXISTS (SELECT FROM rmsync.sync_queue WHERE user_id = $user AND run_at IS NULL)
		AND NOT EXISTS (SELECT FROM rmsync.stat_worker WHERE in_flight > 0)", 't', "$name: all is looked at");
}

sub notices
{
	my ($user) = @_;
	return $t->sql("SELECT coalesce(string_agg(kind, ' ' ORDER BY id), '') FROM rmsync.notifications WHERE user_id = $user AND kind <> 'first_success'");
}

# The host's rows, with who wrote them last.
sub host
{
	return $t->sql("SELECT md5(string_agg(r, ' ' ORDER BY r)) FROM (SELECT xmin || n::text FROM notebooks n
		UNION ALL SELECT xmin || p::text FROM pages p UNION ALL SELECT xmin || d::text FROM todos d) x (r)");
}

# --------------------------------------------------------- our own changes

$t->add_user(1);
my ($book, $other) = map { $t->add_notebook(1, $_, [ map { "page $_" } 1 .. 3 ]) } qw(Book Other);
subscribe(1);
$t->connect(1);
$t->settled('first sync');
quiet(1, 'first sync');
my $since = $t->arrived;
my $became = receive(1, aggregate => $false);
cmp_ok(scalar(keys %$became), '>=', 3, 'we have caused events');
is(join(' ', grep { /marked/ } sort keys %$became), '', 'our own changes are no news');
$t->edit_page($book->{pages}[0], 'page 1, edited');
$t->sql("UPDATE notebooks SET visible_name = 'Other, renamed' WHERE id = $other->{id}");
$t->settled('edits');
quiet(1, 'edits');
$since = $t->arrived;
$became = receive(1);
is_deeply($became, { 'page.content_updated nothing_to_do' => 1, 'page.properties_updated nothing_to_do' => 2 }, 'nor are edits')
  or diag(encode_json($became));
quiet(1, 'our own changes');
is(arrivals(1, $since), '', 'no request was made for them');

# ------------------------------------------------- thrown away: made anew

my $host = host();
my $id = $t->page_of($book)->{id};
my $kept = $t->page_of($other)->{id};
$since = $t->arrived;
told(1, 'thrown away', ['page.deleted marked'], { cmd => 'trash', id => $id });
quiet(1, 'thrown away');
$t->settled('thrown away');
$t->equal('thrown away', 1);
isnt($t->page_of($book)->{id}, $id, 'thrown away: made anew without waiting for a change');
is($t->page_of($other)->{id}, $kept, 'the other one stays');
is(scalar(grep { $_->{path} =~ /\Q$kept\E/ } $t->arrivals(since => $since)), 0, 'and is not asked about');
is(scalar(grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' } $t->arrivals(since => $since)), 1, 'one page is made');

# our own answer to it is no news, and the old page is not ours any more
$since = $t->arrived;
$became = receive(1);
is(join(' ', grep { /marked/ } sort keys %$became), '', 'that we made it is no news');
told(1, 'the old one comes back', ['page.undeleted unknown_object'], { cmd => 'restore', id => $id });
is(arrivals(1, $since), '', 'nothing is done for them');
$t->notion({ cmd => 'trash', id => $id });
receive(1);

# --------------------------------------- many events: one look at a time

$id = $t->page_of($book)->{id};
$t->notion({ cmd => 'trash', id => $id }, { cmd => 'restore', id => $id }, { cmd => 'move', id => $id, index => 0 });
# the connection is busy meanwhile, so that they meet
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; SELECT FROM rmsync.integration_configs WHERE user_id = 1 FOR UPDATE');
$since = $t->arrived;
for (1 .. 8)
{
	$became = receive(1, keep => $true, aggregate => $false);
	is_deeply($became, { 'page.deleted marked' => 1, 'page.undeleted marked' => 1, 'page.moved marked' => 1 }, "a storm: events, $_");
}
is(arrivals(1, $since), '', 'a storm: the connection is busy');
$locker->query_safe('COMMIT');
$locker->quit;
receive(1);
quiet(1, 'a storm');
like(arrivals(1, $since), qr{^[12] GET /v1/pages/\*$}, 'a storm: one look for all of it, or two while it lasts');
$t->equal('a storm', 1);

# ------------------------------------------------ what we have written there

$id = $t->page_of($book)->{id};
$since = $t->arrived;
told(1, 'renamed by the user', ['page.properties_updated marked'], { cmd => 'edit_text', id => $id, text => 'My own name' });
quiet(1, 'renamed by the user');
$t->settled('renamed by the user');
$t->equal('renamed by the user', 1);
# the page it had before, and lost, is looked at when there is something to do
is(arrivals(1, $since), '1 GET /v1/pages/*, 1 PATCH /v1/pages/*', 'renamed by the user: our name is back');
is_deeply(receive(1), { 'page.properties_updated nothing_to_do' => 1 }, 'which is no news');

# his change and ours in one event
$since = $t->arrived;
$t->notion({ cmd => 'edit_text', id => $id, text => 'My own name again' });
$t->sql("UPDATE notebooks SET full_path = 'Elsewhere/Book' WHERE id = $book->{id}");
$t->settled('both');
quiet(1, 'both');
$t->notion({ cmd => 'edit_text', id => $id, text => 'My own name at last' });
is_deeply(receive(1), { 'page.properties_updated marked' => 1 }, 'both in one event: it is looked at');
quiet(1, 'both');
$t->settled('both');
$t->equal('both', 1);
is_deeply(receive(1), { 'page.properties_updated nothing_to_do' => 1 }, 'and ends');
$host = host();

# ------------------------------------------------------ what is the user's

my $source = $t->{users}{1}{source};
told(1, 'a column of his own', ['data_source.schema_updated marked'], { cmd => 'add_column', data_source => $source, name => 'Rating', type => 'number' });
quiet(1, 'a column of his own');
$since = $t->arrived;
told(1, 'its value', ['page.properties_updated nothing_to_do'], { cmd => 'set_property', id => $id, property => 'Rating', value => { number => 5 } });
told(1, 'a note', ['page.content_updated nothing_to_do'], { cmd => 'user_block', parent => $id, text => 'my own words' });
my @toggles = $t->blocks_of($book);
told(1, 'a toggle that he threw away', ['page.content_updated nothing_to_do'], { cmd => 'trash', id => $toggles[1]{id} });
quiet(1, 'his own');
is(arrivals(1, $since), '', 'is left alone');
$t->sql("SELECT rmsync_trigger(user_id => 1, force => true)");
$t->settled('asked for');
$t->equal('asked for', 1);
is(scalar(@{ $t->notion({ cmd => 'find', text => 'my own words' })->{ids} }), 1, 'his words stay');

# ------------------------------------------------------ stop, and come back

$t->add_user(2);
($book, $other) = map { $t->add_notebook(2, $_, [ map { "page $_" } 1 .. 3 ]) } qw(Book Other);
subscribe(2);
$t->connect(2, lost_page => 'stop');
$t->settled('second user');
$host = host();
$id = $t->page_of($book)->{id};
$since = $t->arrived;
told(2, 'stop', ['page.deleted marked'], { cmd => 'trash', id => $id });
my $waits = "FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}' AND error_code = 'page_lost' AND run_at > now() + interval '50 minutes'";
wait_for($node, "SELECT count(*) $waits", 1, 'stop: the notebook waits');
is(notices(2), 'page_lost', 'stop: the user is told without waiting for a change');
told(2, 'stop, again', ['page.moved marked'], { cmd => 'move', id => $id, index => 0 });
quiet(2, 'stop, again');
is($t->sql("SELECT count(*) $waits"), '1', 'it still waits');
is(notices(2), 'page_lost', 'and the user is told once');
$t->edit_page($book->{pages}[0], 'edited meanwhile');
wait_for($node, "SELECT count(*) $waits", 2, 'what changes waits with it');
told(2, 'it comes back', ['page.undeleted marked'], { cmd => 'restore', id => $id });
quiet(2, 'it comes back');
$t->settled('it comes back: not in an hour', user => 2);
$t->equal('it comes back', 2);
is($t->page_of($book)->{id}, $id, 'it is the same page');
is(scalar(grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' } $t->arrivals(since => $since)), 0, 'and no other was made');

# --------------------------------------------------- the database is away

my $database = $t->{users}{2}{database};
told(2, 'the database is thrown away', ['database.deleted marked'], { cmd => 'trash', id => $database });
wait_for($node, "SELECT state, state_code FROM rmsync.integration_configs WHERE user_id = 2", 'held|database_missing', 'the connection is held without waiting for a change');
is(notices(2), 'page_lost held', 'the user is told');
$t->edit_page($book->{pages}[1], 'edited without a database');
told(2, 'the database is back', ['database.undeleted marked'], { cmd => 'restore', id => $database });
quiet(2, 'the database is back');
$t->settled('the database is back', user => 2);
$t->equal('the database is back', 2);
is($t->sql("SELECT state FROM rmsync.integration_configs WHERE user_id = 2"), 'active', 'and the connection goes on');

# what is held for another reason is not for Notion to lift
$t->sql("UPDATE rmsync.integration_configs SET state = 'held', state_code = 'mass_delete' WHERE user_id = 2");
receive(2);
$t->notion({ cmd => 'trash', id => $database }, { cmd => 'restore', id => $database });
is_deeply(receive(2, aggregate => $false), { 'database.deleted marked' => 1, 'database.undeleted marked' => 1 }, 'back and forth');
$t->sql('SELECT rmsync.polls_due(600)');
is($t->sql("SELECT state FROM rmsync.integration_configs WHERE user_id = 2"), 'held', 'a mass deletion stays held');
$t->sql("SELECT rmsync_enable(2, 'notion')");
$t->settled('enabled', user => 2);

# ------------------------------------------------------------ rows of to-dos

$t->add_user(3);
$book = $t->add_notebook(3, 'List', ['text']);
$t->sql("SELECT test.add_todo($book->{pages}[0], 'to-do ' || i) FROM generate_series(1, 2) i");
my $todos = $t->notion({ cmd => 'create_database', user => 'user3', preset => 'todos' });
$t->sql("SELECT rmsync_connect(3, 'notion-todos', '{\"api_token\": \"ntn_user3\", \"database_id\": \"$todos->{id}\"}')");
$t->settled('to-dos', user => 3);
quiet(3, 'to-dos');
subscribe(3);
$host = host();
my @rows = sort { $a->{title} cmp $b->{title} } grep { $_->{marker} =~ /:todo:/ } $t->pages(3);
$since = $t->arrived;
told(3, 'ticked, but nobody asked for that', ['page.properties_updated nothing_to_do'], { cmd => 'check', id => $rows[0]{id}, property => 'Completed' });
is(arrivals(3, $since), '', 'no request is made for it');
told(3, 'a row is thrown away', ['page.deleted marked'], { cmd => 'trash', id => $rows[1]{id} });
quiet(3, 'a row is thrown away');
$t->settled('a row is thrown away', user => 3);
my @after = sort { $a->{title} cmp $b->{title} } grep { $_->{marker} =~ /:todo:/ } $t->pages(3);
is(join(' ', map { $_->{title} } @after), 'to-do 1 to-do 2', 'it is made anew');
is($after[0]{id}, $rows[0]{id}, 'the other one stays');
isnt($after[1]{id}, $rows[1]{id}, 'as another row');
is(join(' ', grep { /marked/ } sort keys %{ receive(3) }), '', 'which is no news');

is(host(), $host, 'the host was not written');
is_deeply($t->fake->get('/_stats')->{bugs}, [], 'the stand-in is well');
$t->stop;
done_testing();
