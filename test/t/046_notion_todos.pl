# To-dos as rows of a database at Notion, next to the notebooks.
# Slow: one request a second is allowed.
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
	conf => { 'rmsync.http_timeout' => '2s' });

# Does something and judges the end of it.
sub scenario
{
	my ($name, $user, $limit, $what, %opt) = @_;
	my $since = $t->arrived;

	$what->();
	$t->settled($name);
	$t->at_most($limit, $since, $name) if defined $limit;
	return $t->rows_equal($name, $user, %opt);
}

# --------------------------------------------------------- fifty to-dos

$t->add_user(1);
$t->add_todo_database(1);
my $book = $t->add_notebook(1, 'Journal', [ map { "page $_" } 1 .. 3 ]);
my @pages = @{ $book->{pages} };
$t->sql("SELECT test.add_todo($pages[0], 'to-do ' || i) FROM generate_series(1, 48) i;
	SELECT test.add_todo($pages[1], 'the same'), test.add_todo($pages[1], 'the same')");

# What would be sent?  Nothing is written.
my $json = encode_json({ api_token => 'ntn_user1', database_id => $t->{users}{1}{todo_database} });
$t->sql("BEGIN; SELECT rmsync_connect(1, 'notion-todos', '$json'); SELECT rmsync_disable(1, 'notion-todos'); COMMIT");
is($t->sql("SELECT string_agg(method || ' ' || split_part(url, '/', 5), ', ' ORDER BY step) FROM rmsync_preview('notion-todos', 1, max_items => 1)"),
	'GET databases, GET data_sources, PATCH data_sources, GET users, POST data_sources, POST pages', 'a preview shows the requests');
is($t->arrived, 0, 'and sends none');
$t->sql("SELECT rmsync_enable(1, 'notion-todos')");

scenario('fifty to-dos', 1, undef, sub { });
my %first = %{ $t->todo_rows(1) };
is(scalar(grep { $_->[0]{title} eq 'the same' } values %first), 2, 'two that say the same are two');
is_deeply((values %first)[0][0]{properties}{Tags}, ['remarkable'], 'they are tagged');
is($t->sql("SELECT sum(requests) <= 104 FROM (SELECT max(requests) AS requests FROM rmsync.sync_log
	WHERE target_name = 'notion-todos' AND status = 'success' GROUP BY item_id) q"), 't', 'a row costs two requests');
scenario('one of fifty is ticked', 1, 1, sub { $t->sql("UPDATE todos SET completed = true WHERE text = 'to-do 7'") });
scenario('and unticked', 1, 1, sub { $t->sql("UPDATE todos SET completed = false WHERE text = 'to-do 7'") });
scenario('one is edited', 1, 1, sub { $t->sql("UPDATE todos SET text = repeat('long ', 700) || chr(128512) WHERE text = 'to-do 8'") });
scenario('one is deleted', 1, 1, sub { $t->sql("DELETE FROM todos WHERE text = 'to-do 9'") });
scenario('one is added', 1, 2, sub { $t->sql("SELECT test.add_todo($pages[2], 'one more')") });
scenario('a touch without a change', 1, 0, sub { $t->sql('UPDATE todos SET updated_at = now()') });
$t->sql("DELETE FROM todos WHERE user_id = 1 AND text ~ '^to-do [1-4]?[0-9]\$' AND id % 4 <> 0");
$t->settled('most are deleted');
$t->rows_equal('most are deleted', 1);

# ------------------------------------------------------ link to the source

scenario('the notebooks come, too', 1, undef, sub { $t->connect(1) }, links => 1);
$t->equal('the notebooks come, too', 1);
my $linked = (grep { $_->[0]{title} eq 'the same' } values %{ $t->todo_rows(1) })[0][0]{properties}{'Link to Source'};
like($linked, qr{^https://www\.notion\.so/[0-9a-f]{32}#[0-9a-f]{32}$}, 'rows link to their source');
my ($toggle) = $t->blocks_of($book);
scenario('a page is edited', 1, undef, sub { $t->edit_page($pages[1], 'page 2, edited') }, links => 1);
is((grep { $_->[0]{title} eq 'the same' } values %{ $t->todo_rows(1) })[0][0]{properties}{'Link to Source'},
	$linked, 'in place: the link stays');
$t->notion({ cmd => 'trash', id => ($t->blocks_of($book))[1]{id} });
scenario('its toggle is made anew: its links follow', 1, undef, sub { $t->edit_page($pages[1], 'page 2, edited again') }, links => 1);
isnt((grep { $_->[0]{title} eq 'the same' } values %{ $t->todo_rows(1) })[0][0]{properties}{'Link to Source'},
	$linked, 'to the new toggle');
scenario('a new page with a to-do', 1, undef,
	sub { $t->sql("SELECT test.add_todo(test.add_page($book->{id}, 4, 'page 4'), 'on page 4')") }, links => 1);
scenario('the notebook is renamed', 1, undef,
	sub { $t->sql("UPDATE notebooks SET visible_name = 'Journal, 2nd' WHERE id = $book->{id}") }, links => 1);
scenario('pages change places', 1, undef, sub { $t->arrange($book, reverse @pages) }, links => 1);
scenario('a to-do is unknown to any page', 1, undef,
	sub { $t->sql("UPDATE todos SET page_id = NULL, page_number = NULL WHERE text = 'one more'") }, links => 1);
scenario('a page is blank for a while', 1, undef,
	sub { $t->sql("UPDATE pages SET ocr_status = 'pending_quota', ocr_text = '' WHERE id = $pages[1]") }, links => 1);
$t->notion({ cmd => 'trash', id => $t->page_of($book)->{id} });
scenario('and then all is made anew: its links go', 1, undef, sub { $t->edit_page($pages[0], 'page 1, edited') }, links => 1);
scenario('until it is read', 1, undef, sub { $t->edit_page($pages[1], 'page 2, read again') }, links => 1);
scenario('the notebook is deleted', 1, undef, sub { $t->sql("UPDATE notebooks SET deleted = true WHERE id = $book->{id}") });
scenario('and restored', 1, undef, sub { $t->sql("UPDATE notebooks SET deleted = false WHERE id = $book->{id}") }, links => 1);

# ---------------------------------------------------- the user's hand in it

$t->add_user(2);
$t->add_todo_database(2, preset => undef, title => 'Aufgaben', properties => {
		'Aufgabe' => { title => {} },
		'Page' => { rich_text => {} },
		'Stand' => { status => { options => [ { name => 'Not started' }, { name => 'In progress' }, { name => 'Done' } ] } } });
my $list = $t->add_notebook(2, 'Liste', ['eins']);
my $page = $list->{pages}[0];
my @todo = map { $t->sql("SELECT test.add_todo($page, 'to-do $_')") } 1 .. 3;
my $source = $t->{users}{2}{todo_source};

$t->connect_todos(2);
$t->settled('a database of the user\'s own');
my %mine = %{ $t->todo_rows(2) };
is(scalar(keys %mine), 3, 'a database of the user\'s own: three rows');
my $row = $mine{ $todo[0] }[0];
is($row->{title}, 'to-do 1', 'the title column is found by its type');
is($row->{properties}{Stand}, 'Not started', 'the status column is used');
ok(!exists $row->{properties}{Workflow}, 'instead of one of ours');
is($row->{properties}{Page}, '', 'a column of another type is left alone');
is($row->{properties}{'Notebook UUID'}, $list->{uuid}, 'missing columns were added');

# Their own state and tags stay, names of columns do not matter.
$t->notion(
	{ cmd => 'set_property', id => $row->{id}, property => 'Stand', value => { status => { name => 'In progress' } } },
	{ cmd => 'set_property', id => $row->{id}, property => 'Tags', value => { multi_select => [ { name => 'home' } ] } },
	{ cmd => 'rename_column', data_source => $source, column => 'Completed', name => 'Erledigt' },
	{ cmd => 'rename_column', data_source => $source, column => 'Stand', name => 'Zustand' });
$t->sql("UPDATE todos SET text = 'to-do 1, edited' WHERE id = $todo[0]");
$t->settled('an edit');
%mine = %{ $t->todo_rows(2) };
$row = $mine{ $todo[0] }[0];
is($row->{title}, 'to-do 1, edited', 'an edit arrives');
is($row->{properties}{Zustand}, 'In progress', 'a state of the user\'s stays');
is_deeply($row->{properties}{Tags}, ['home'], 'and their tags');
$t->sql("UPDATE todos SET completed = true WHERE id = $todo[0]");
$t->settled('a tick');
%mine = %{ $t->todo_rows(2) };
$row = $mine{ $todo[0] }[0];
is($row->{properties}{Zustand}, 'Done', 'a tick changes the state');
ok($row->{properties}{Erledigt}, 'and a renamed column is filled');

# A column is deleted, the marker's, too.
$t->notion({ cmd => 'delete_column', data_source => $source, column => 'Zustand' });
$t->sql("UPDATE todos SET completed = NOT completed WHERE user_id = 2");
$t->settled('the status column is deleted');
%mine = %{ $t->todo_rows(2) };
is(join(' ', map { $mine{$_}[0]{properties}{Workflow} } @todo), 'Not started Done Done', 'another takes its place');

# A row is thrown away: it comes back with the to-do's next change.
$t->notion({ cmd => 'trash', id => $mine{ $todo[1] }[0]{id} });
$t->sql("UPDATE todos SET text = 'back again' WHERE id = $todo[1]");
$t->settled('a row in the trash');
%mine = %{ $t->todo_rows(2) };
is($mine{ $todo[1] }[0]{title}, 'back again', 'a row in the trash comes back');
$t->sql("UPDATE rmsync.sync_records SET external_id = NULL, content_hash = '', status = 'pending' WHERE user_id = 2;
	UPDATE rmsync.integration_configs SET reconcile_wanted = true WHERE user_id = 2");
$t->settled('the ledger is lost');
%mine = %{ $t->todo_rows(2) };
is_deeply([ map { scalar @{ $mine{$_} } } @todo ], [ 1, 1, 1 ], 'the ledger is lost: rows are found by their markers');

# Without a status column.
$t->add_user(3);
$t->add_todo_database(3, preset => undef, title => 'No status', properties => { Task => { title => {} },
		Status => { status => { options => [ { name => 'Not started' }, { name => 'Done' } ] } } });
$list = $t->add_notebook(3, 'List', ['one']);
$t->sql("SELECT test.add_todo($list->{pages}[0], 'only one')");
$t->connect_todos(3, use_status_property => JSON::PP::false);
$t->settled('the status column is not wanted');
my ($only) = values %{ $t->todo_rows(3) };
is($only->[0]{properties}{Workflow}, 'Not started', 'the status column is not wanted: Workflow is');

# ------------------------------------------------------------- faults

my @faults = qw(close_before_read commit_close commit_reset commit_hang commit_500
  commit_503 commit_503_guidance commit_502_html reject_500 truncated_json empty_200 409 529 rate_429);
my @users = (10 .. 9 + @faults);
$t->add_users(\@users);
$t->add_todo_database($_) foreach @users;
my $users = join(',', @users);
$t->sql("SELECT test.add_notebook(u, format('eeeeeeee-0000-4000-8000-%s', lpad(u::text, 12, '0')), 'Book of ' || u) FROM unnest(ARRAY[$users]) u;
	SELECT test.add_page(n.id, 1, 'text') FROM notebooks n WHERE n.user_id >= 10;
	SELECT test.add_todo(p.id, 'to-do ' || i) FROM pages p JOIN notebooks n ON n.id = p.notebook_id, generate_series(1, 2) i WHERE n.user_id >= 10");

sub faulty
{
	my ($name, $match, $change) = @_;
	my $since = $t->arrived;

	$t->notion({ cmd => 'clear' });
	$t->notion(map { { fault => $faults[$_], match => { %$match, user => "user$users[$_]" }, times => 1 } } 0 .. $#users);
	$change->();
	$t->settled($name);
	my @idle = map { $_->{fault} } grep { $_->{hits} == 0 } @{ $t->fake->get('/_rules')->{rules} };
	is("@idle", '', "$name: every fault has happened");
	$t->rows_equal("$name, $faults[$_ - 10]", $_) foreach @users;
	$t->no_blind_resend($name, $t->arrivals(since => $since));
	is_deeply($t->fake->get('/_dump')->{duplicates}, [], "$name: nothing is there twice");
	return;
}

my $create = { method => 'POST', path => '^/v1/pages$' };
my $patch = { method => 'PATCH', path => '^/v1/pages/' };
faulty('created', $create, sub { $t->connect_todos($_) foreach @users });
faulty('ticked', $patch, sub { $t->sql("UPDATE todos SET completed = true WHERE user_id >= 10 AND text = 'to-do 1'") });
faulty('deleted', $patch, sub { $t->sql("DELETE FROM todos WHERE user_id >= 10 AND text = 'to-do 2'") });

is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

$t->stop;
done_testing();
