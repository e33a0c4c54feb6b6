# What the host's own synchronization does wrong and no other test shows that we
# do not; see the table in test/README.md.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '2s' });
my $node = $t->node;

# 9: looking for a page fails, and that is not "there is none".  The ledger is
# lost, the pages are at Notion.
my @faults = qw(close hang reject_500 reject_503 reject_502_html edge_403_html rate_429 529 409
  truncated_json short_body empty_200 body:garbage body:empty_object body:wrong_types);
my @users = (1 .. @faults);
$t->add_users(\@users);
my %book = map { $_ => $t->add_notebook($_, "Book of $_", [ "one of $_", "two of $_" ]) } @users;
$t->connect(\@users);
$t->settled('first sync');
my %page = map { $_ => $t->page_of($book{$_})->{id} } @users;
$t->sql('UPDATE rmsync.integration_configs SET is_enabled = false');
$t->sql('DELETE FROM rmsync.sync_records');
$t->notion(map {
		{ fault => $faults[ $_ - 1 ], times => 2, match => { user => "user$_", method => 'POST', path => '/query$' } }
} @users);
$t->sql("SELECT rmsync_enable($_, 'notion')") foreach @users;
$t->settled('pages are looked for');
is(join(' ', map { $_->{fault} } grep { !$_->{hits} } @{ $t->fake->get('/_rules')->{rules} }),
	'', 'in vain, in every way');
