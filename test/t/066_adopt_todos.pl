# Taking over the to-dos that the host application's own sync has made rows of:
# none comes twice, none is written anew that is as it should be, and each gets
# our marker and the link to its source.
use strict;
use warnings;
use utf8;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'restart_after_crash' => 'on', 'rmsync.http_timeout' => '5s' });

# The host's database, as its own code creates it.
my %columns = (
	'Task' => { title => {} },
	'Completed' => { checkbox => {} },
	'Workflow' => { select => { options => [ map { { name => $_ } } 'Not started', 'In progress', 'Done' ] } },
	'Notebook' => { rich_text => {} },
	'Notebook UUID' => { rich_text => {} },
	'Page' => { number => {} },
	'Confidence' => { number => { format => 'percent' } },
	'Date Written' => { date => {} },
	'Link to Source' => { url => {} },
	'Tags' => { multi_select => { options => [] } });
my %at;

sub host_user
{
	my ($user) = @_;
	$t->add_user($user);
	my $made = $t->notion({ cmd => 'create_database', user => "user$user", title => 'rMirror To-dos', properties => \%columns });
	$at{$user} = { database => $made->{id}, source => $made->{data_source_id} };
	my $config = JSON::PP->new->canonical->encode({ access_token => "ntn_user$user", database_id => $made->{id}, use_status_property => JSON::PP::false });
	$t->sql("INSERT INTO integration_configs (user_id, target_name, config_encrypted, is_enabled)
		VALUES ($user, 'notion-todos', " . RmsyncNotion::quote($config) . ', true)');
	return;
}

sub rich
{
	return [ { type => 'text', text => { content => $_[0] } } ];
}

# A row as the host makes it; answers its id.
sub host_row
{
	my ($book, $text, $done) = @_;
	my $user = $book->{user};
	my $response = http_request(
		'POST', $t->fake->url('/v1/pages'),
		{
			parent => { type => 'data_source_id', data_source_id => $at{$user}{source} },
			properties => {
				'Task' => { title => rich($text) },
				'Completed' => { checkbox => $done ? JSON::PP::true : JSON::PP::false },
				'Workflow' => { select => { name => $done ? 'Done' : 'Not started' } },
				'Notebook' => { rich_text => rich($book->{name}) },
				'Notebook UUID' => { rich_text => rich($book->{uuid}) },
				'Page' => { number => 1 },
				'Tags' => { multi_select => [ { name => 'remarkable' } ] } } },
		'authorization' => "Bearer ntn_user$user",
		'notion-version' => '2026-03-11');
	die $response->{content} unless $response->{success};
	return $response->{json}{id};
}

# A to-do of the host; with "row" that is recorded.
sub todo
{
	my ($book, $text, %opt) = @_;
	my $id = $t->sql('SELECT test.add_todo(' . $book->{pages}[0] . ', ' . RmsyncNotion::quote($opt{now} // $text) . ')');

	record($book, $id, $text, $opt{row}) if $opt{row};
	return $id;
}

sub record
{
	my ($book, $id, $text, $row) = @_;
	$t->sql("INSERT INTO sync_records (user_id, content_hash, target_name, external_id, item_type, item_id, status, synced_at, notebook_uuid)
		VALUES ($book->{user}, rmsync_fingerprint_host_todo(" . RmsyncNotion::quote($text) . ", '$book->{uuid}', 1), 'notion-todos', '$row', 'todo', '$id', 'success', now(), '$book->{uuid}')");
	return;
}

sub notebook
{
	my ($user, $name, @texts) = @_;
	my $book = $t->add_notebook($user, $name, @texts ? \@texts : ['page 1']);
	$book->{name} = $name;
	return $book;
}

# All live rows of a user's database: [{id, marker, title, properties}]
sub all_rows
{
	my ($user) = @_;
	return grep { ($_->{parent} // '') eq $at{$user}{source} } @{ $t->fake->get("/_dump?user=user$user")->{pages} };
}

sub row_of
{
	my ($user, $todo) = @_;
	return grep { ($_->{marker} // '') eq "$user:todo:$todo" } all_rows($user);
}

# Every live to-do has one row, which says what the source says.
sub judge
{
	my ($name, $user) = @_;
	my @problems;
	my $todos = $t->rows("SELECT t.id, t.text, t.completed FROM todos t WHERE t.user_id = $user");
	my @rows = all_rows($user);

	foreach my $todo (@$todos)
	{
		my @found = row_of($user, $todo->{id});
		push @problems, "to-do $todo->{id}, $todo->{text}: " . scalar(@found) . ' rows' if @found != 1;
		my $row = $found[0] // next;
		push @problems, "to-do $todo->{id}: is $row->{title}" if $row->{title} ne $todo->{text};
		push @problems, "to-do $todo->{id}: Completed" if !!$row->{properties}{Completed} != !!$todo->{completed};
	}
	push @problems, scalar(@rows) . ' rows for ' . scalar(@$todos) . ' to-dos' if @rows != @$todos;
	push @problems, 'the ledger lacks a success'
	  if $t->sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id = $user AND (status <> 'success' OR intent IS NOT NULL)");
	push @problems, map { "the stand-in failed: $_" } @{ $t->fake->get('/_stats')->{bugs} };
	ok(!@problems, "$name: one row for each to-do") or diag(join("\n", @problems));
	return;
}

sub adopt
{
	my ($user, $name) = @_;
	my $since = $t->arrived;
	$t->sql("SELECT rmsync_adopt('notion-todos', $user)");
	$t->settled($name, user => $user);
	my @arrivals = $t->arrivals(since => $since, user => "user$user");
	note("$name: " . RmsyncNotion::summary(@arrivals));
	return @arrivals;
}

sub set
{
	my ($row, $column, $value) = @_;
	return { cmd => 'set_property', id => $row, property => $column, value => $value };
}

# Requests that change rows: how many per row.
sub changes
{
	my %n;
	$n{$_}++ foreach map { $_->{method} eq 'PATCH' && $_->{path} =~ m{/v1/pages/([0-9a-f-]+)} ? $1 : () } @_;
	return %n;
}

sub creations
{
	return scalar grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' } @_;
}

# ------------------------------------------------------------ the take-over

host_user(1);
my $book = notebook(1, 'Journal');
$t->connect(1);
$t->settled('the notebooks are there', user => 1);
my %row = map { $_ => host_row($book, $_) } qw(same mine changed trashed edited done);
my %todo = map { $_ => todo($book, $_, row => $row{$_}) } qw(same mine trashed edited done);
$todo{changed} = todo($book, 'changed', now => 'changed since', row => $row{changed});
$todo{new} = todo($book, 'new');
# made, and forgotten to be recorded; once with a twin that is
$row{forgotten} = host_row($book, 'forgotten');
$todo{forgotten} = todo($book, 'forgotten');
my @twin = map { host_row($book, 'twin') } 1 .. 2;
$todo{"twin$_"} = todo($book, 'twin', $_ == 1 ? (row => $twin[1]) : ()) foreach 1 .. 3;
my $own = $t->notion({ cmd => 'create_row', data_source => $at{1}{source}, title => 'the user\'s own' })->{id};
$t->sql("UPDATE todos SET completed = true WHERE id = $todo{done}");
# what the user did with them
$t->notion(
	set($row{mine}, 'Workflow', { select => { name => 'In progress' } }),
	set($row{changed}, 'Workflow', { select => { name => 'In progress' } }),
	set($row{edited}, 'Task', { title => rich('edited by the user') }),
	set($row{mine}, 'Tags', { multi_select => [ { name => 'home' } ] }),
	{ cmd => 'trash', id => $row{trashed} });

my $preview = decode_json($t->sql("SELECT rmsync_adopt('notion-todos', 1, preview => true)"));
is_deeply($preview->{items}{todo}, { unchanged => 5, update => 2, create => 4 }, 'the preview says what is to be done');
is($preview->{requests_to_verify}, 7, 'and what it takes to look at the rows');

my @arrivals = adopt(1, 'take-over');
$t->notion({ cmd => 'trash', id => $own });
# this one is the reader's: the host has delivered what the source says
$t->notion(set($row{edited}, 'Task', { title => rich('edited') })) if is((row_of(1, $todo{edited}))[0]{title}, 'edited by the user', 'a title that the user edited stays');
judge('take-over', 1);
my %n = changes(@arrivals);
is($n{ $row{$_} }, 1, "$_: one request") foreach qw(same mine edited forgotten);
is($n{ $row{$_} }, 2, "$_: two requests") foreach qw(changed done);
is(creations(@arrivals), 3, 'three rows were created: the new one, that of the trash, and the third twin');
foreach my $name (qw(same mine changed edited done forgotten))
{
	my ($found) = row_of(1, $todo{$name});
	is($found->{id}, $row{$name}, "$name: the row is the host's");
	like($found->{properties}{'Link to Source'} // '', qr{^https://www\.notion\.so/[0-9a-f]{32}#[0-9a-f]{32}$}, "$name: it links to its source");
}
is((row_of(1, $todo{$_}))[0]{properties}{Workflow}, 'In progress', "$_: a state of the user's stays") foreach qw(mine changed);
is_deeply((row_of(1, $todo{mine}))[0]{properties}{Tags}, ['home'], 'and tags');
is((row_of(1, $todo{done}))[0]{properties}{Workflow}, 'Done', 'a to-do that was ticked since is done');
isnt((row_of(1, $todo{trashed}))[0]{id}, $row{trashed}, 'a row in the trash is made anew');
is((row_of(1, $todo{twin1}))[0]{id}, $twin[1], 'of two rows that say the same each to-do has its own');
is((row_of(1, $todo{twin2}))[0]{id}, $twin[0], 'and the one that nobody recorded is not made again');

@arrivals = adopt(1, 'take-over again');
is(scalar(@arrivals), 0, 'a second take-over sends nothing');

# What the host delivers between two take-overs.
$row{later} = host_row($book, 'later');
$t->sql("SELECT rmsync_disable(1, 'notion-todos')");
$todo{later} = todo($book, 'later', row => $row{later});
$t->sql("SELECT rmsync_adopt('notion-todos', 1); SELECT rmsync_enable(1, 'notion-todos')");
$t->settled('between two take-overs', user => 1);
judge('between two take-overs', 1);
is((row_of(1, $todo{later}))[0]{id}, $row{later}, 'later: the row is the host\'s');

# The ledger is lost: what the user set stays.
$t->sql("DELETE FROM rmsync.sync_records WHERE user_id = 1 AND item_type = 'todo'");
my $since = $t->arrived;
$t->sql("SELECT rmsync_reconcile('notion-todos', 1)");
$t->settled('the ledger is lost', user => 1);
judge('the ledger is lost', 1);
is(creations($t->arrivals(since => $since, user => 'user1')), 0, 'the ledger is lost: nothing is created');
is((row_of(1, $todo{$_}))[0]{properties}{Workflow}, 'In progress', "the ledger is lost, $_: the user's state stays") foreach qw(mine changed);
is((row_of(1, $todo{$_}))[0]{id}, $row{$_}, "the ledger is lost, $_: the same row") foreach qw(same done later);

# ------------------------------------------------------ ticks that are read back

host_user(2);
$book = notebook(2, 'Ticked');
%row = map { $_ => host_row($book, $_) } qw(open ticked both);
%todo = map { $_ => todo($book, $_, row => $row{$_}) } qw(open ticked both);
$t->sql("SELECT rmsync_adopt('notion-todos', 2)");
$t->settled('before ticks are read', user => 2);
$t->sql("DELETE FROM rmsync.sync_records WHERE user_id = 2 AND item_type = 'todo'");
$t->notion({ cmd => 'check', id => $row{ticked}, property => 'Completed' }, set($row{both}, 'Workflow', { select => { name => 'Done' } }));
my $json = encode_json({ api_token => 'ntn_user2', database_id => $at{2}{database}, two_way => JSON::PP::true });
$t->sql("SELECT rmsync_connect(2, 'notion-todos', '$json'); SELECT rmsync_reconcile('notion-todos', 2)");
wait_for($t->node, "SELECT string_agg(completed::text, ' ' ORDER BY id) FROM todos WHERE user_id = 2", 'false true true', 'a tick at Notion that nobody knew of is taken over');
$t->settled('ticks are read', user => 2);
judge_ticks();

sub judge_ticks
{
	ok((row_of(2, $todo{ticked}))[0]{properties}{Completed}, 'and stays');
	is(scalar(all_rows(2)), 3, 'in the same rows');
	return;
}

# ------------------------------------------------------------- interruptions

my $user = 2;
foreach my $kind ({ method => 'PATCH', path => '/pages/' }, { method => 'POST', path => '/query' }, { method => 'POST', path => '/v1/pages$' })
{
	host_user(++$user);
	$book = notebook($user, 'Interrupted');
	my %rows = map { $_ => host_row($book, $_) } qw(one two three forgotten);
	my %todos = map { $_ => todo($book, $_, row => $rows{$_}) } qw(one two);
	$todos{three} = todo($book, 'three', now => 'three, edited', row => $rows{three});
	$todos{$_} = todo($book, $_) foreach qw(forgotten four);
	my $start = $t->arrived;
	$t->notion({ fault => 'commit_hang', match => { %$kind, user => "user$user" }, times => 1 });
	$t->sql("SELECT rmsync_adopt('notion-todos', $user)");
	wait_until(sub { grep { ($_->{fault} // '') =~ /hang/ } $t->arrivals(since => $start, user => "user$user") },
		"$kind->{method} $kind->{path}: a request is under way");
	my ($pid) = worker_pids($t->node);
	signal_worker('KILL', $pid);
	ok($t->node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"), 'the server is back');
	$t->settled('interrupted', user => $user);
	judge("interrupted at $kind->{method} $kind->{path}", $user);
	is((row_of($user, $todos{$_}))[0]{id}, $rows{$_}, "interrupted, $_: the row is the host's") foreach qw(one two three forgotten);
	is(creations($t->arrivals(since => $start, user => "user$user")), 1, 'interrupted: one row was created');
}

$t->stop;
done_testing();
