# Highlights and to-dos as blocks of the notebook's page at Notion.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	conf => { 'rmsync.http_timeout' => '5s' });

# Does something and judges the end of it.  A limit of requests may be given.
sub scenario
{
	my ($name, $limit, $what, @users) = @_;
	my $since = $t->arrived;

	$what->();
	$t->settled($name);
	$t->at_most($limit, $since, $name) if defined $limit;
	return $t->equal($name, @users);
}

sub highlight
{
	my ($page, $text) = @_;
	return $t->sql("SELECT test.add_highlight($page, " . RmsyncNotion::quote($text) . ')');
}

# ------------------------------------------------------------- highlights

$t->add_user(1);
my $book = $t->add_notebook(1, 'Read', [ map { "page $_" } 1 .. 5 ]);
my @pages = @{ $book->{pages} };
my @h = map { highlight($pages[ $_ % 5 ], "highlight $_") } 0 .. 9;
scenario('first sync with highlights', 7, sub { $t->connect(1) });
is(scalar(grep { $_->{type} eq 'callout' } $t->blocks_of($book)), 10, 'highlights are callouts');
like((grep { $_->{type} eq 'callout' } $t->blocks_of($book))[0]{href},
	qr{^https://rmirror\.io/n/\Q$book->{uuid}\E/h/\d+\?rm=[0-9a-f]{12}$}, 'which carry a marker');

scenario('a highlight is corrected', 1, sub { $t->sql("UPDATE highlights SET corrected_text = 'corrected', note = 'and a note' WHERE id = $h[3]") });
my ($corrected) = grep { $_->{title} =~ /corrected/ } $t->blocks_of($book);
scenario('and again', 1, sub { $t->sql("UPDATE highlights SET corrected_text = 'corrected twice' WHERE id = $h[3]") });
is((grep { $_->{title} =~ /corrected twice/ } $t->blocks_of($book))[0]{id}, $corrected->{id}, 'in place');
scenario('a highlight is added', 1, sub { push @h, highlight($pages[1], 'one more') });
scenario('and at the last page', 1, sub { push @h, highlight($pages[4], 'at the end') });
scenario('a highlight is deleted', 1, sub { $t->sql("DELETE FROM highlights WHERE id = $h[5]") });
scenario('it says where it is from', 12, sub { $t->sql("UPDATE notebooks SET author = 'A. Writer' WHERE id = $book->{id}") });
is((grep { $_->{title} =~ /corrected twice/ } $t->blocks_of($book))[0]{title}, "corrected twice\nand a note\nPage 4, PDF, A. Writer", 'with page, kind and author');
scenario('and of which kind', 1, sub { $t->sql("UPDATE highlights SET source_type = 'epub' WHERE id = $h[3]") });
scenario('a touch without a change', 0, sub { $t->sql('UPDATE highlights SET updated_at = now()') });
scenario('an upload without a change', 0, sub { $t->arrange($book, @pages) });

# Its page is written anew, moved, removed: the highlights stay with it.
scenario('a page with highlights is edited', 3, sub { $t->edit_page($pages[1], 'page 2, edited') });
scenario('the last page is edited', 3, sub { $t->edit_page($pages[4], 'page 5, edited') });
scenario('two pages in a row are edited', undef,
	sub { $t->sql("UPDATE pages SET ocr_text = ocr_text || '!' WHERE id IN ($pages[1], $pages[2])") });
my $new;
scenario(
	'a page is inserted behind highlights', undef,
	sub {
		$new = $t->sql("SELECT test.add_page($book->{id}, 60, 'a page in between')");
		$t->arrange($book, @pages[ 0 .. 1 ], $new, @pages[ 2 .. 4 ]);
	});
splice(@pages, 2, 0, $new);
scenario('the new page gets a highlight', undef, sub { push @h, highlight($new, 'in between') });
scenario('pages change places', undef, sub { @pages[ 1, 4 ] = @pages[ 4, 1 ]; $t->arrange($book, @pages) });
scenario('all pages the other way round', undef, sub { @pages = reverse @pages; $t->arrange($book, @pages) });
scenario('a page leaves the notebook', undef, sub { splice(@pages, 2, 1); $t->arrange($book, @pages) });
# As others do who touch what is to move: it is due, and is equal.
scenario('another does, and its highlights are written as they were', undef, sub {
	my $gone = $pages[1];
	$t->sql("BEGIN; UPDATE highlights SET note = 'x' WHERE page_id = $gone AND note IS NULL;
		UPDATE highlights SET note = NULL WHERE note = 'x';
		DELETE FROM notebook_pages WHERE page_id = $gone AND notebook_id = $book->{id}; COMMIT");
	$t->settled('it left');
	$t->equal('it left');
	$t->arrange($book, @pages);
});
# Its highlight goes to the end; the pages it passes stay where they are.
scenario('the first page gets a highlight', undef, sub { push @h, highlight($pages[0], 'left behind') });
my @toggles = grep { $_->{type} eq 'toggle' } $t->blocks_of($book);
my $first = $pages[0];
scenario('and leaves the notebook', undef, sub { shift @pages; $t->arrange($book, @pages) });
is_deeply([ map { $_->{id} } grep { $_->{type} eq 'toggle' } $t->blocks_of($book) ], [ map { $_->{id} } @toggles[ 1 .. $#toggles ] ],
	'all other pages keep their toggles');
scenario('and comes back', undef, sub { unshift @pages, $first; $t->arrange($book, @pages) });
scenario('a page is deleted', undef, sub { $t->sql("DELETE FROM pages WHERE id = $pages[0]"); shift @pages });
scenario(
	'a highlight without a page', undef,
	sub { $t->sql("UPDATE highlights SET page_id = NULL, page_number = NULL WHERE id = (SELECT min(id) FROM highlights)") });
scenario('long and full of wonders', undef,
	sub { highlight($pages[0], "\x{1F600}\x{e9}\n" x 3000) });

# The user's hand in it.
my ($gone) = grep { $_->{type} eq 'callout' } $t->blocks_of($book);
$t->notion({ cmd => 'trash', id => $gone->{id} });
my ($id) = $gone->{href} =~ m{/h/(\d+)};
scenario('a highlight in the trash comes back with its next change', undef,
	sub { $t->sql("UPDATE highlights SET note = 'still here' WHERE id = $id") });
scenario('quotes instead', undef, sub { $t->connect(1, highlights => 'quote') });
scenario('none at all', undef, sub { $t->connect(1, highlights => 'off') });
is(scalar(grep { $_->{type} ne 'toggle' } $t->blocks_of($book)), 0, 'no highlight is left');
scenario('and again', undef, sub { $t->connect(1) });
scenario('newest first', undef, sub { $t->connect(1, page_order => 'newest_first') });

# ------------------------------------------------------------- to-dos

$t->add_user(2);
my $list = $t->add_notebook(2, 'List', [ map { "page $_" } 1 .. 3 ]);
my @l = @{ $list->{pages} };
$t->sql("SELECT test.add_todo($l[0], 'to-do ' || i) FROM generate_series(1, 50) i; SELECT test.add_todo($l[1], 'the same'), test.add_todo($l[1], 'the same')");
scenario('to-dos are not wanted', undef, sub { $t->connect(2) }, 2);
is(scalar(grep { $_->{type} ne 'toggle' } $t->blocks_of($list)), 0, 'and not there');
scenario('to-dos as blocks', undef, sub { $t->connect(2, todos => 'blocks') }, 2);
is(scalar(grep { $_->{title} eq 'the same' } $t->blocks_of($list)), 2, 'two that say the same are two');
scenario('one is ticked', 1, sub { $t->sql("UPDATE todos SET completed = true WHERE text = 'to-do 17'") }, 2);
scenario('and unticked', 1, sub { $t->sql("UPDATE todos SET completed = false WHERE text = 'to-do 17'") }, 2);
scenario('one is edited', 1, sub { $t->sql("UPDATE todos SET text = 'to-do 18, edited' WHERE text = 'to-do 18'") }, 2);
scenario('one is added', 1, sub { $t->sql("SELECT test.add_todo($l[2], 'one more')") }, 2);
scenario('one is deleted', 1, sub { $t->sql("DELETE FROM todos WHERE text = 'to-do 20'") }, 2);
scenario('the last page is edited', 3, sub { $t->edit_page($l[2], 'page 3, edited') }, 2);
scenario('a page is added', 2, sub { $t->sql("SELECT test.add_page($list->{id}, 4, 'page 4')") }, 2);
scenario('a highlight is added', 1, sub { highlight($l[2], 'above the to-dos') }, 2);
scenario('pages change places', undef, sub { $t->arrange($list, reverse @l) }, 2);
my ($heading) = grep { $_->{type} eq 'heading_2' } $t->blocks_of($list);
$t->notion({ cmd => 'trash', id => $heading->{id} });
scenario('all to-dos are deleted', undef, sub { $t->sql('DELETE FROM todos WHERE user_id = 2') }, 2);
is(scalar(grep { $_->{type} eq 'heading_2' } $t->blocks_of($list)), 0, 'and their heading');
scenario('there are some again', undef, sub { $t->sql("SELECT test.add_todo($l[2], 'once more')") }, 2);
scenario('the notebook is deleted', undef, sub { $t->sql("UPDATE notebooks SET deleted = true WHERE id = $list->{id}") }, 2);
scenario('and restored', undef, sub { $t->sql("UPDATE notebooks SET deleted = false WHERE id = $list->{id}") }, 2);

# ------------------------------------------------------------- faults

my @faults = qw(close_before_read commit_close commit_hang commit_500
  commit_503 commit_503_guidance commit_502_html reject_500 truncated_json 409 rate_429);
my @users = (10 .. 9 + 2 * @faults);
$t->add_users(\@users);
my $users = join(',', @users);
$t->sql("SELECT test.add_notebook(u, format('dddddddd-0000-4000-8000-%s', lpad(u::text, 12, '0')), 'Book of ' || u) FROM unnest(ARRAY[$users]) u;
	SELECT test.add_page(n.id, i, format('text %s of user %s', i, n.user_id)) FROM notebooks n, generate_series(1, 3) i WHERE n.user_id >= 10");
$t->connect(\@users, todos => 'blocks');
$t->settled('notebooks of the faults');

sub faulty
{
	my ($name, $match, $change) = @_;
	my $since = $t->arrived;

	$t->notion({ cmd => 'clear' });
	$t->notion(map { { fault => $faults[ $_ % @faults ], match => { %$match, user => "user$users[$_]" }, times => 1 } } 0 .. $#users);
	$t->sql($change);
	$t->settled($name);
	my @idle = map { $_->{fault} } grep { $_->{hits} == 0 } @{ $t->fake->get('/_rules')->{rules} };
	is("@idle", '', "$name: every fault has happened");
	$t->equal($name);
	$t->no_blind_resend($name, $t->arrivals(since => $since));
	is_deeply($t->fake->get('/_dump')->{duplicates}, [], "$name: nothing is there twice");
	return;
}

my $append = { method => 'PATCH', path => '/children$' };
my $patch = { method => 'PATCH', path => '^/v1/blocks/[^/]+$' };
my $delete = { method => 'DELETE', path => '^/v1/blocks/' };

faulty('highlights and to-dos are added', $append,
	"SELECT test.add_highlight(p.id, 'marked'), test.add_todo(p.id, 'to be done') FROM pages p JOIN notebooks n ON n.id = p.notebook_id WHERE n.user_id >= 10");
faulty('they change', $patch,
	"UPDATE highlights SET note = 'noted' WHERE user_id >= 10; UPDATE todos SET completed = true WHERE user_id >= 10");
faulty('some are deleted', $delete,
	"DELETE FROM highlights WHERE user_id >= 10 AND page_number = 2; DELETE FROM todos WHERE user_id >= 10 AND page_number = 2");

$t->equal('in the end');
is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

$t->stop;
done_testing();