$t->equal('no second page is created');
is_deeply({ map { $_ => ($t->page_of($book{$_}) // {})->{id} } @users }, \%page, 'they are the same pages');
$t->notion({ cmd => 'clear' });

# 7: a page that is recognized before it has a place in its notebook.
my $book = $book{1};
my $early = $t->sql("INSERT INTO pages (notebook_id, page_uuid, ocr_status, ocr_text, created_at, updated_at)
	VALUES ($book->{id}, 'early', 'completed', 'recognized early', now(), now()) RETURNING id");
$t->settled('a page without a place');
is(scalar($t->blocks_of($book)), 2, 'is not at Notion');
is($t->sql("SELECT count(*) FROM rmsync.sync_queue"), '0', 'and has not failed');
$t->sql("INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES ($book->{id}, $early, 3)");
$t->settled('its place');
$t->equal('a page that got its place later', 1);

# 12: a page without uuid is itself, and not the notebook or another page.
$book = $book{2};
my @legacy = map {
	$t->sql("WITH p AS (INSERT INTO pages (notebook_id, ocr_status, ocr_text, created_at, updated_at)
			VALUES ($book->{id}, 'completed', 'legacy $_', now(), now()) RETURNING id)
		INSERT INTO notebook_pages (notebook_id, page_id, page_number) SELECT $book->{id}, id, $_ FROM p RETURNING page_id")
} 3, 4;
$t->settled('pages without uuid');
$t->edit_page($legacy[0], 'legacy 3, edited');
$t->settled('one of them is edited');
is(($t->page_of($book) // {})->{id}, $page{2}, 'the notebook\'s page is still there');
is(join('; ', map { $_->{text} } $t->blocks_of($book)), 'one of 2; two of 2; legacy 3, edited; legacy 4',
	'and each page once, with its text');

# 13: a new notebook's first pages are committed at the same time, and everybody
# asks for it; and while a worker is at it, sessions try to do the same work
# themselves, and another worker makes the rows of its to-dos.
$t->add_todo_database(3);
$t->connect_todos(3);
$t->sql("SELECT test.add_notebook(3, 'ffffffff-0000-4000-8000-000000000001', 'At once')");
my @sessions = map {
	my $n = $_;
	my ($in, $out) = ("SELECT test.add_todo(test.add_page(max(id), $n, 'page $n of many'), 'to-do $n') FROM notebooks;
		SELECT rmsync_trigger('notion', user_id => 3);\nCALL rmsync_run();\n", '');
	IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1')
} 1 .. 8;
$_->finish foreach @sessions;
$t->settled('eight at once');
$t->equal('one page for the notebook, one toggle for each', 3);
$t->rows_equal('one row for each to-do', 3, links => 1);
is(scalar(grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' && "@{ $_->{about} }" =~ /^3:notebook:ffffffff/ } $t->arrivals(user => 'user3')),
	1, 'and it was asked for once');

# 14: asking for a synchronization of what is there sends nothing, however many.
$book = $t->add_notebook(4, 'Many', [ map { "entry $_" } 1 .. 130 ]);
$t->settled('130 pages');
my $since = $t->arrived;
$t->sql("SELECT rmsync_trigger('notion', user_id => 4)");
$t->settled('asked for again');
$t->at_most(0, $since, 'what is there');
$t->equal('what is there, and all of it', 4);

# 17: a name that comes back; and when the notebook was changed last.
$t->sql("UPDATE notebooks SET visible_name = 'B' WHERE id = $book->{id}");
$t->settled('A, B');
is($t->page_of($book)->{title}, 'B', 'renamed');
$t->sql("UPDATE notebooks SET visible_name = 'Many' WHERE id = $book->{id}");
$t->settled('A, B, A');
is($t->page_of($book)->{title}, 'Many', 'and back');
ok($t->page_of($book)->{properties}{'Last Modified'}, 'Last Modified is filled');
is(scalar(grep { $_ eq 'Many' } @{ $t->page_of($book)->{properties}{Tags} }), 0, 'the name is no tag');

my $rows = $t->sql('SELECT count(*) FROM rmsync.sync_records WHERE user_id = 4');
foreach my $day (1 .. 5)
{
	$t->sql("UPDATE notebooks SET last_opened = timestamp '2026-03-01 12:00' + interval '$day days' WHERE id = $book->{id}");
	$t->settled("opened on day $day");
	like($t->page_of($book)->{properties}{'Last Opened'}, qr/^2026-03-0@{[ 1 + $day ]}T12:00/, "opened on day $day: Notion says so");
}
is($t->sql('SELECT count(*) FROM rmsync.sync_records WHERE user_id = 4'), $rows, 'and the ledger has no more rows for it');

# 18: handwriting is read anew, and the host keeps the to-do: so does Notion.
$t->add_todo_database(4);
$t->connect_todos(4);
my $todo = $t->sql("SELECT test.add_todo($book->{pages}[1], 'buy milk')");
$t->settled('a to-do');
my $row = $t->todo_rows(4)->{$todo}[0]{id};
$t->sql("BEGIN; SELECT test.complete_page($book->{pages}[1], '- [ ] buy oat milk'); UPDATE todos SET text = 'buy oat milk', updated_at = now() WHERE id = $todo; COMMIT");
$t->settled('read anew');
is(join(' ', map { "$_->{id} $_->{title}" } map { @$_ } values %{ $t->todo_rows(4) }), "$row buy oat milk", 'read anew: the same row says it, and there is no second one');
$t->sql("UPDATE todos SET completed = true WHERE id = $todo");
$t->settled('ticked');
ok($t->todo_rows(4)->{$todo}[0]{properties}{Completed}, 'ticked: the row is');
$t->sql("DELETE FROM todos WHERE id = $todo");
$t->settled('deleted');
is(scalar(keys %{ $t->todo_rows(4) }), 0, 'deleted: the row is gone');
$t->sql("SELECT rmsync_disconnect(4, 'notion-todos')");

# 8: what a target does not take is not queued for it, and cannot fail there.
$t->sql("SELECT test.add_todo($book->{pages}[0], 'a to-do')");
$t->settled('a to-do');
is($t->sql("SELECT count(*) FROM rmsync.sync_log WHERE item_type = 'todo' AND target_name = 'notion'"), '0', 'is not for this connection');

# 23: when it was synchronized last.
wait_for($t->node, 'SELECT count(*) FROM rmsync.integration_configs WHERE last_synced_at IS NULL', '0', 'every connection says when');

is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');
$t->stop;
done_testing();
