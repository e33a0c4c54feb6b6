# Nested blocks of a page that are changed in place: only the block that changes
# is written, at any depth, and what readers have put below ours stays.
use strict;
use warnings;
use utf8;

use JSON::PP;
use List::Util qw(first sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '3s', 'restart_after_crash' => 'on' });

# All that stands in the toggle of a notebook's n-th page, as one reads it:
# { id, depth, text, says: with its depth in front }.
sub tree
{
	my ($book, $n) = @_;
	my $toggle = (grep { $_->{type} eq 'toggle' } $t->blocks_of($book))[ $n // 0 ];
	my %block = map { $_->{id} => $_ } @{ $t->fake->get("/_dump?user=user$book->{user}")->{blocks} };
	my $below;

	$below = sub {
		my ($id, $depth) = @_;
		return map { ({ %{ $block{$_} }, depth => $depth, says => ('  ' x $depth) . $block{$_}{text} }, $below->($_, $depth + 1)) }
		  @{ $block{$id}{children} };
	};
	return $below->($toggle->{id}, 0);
}

# The same of a text of bullets and paragraphs.
sub outline
{
	my ($text) = @_;
	return join("\n", map { s/^(\s*)- /$1/r } grep { $_ ne '' } split /\n/, $text);
}

sub said
{
	return join("\n", map { $_->{says} } @_);
}

# Ids of those whose text is in both, by their text.
sub ids
{
	return { map { $_->{text} => $_->{id} } @_ };
}

sub block
{
	my ($text, @tree) = @_;
	return first { $_->{text} eq $text } @tree;
}

# Blocks with these texts are other ones than before, all others are the same.
sub only
{
	my ($name, $before, $after, @new) = @_;
	my ($was, $is) = (ids(@$before), ids(@$after));
	my %new = map { $_ => 1 } @new;
	my @wrong = grep { $new{$_} ? grep { $is->{$_} eq ($was->{$_} // '') } $_ : ($was->{$_} // 'none') ne $is->{$_} } sort keys %$is;

	return is(join(', ', @wrong), '', "$name: all other blocks are the same");
}

# A change of the first page, the requests it takes, and what it says then.
# Answers what is there before and after.
sub edit
{
	my ($name, $book, $text, $limit, $expected) = @_;
	my @before = tree($book);
	my $since = $t->arrived;

	$t->edit_page($book->{pages}[0], $text);
	$t->settled($name, user => $book->{user});
	$t->at_most($limit, $since, $name) if defined $limit;
	my @after = tree($book);
	is(said(grep { $_->{text} !~ /^mine/ } @after), $expected // outline($text), "$name: what the toggle says");
	return (\@before, \@after);
}

# ------------------------------------------------------ one block

my $filler = join("\n\n", map { "line $_" } 1 .. 12);
my $text = "- alpha\n  - a1\n  - a2\n  - a3\n- beta\n  - b1\n    - b11\n    - b12\n      - b121\n      - b122\n  - b2\n- gamma\n  - g1\n- delta\n\n$filler";
$t->add_user(1);
my $book = $t->add_notebook(1, 'Nested', [$text]);
$t->connect(1);
$t->settled('first sync');
my @tree = tree($book);
is(said(@tree), outline($text), 'five tiers are there');
$t->notion(map { { cmd => 'comment', id => $_->{id}, text => 'a comment' } } @tree);

# Changes of the text, and the blocks that are new by that.  Each is a request,
# as are the list of the toggle, the page's properties, and a list for every
# block further up.
foreach my $case (
	[ 'a nested line', sub { s/a2$/a two/m }, 4 ],
	[ 'a deeper one', sub { s/b11$/b eleven/m }, 5 ],
	[ 'the deepest', sub { s/b122$/b hundred/m }, 6 ],
	[ 'a parent', sub { s/- beta$/- beta two/m }, 3 ],
	[ 'a parent and a child', sub { s/- alpha$/- alpha two/m; s/a3$/a three/m }, 5 ],
	[ 'a line and one of its grandchildren', sub { s/b1$/b one/m; s/b12$/b twelve/m }, 6 ],
	[ 'bold', sub { s/a1$/**a1**/m }, 4 ])
{
	my ($name, $change, $limit) = @$case;
	my @before = tree($book);
	local $_ = $text;
	$change->();
	$text = $_;
	my (undef, $after) = edit($name, $book, $text, $limit, outline($text) =~ s/\*\*//gr);
	is_deeply([ map { $_->{id} } @$after ], [ map { $_->{id} } @before ], "$name: every block is the same");
	$t->expect_text($text, RmsyncNotionJudge::lines_of($text));
	$t->equal($name);
}
$text =~ s/\*\*//g;
edit('no longer bold', $book, $text, 4);

foreach my $case (
	[ 'a line in between', sub { s/^  - a two/  - a one and a half\n  - a two/m }, 4, 'a one and a half' ],
	[ 'some at the end, with lines below', sub { s/^  - a three/  - a three\n  - a4\n    - a41\n  - a5/m }, 4, 'a4', 'a41', 'a5' ],
	[ 'a first one', sub { s/^      - b121/      - b120\n      - b121/m }, 6, 'b120' ],
	[ 'the first child', sub { s/^- delta/- delta\n  - d1\n  - d2/m }, 3, 'd1', 'd2' ],
	[ 'one goes', sub { s/^      - b121\n//m }, 6 ],
	[ 'with all below', sub { s/^  - a4\n    - a41\n//m }, 4 ],
	[ 'the last child', sub { s/^  - g1\n//m }, 4 ],
	[ 'indented', sub { s/^- gamma\n//m; s/^  - b2/  - b2\n  - gamma/m }, 5, 'gamma' ],
	[ 'no longer', sub { s/^  - gamma\n//m; s/^- delta/- gamma\n- delta/m }, 5, 'gamma' ],
	[ 'two neighbours', sub { s/^(  - a one and a half)\n(  - a two)/$2\n$1/m }, 5, undef ])
{
	my ($name, $change, $limit, @new) = @$case;
	local $_ = $text;
	$change->();
	$text = $_;
	my ($before, $after) = edit($name, $book, $text, $limit);
	only($name, $before, $after, @new) if !@new || defined $new[0];
	$t->equal($name);
}
is(scalar(grep { my $id = $_->{id}; grep { $_->{id} eq $id } @tree } tree($book)), @tree - 3,
	'all but the lines that went or moved are those of the first day');

# ------------------------------------------------------ the reader's own

sub mine
{
	my ($parent, $text, $position) = @_;
	my $id = $t->notion({ cmd => 'user_block', parent => $parent->{id}, text => $text, position => $position // 'end' })->{id};
	$t->notion({ cmd => 'comment', id => $id, text => 'a comment on what is mine' });
	return $id;
}
@tree = tree($book);
my %mine = (
	'below a leaf' => mine(block('line 3', @tree), 'mine below a leaf'),
	'among' => mine(block('alpha two', @tree), 'mine among them', { after => block('a two', @tree)->{id} }),
	'deep' => mine(block('b120', @tree), 'mine deep'),
	'before' => mine(block('b twelve', @tree), 'mine before', 'start'));
foreach my $case (
	[ 'beside mine', sub { s/a1$/a 1/m }, 4, 0 ],
	[ 'mine is in the way', sub { s/(- a two\n)/$1  - a two and a half\n/m }, 4, 1 ],
	[ 'a line with mine below', sub { s/^line 3$/line three/m }, 3, 0 ],
	[ 'a deep one beside mine', sub { s/b hundred$/b 122/m }, 6, 0 ],
	[ 'a parent of mine', sub { s/b twelve$/b 12/m }, 5, 0 ],
	[ 'above mine', sub { s/(- b 12\n)/$1      - b119\n/ }, 6, 1 ],
	[ 'all of ours beside mine', sub { s/^      - b.*\n//mg }, 8, 0 ])
{
	my ($name, $change, $limit, $new) = @$case;
	local $_ = $text;
	$change->();
	$text = $_;
	my ($before, $after) = edit($name, $book, $text, $limit);
	my %was = map { $_->{id} => $_->{depth} } @$before;
	my %is = map { $_->{id} => $_->{depth} } @$after;
	delete $mine{deep} if $name eq 'all of ours beside mine';
	is(join(' ', grep { ($is{ $mine{$_} } // -1) != $was{ $mine{$_} } } sort keys %mine), '', "$name: what is mine is there");
	is(scalar(grep { !exists $was{$_} } keys %is), $new, "$name: $new new blocks");
}

# A leaf with mine below gets children of ours: no list is needed, and mine stays.
$text =~ s/^line 7$/- seven/m;
edit('a bullet among lines', $book, $text);
my $seven = mine(block('seven', tree($book)), 'mine below seven');
$text =~ s/^- seven$/- seven\n  - seven 1/m;
my (undef, $after) = edit('the first child, above mine', $book, $text, 3);
ok((grep { $_->{id} eq $seven } @$after), 'mine is still there');

# What a reader has written over, with our lines below, and what he threw away.
$t->add_user(2);
my @over = ("- top\n  - one\n  - two\n  - three\n- other", map { "- item $_" } 1 .. 8);
my $over = $t->add_notebook(2, 'Written over', [ join("\n", @over) ]);
$t->connect(2);
$t->settled('written over');
@tree = tree($over);
$t->notion({ cmd => 'edit_text', id => block('top', @tree)->{id}, text => 'my top' },
	{ cmd => 'edit_text', id => block('two', @tree)->{id}, text => 'my two' });
$over[1] = '- item one';
(my $before, $after) = edit('a parent is written over', $over, join("\n", @over), 6,
	outline(join("\n", @over)));
is_deeply([ map { $_->{id} } @$after ], [ map { $_->{id} } @$before ], 'it is ours again, and all below is the same');
$t->notion(map { { cmd => 'trash', id => block($_, @$after)->{id} } } 'one', 'two', 'three');
$over[2] = '- item two';
($before, $after) = edit('all children are thrown away', $over, join("\n", @over), 4);
only('all children are thrown away', $before, $after, 'one', 'two', 'three', 'item two');

# ------------------------------------------------------ tables and look-alikes

$t->add_user(3);
my @rows = map { "| cell $_ | value $_ |" } 1 .. 6;
my $table = sub { join("\n", '| head | of it |', '|---|---|', @rows) . "\n\n$filler" };
$t->expect_text($table->(), '');
my $sheet = $t->add_notebook(3, 'Table', [ $table->() ]);
$t->connect(3);
$t->settled('table');
foreach my $case (
	[ 'a cell', sub { $rows[2] = '| cell 3 | another |' }, 4, 7 ],
	[ 'a row', sub { splice(@rows, 4, 0, '| new | **row** |') }, 4, 7 ],
	[ 'a row goes', sub { splice(@rows, 1, 1) }, 4, 7 ],
	[ 'another width', sub { $_ .= ' and |' foreach @rows }, 4, 0 ])
{
	my ($name, $change, $limit, $kept) = @$case;
	my %was = map { $_->{id} => 1 } grep { $_->{type} eq 'table_row' } tree($sheet);
	my $since = $t->arrived;
	$change->();
	$t->edit_page($sheet->{pages}[0], $name eq 'another width' ? $table->() =~ s/of it \|\n\|---/of it | x |\n|---|---/r : $table->());
	$t->settled($name);
	$t->at_most($limit, $since, $name);
	my @now = grep { $_->{type} eq 'table_row' } tree($sheet);
	is(scalar(@now), @rows + 1, "$name: the rows that are wanted");
	is(scalar(grep { $was{ $_->{id} } } @now), $kept, "$name: $kept of them are the same");
}

# Blocks that say the same are told by what is below.
my @same = map { "- same\n  - child $_" } 1 .. 8;
my $alike = $t->add_notebook(3, 'Alike', [ join("\n", @same) ]);
$t->settled('alike');
$same[4] = "- same\n  - another child";
($before, $after) = edit('one of many that look alike', $alike, join("\n", @same), 4);
is_deeply([ map { $_->{id} } @$after ], [ map { $_->{id} } @$before ], 'every block is the same');
splice(@same, 2, 1);
($before, $after) = edit('one of them goes', $alike, join("\n", @same), 3);
is_deeply([ map { $_->{id} } @$after ], [ map { $_->{id} } @$before[ 0 .. 3, 6 .. 15 ] ], 'all others are the same');

# One that a reader has thrown away comes back, and no other is taken for it.
$t->notion({ cmd => 'trash', id => $after->[2]{id} });
$same[5] = "- same\n  - a child since";
edit('one of them is in the trash', $alike, join("\n", @same));

# ------------------------------------------------------ older records

# An older version recorded only whether what is below has changed.
sub made_older
{
	my ($b) = @_;
	$t->sql(join(";\n", ("UPDATE rmsync.sync_records SET metadata_json = jsonb_set(metadata_json, '{prints}',
		to_jsonb(regexp_replace(metadata_json ->> 'prints', '\\([^()]*\\)', '', 'g')))
		WHERE item_id IN (SELECT page_uuid FROM pages WHERE id = $b->{pages}[0])") x 5));
	is($t->sql("SELECT metadata_json ->> 'prints' ~ '[()]' FROM rmsync.sync_records WHERE item_id IN
		(SELECT page_uuid FROM pages WHERE id = $b->{pages}[0])"), 'f', 'an older record');
	return;
}
$t->add_user(4);
my $older = $t->add_notebook(4, 'Older', ["- top\n  - one\n    - two\n- other\n  - three\n\n$filler"]);
$t->connect(4);
$t->settled('older');
made_older($older);
($before, $after) = edit('beside what is nested', $older, "- top\n  - one\n    - two\n- other\n  - three\n\n" . $filler =~ s/line 5/line five/r, 3);
is_deeply([ map { $_->{id} } @$after ], [ map { $_->{id} } @$before ], 'an older record: nothing is written anew');
($before, $after) = edit('and then', $older, "- top\n  - one\n    - deux\n- other\n  - three\n\n$filler" =~ s/line 5/line five/r, 5);
is_deeply([ map { $_->{id} } @$after ], [ map { $_->{id} } @$before ], 'from then on it describes what is nested');
made_older($older);
($before, $after) = edit('what is nested', $older, "- top\n  - one\n    - dos\n- other\n  - three\n\n$filler" =~ s/line 5/line five/r, 4);
only('an older record', $before, $after, 'top', 'one', 'dos');

# ------------------------------------------------------ a preview

$t->sql("SELECT rmsync_disable(4, 'notion')");
$t->edit_page($older->{pages}[0], "- top\n  - one\n    - tres\n- other\n  - three\n  - four\n\n" . $filler =~ s/line 5/line five/r);
my $steps = $t->sql("SELECT string_agg(method || ' ' || regexp_replace(url, '.*/v1/([a-z]+)/[^/?]+', '\\1'), ', ' ORDER BY step)
	FROM rmsync_preview('notion', 4)");
is($steps, join(', ', ('GET blocks/children') x 4, 'PATCH blocks/children', 'PATCH blocks', 'PATCH pages'), 'a preview shows the requests');
my $since = $t->arrived;
$t->sql("SELECT rmsync_enable(4, 'notion')");
$t->settled('as previewed');
is(join(', ', map { "$_->{method} " . ($_->{path} =~ s{^/v1/([a-z]+)/[^/]+}{$1}r =~ s/\?.*//r) } $t->arrivals(since => $since)),
	$steps =~ s/\?[^,]*//gr, 'and they are what is sent');
$t->equal('as previewed', 4);

$t->stop;
done_testing();
