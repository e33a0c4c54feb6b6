# Large notebooks are split over several pages at Notion: every page of the
# source is there once, in order over all parts, whatever changes and fails.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	conf => { 'rmsync.notion_split_pages' => 20, 'rmsync.http_timeout' => '2s' });

sub texts
{
	my ($what, $n) = @_;
	return [ map { "$what $_\n\n- one of $_\n- two of $_" } 1 .. $n ];
}

# How many toggles stand in the parts of a notebook.
sub sizes
{
	my ($book) = @_;
	my $page = $t->page_of($book) or return '';
	return join(' ', map { scalar(grep { ($_->{href} // '') =~ m{/p/[^/?]+\?rm=} } @$_) }
		  $page->{own}, map { $_->{blocks} } @{ $page->{parts} });
}

# Pages of a notebook as they are in the source now.
sub pages_of
{
	my ($book) = @_;
	return split /\n/, $t->sql("SELECT p.id FROM notebook_pages m JOIN pages p ON p.id = m.page_id
		WHERE m.notebook_id = $book->{id} ORDER BY m.page_number");
}

# A change, and what it may cost.
sub change
{
	my ($name, $book, $expected, $limit, $change) = @_;
	my $since = $t->arrived;

	$change->();
	$t->settled($name);
	is(sizes($book), $expected, "$name: pages in the parts") if defined $expected;
	$t->equal($name);
	$t->no_blind_resend($name, $t->arrivals(since => $since));
	$t->at_most($limit, $since, $name) if defined $limit;
	return;
}

my $fresh = 9000;

# New pages, in front of the page that has this number, in one transaction.
sub insert
{
	my ($book, $number, @texts) = @_;
	my @uuids = split /\n/, $t->sql("SELECT p.page_uuid FROM notebook_pages m JOIN pages p ON p.id = m.page_id
		WHERE m.notebook_id = $book->{id} ORDER BY m.page_number");
	my @new = map { [ ++$fresh, $_ ] } @texts;

	@uuids = map { "'$_'" } @uuids;
	splice(@uuids, $number - 1, 0, map { "test.page_uuid($book->{id}, $_->[0])::text" } @new);
	$t->sql(join(";\n", 'BEGIN', (map { "SELECT test.add_page($book->{id}, $_->[0], '$_->[1]')" } @new),
		"SELECT test.upload_content('$book->{uuid}', ARRAY[" . join(', ', @uuids) . '])', 'COMMIT'));
	return;
}

# ------------------------------------------------------------ everyday life

$t->add_users([ 1 .. 9 ]);
my $book = $t->add_notebook(1, 'Journal', texts('entry', 50));
$t->sql("SELECT test.add_todo($book->{pages}[$_], 'task $_') FROM (VALUES (1)) v") foreach 1, 30;
# database, data source, columns, marker, page; two more pages, three appends
change('first sync', $book, '20 20 10', 11, sub { $t->connect(1, requests_per_minute => 600, todos => 'blocks') });
my @ids = map { $_->{id} } @{ $t->page_of($book)->{parts} };
is($t->sql("SELECT count(DISTINCT metadata_json ->> 'notion_page_id') FROM rmsync.sync_records WHERE item_type = 'page_text' AND user_id = 1"),
	'3', 'the ledger tells the page that a toggle stands in');

change('edit in the second part', $book, '20 20 10', 4, sub { $t->edit_page($book->{pages}[24], "entry 25\n\n- one of 25\n- two of 25, edited") });
change('all other words at the end of the first part', $book, '20 20 10', 4, sub { $t->edit_page($book->{pages}[19], "> completely\n\n> different") });
change('a page behind all', $book, '20 20 11', 3, sub { $t->sql("SELECT test.add_page($book->{id}, 51, 'entry 51')") });
change('a page in the middle', $book, '20 21 11', undef, sub { insert($book, 31, 'inserted') });
change('pages in front', $book, '22 21 11', undef, sub { insert($book, 1, 'front 1', 'front 2') });
change('behind the last page of a part', $book, '22 22 11', undef, sub { insert($book, 23, 'between') });
change(
	'pages change places over parts', $book, '22 22 11', undef,
	sub { my @p = pages_of($book); @p[ 4, 40 ] = @p[ 40, 4 ]; $t->arrange($book, @p) });
change(
	'pages are removed', $book, '20 21 10', undef,
	sub { my @p = pages_of($book); splice(@p, 50, 1); splice(@p, 30, 1); splice(@p, 3, 2); $t->arrange($book, @p) });
change('ten more', $book, '20 21 20', undef, sub { my @p = pages_of($book); insert($book, @p + 1, map { "more $_" } 1 .. 10) });
change('and one: a new part', $book, '20 21 20 1', undef, sub { my @p = pages_of($book); insert($book, @p + 1, 'the last') });
is(join(' ', map { $_->{type} } grep { ($_->{href} // '') =~ m{/t/} } @{ $t->page_of($book)->{parts}[-1]{blocks} }),
	'heading_2 to_do to_do', 'the to-dos stand in the last part');
change('rename', $book, '20 21 20 1', 4, sub { $t->sql("UPDATE notebooks SET visible_name = 'Diary' WHERE id = $book->{id}") });
is_deeply([ map { $_->{id} } @{ $t->page_of($book)->{parts} }[ 0, 1 ] ], \@ids, 'the parts are the pages they were');

# A part in which nothing stands any more goes; one with a reader's text stays.
change(
	'the second part is emptied', $book, '20 20 1', undef,
	sub { my @p = pages_of($book); splice(@p, 20, 21); $t->arrange($book, @p) });
is(scalar(@{ $t->page_of($book)->{parts} }), 2, 'its page is gone');
my $part = $t->page_of($book)->{parts}[0];
$t->notion({ cmd => 'user_block', parent => $part->{id}, text => 'words of the reader' });
change(
	'another one is emptied', $book, '20 0 1', undef,
	sub { my @p = pages_of($book); splice(@p, 20, 20); $t->arrange($book, @p) });
ok((grep { $_->{title} eq 'words of the reader' } $t->blocks_of($book)), 'what the reader wrote is still there');
change('pages go there again', $book, '20 5 1', undef, sub { insert($book, 21, map { "again $_" } 1 .. 5) });

# ------------------------------------------------------- the user in Notion

my $lost = $t->add_notebook(2, 'Lost', texts('lost', 50));
change('another notebook', $lost, '20 20 10', undef, sub { $t->connect(2, requests_per_minute => 600) });
@ids = map { $_->{id} } @{ $t->page_of($lost)->{parts} };
$t->notion({ cmd => 'trash', id => $ids[0] });
change('a part is in the trash', $lost, '20 20 10', undef, sub { $t->edit_page($lost->{pages}[29], 'edited after the loss') });
isnt($t->page_of($lost)->{parts}[0]{id}, $ids[0], 'there is a new part');
is((grep { $_->{id} eq $ids[1] } @{ $t->page_of($lost)->{parts} }), 1, 'the other part stayed');
@ids = map { $_->{id} } @{ $t->page_of($lost)->{parts} };
$t->notion({ cmd => 'trash', id => $_ }) foreach @ids;
# in which part a page comes back depends on which one is missed first
change('all parts are in the trash', $lost, undef, undef, sub { my @p = pages_of($lost); insert($lost, @p + 1, 'one', 'two') });
$t->notion({ cmd => 'trash', id => $t->page_of($lost)->{id} });
change('the notebook\'s page is in the trash', $lost, '20 20 12', undef, sub { $t->edit_page($lost->{pages}[0], 'new again') });
change('deleted', $lost, '', 1, sub { $t->sql("UPDATE notebooks SET deleted = true WHERE id = $lost->{id}") });
is(scalar(grep { !$_->{in_trash} && ($_->{href} // '') =~ m{/p/} } @{ $t->fake->get('/_dump?user=user2')->{blocks} }),
	0, 'nothing of it is left');

# The database has forgotten all of it: what is there is found, and kept.
my $old = $t->add_notebook(3, 'Restored', texts('old', 45));
change('a third', $old, '20 20 5', undef, sub { $t->connect(3, requests_per_minute => 600) });
$t->notion({ cmd => 'create_page', user => 'user3', parent => $t->page_of($old)->{id}, title => 'of the reader' });
@ids = map { $_->{id} } @{ $t->page_of($old)->{parts} };
$t->sql("SELECT rmsync_disable(3, 'notion'); DELETE FROM rmsync.sync_records WHERE user_id = 3; DELETE FROM rmsync.sync_queue WHERE user_id = 3");
change('forgotten', $old, '20 20 5', undef, sub {
	$t->sql("SELECT rmsync_enable(3, 'notion'); SELECT rmsync_trigger('notion', user_id => 3, force => true)");
});
is_deeply([ map { $_->{id} } @{ $t->page_of($old)->{parts} } ], \@ids, 'its parts are found');

# ------------------------------------------------------------------- faults

# The create of a part is not answered.
my $user = 3;
foreach my $fault (qw(commit_close commit_503_guidance commit_hang close_before_read reject_500))
{
	my $name = "$fault at the create of a part";
	my $faulty = $t->add_notebook(++$user, "Faulty $user", texts('text', 30));

	$t->notion({ fault => $fault, match => { method => 'POST', path => '^/v1/pages$', user => "user$user" }, times => 1, after => 1 });
	change($name, $faulty, '20 10', undef, sub { $t->connect($user, requests_per_minute => 600) });
	is($t->fake->get('/_rules')->{rules}[-1]{hits}, 1, "$name: it has happened");
	is(scalar(grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' && ($_->{fault} // '') !~ /^(?:close_before_read|reject)/ }
		  $t->arrivals(user => "user$user")), 2, "$name: two pages were made");
}

# An append to a part is not answered.
foreach my $fault (qw(commit_reset close_before_read commit_500 commit_503_guidance))
{
	my $faulty = $t->add_notebook($user, "Append $fault", []);
	$t->settled('empty');
	$t->notion({ cmd => 'clear' }, { fault => $fault, match => { method => 'PATCH', path => '/children$', user => "user$user" }, times => 1, after => 1 });
	change("$fault at an append to a part", $faulty, '20 15', undef, sub {
		my $texts = texts($fault, 35);
		$t->sql(join(";\n", 'BEGIN', (map { "SELECT test.add_page($faulty->{id}, $_, '$texts->[ $_ - 1 ]')" } 1 .. 35), 'COMMIT'));
	});
	is($t->fake->get('/_rules')->{rules}[-1]{hits}, 1, "$fault at an append to a part: it has happened");
}
$t->notion({ cmd => 'clear' });

# ------------------------------------------------------- newest first, setting

my $newest = $t->add_notebook(9, 'Newest', texts('new', 45));
change('newest first', $newest, '20 20 5', undef, sub { $t->connect(9, requests_per_minute => 600, page_order => 'newest_first') });
change('a newer one', $newest, '21 20 5', undef, sub { insert($newest, 46, 'the newest') });

$t->sql("ALTER SYSTEM SET rmsync.notion_split_pages = 0");
$t->node->restart;
change('no more splitting', $newest, '21 20 30', undef, sub {
	my @p = pages_of($newest);
	insert($newest, 1, map { "before $_" } 1 .. 25);
});
is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE intent IS NOT NULL"), '0', 'nothing is in doubt');

$t->stop;
done_testing();
