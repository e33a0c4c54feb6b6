# Titles without numbers, and the layout for workspaces that may create few
# blocks: a page is one paragraph.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '2s' });

sub titles
{
	my ($book) = @_;
	return map { $_->{title} } $t->blocks_of($book);
}

sub made
{
	my ($user) = @_;
	return $t->fake->get('/_stats')->{blocks_made}{"user$user"};
}

my $inserted = 0;

# A page is inserted in front.
sub insert
{
	my ($book, $text) = @_;
	my $new = 5000 + $inserted++;
	return $t->sql("BEGIN; UPDATE notebook_pages SET page_number = page_number + 1000 WHERE notebook_id = $book->{id};
		UPDATE notebook_pages SET page_number = page_number - 999 WHERE notebook_id = $book->{id};
		SELECT test.add_page($book->{id}, $new, " . RmsyncNotion::quote($text) . ");
		UPDATE notebook_pages SET page_number = 1 WHERE notebook_id = $book->{id} AND page_number = $new; COMMIT");
}

# ------------------------------------------------------ titles

my $accent = "e\x{301}";
my @texts = (
	"intro\n\n## The **bold** [heading](https://example.org/)\n\nmore",
	"first line of `some` *words*\nsecond line",
	'x' x 79 . $accent . ' and more than fits into a title',
	'ein Satz mit sehr vielen langen Wörtern, der nach und nach über das Ende eines Titels hinausgeht, leider',
	'');
$t->add_user(1);
my $book = $t->add_notebook(1, 'Titles', \@texts);
$t->connect(1, page_title => '📄 {title}');
$t->settled('titles');
is_deeply([ titles($book) ],
	[ '📄 The bold heading', '📄 first line of some words', '📄 ' . 'x' x 79 . '…',
		'📄 ein Satz mit sehr vielen langen Wörtern, der nach und nach über das Ende eines…', '📄 (no text)' ],
	'a title is the first heading or line, without markup');
my @ids = map { $_->{id} } $t->blocks_of($book);
my $since = $t->arrived;
insert($book, '# In front');
$t->settled('in front');
$t->at_most(3, $since, 'in front');
is_deeply([ map { $_->{id} } $t->blocks_of($book) ], [ ($t->blocks_of($book))[0]{id}, @ids ], 'the others stay');
is($t->sql('SELECT count(*) FROM rmsync.sync_records WHERE status <> $$success$$'), '0', 'and are settled');

$since = $t->arrived;
$t->edit_page($book->{pages}[1], "another line\nsecond line");
$t->settled('another line');
$t->at_most(4, $since, 'another line');
is((titles($book))[2], '📄 another line', 'the title follows the text');
is(($t->blocks_of($book))[2]{id}, $ids[1], 'in the same toggle');
is(($t->blocks_of($book))[2]{text}, "another line\nsecond line", 'which says the same');
$since = $t->arrived;
$t->edit_page($book->{pages}[1], "another line\nthird line");
$t->settled('the same title');
$t->at_most(3, $since, 'the same title');

# Numbered and named at once: those behind are renamed, not written.
$t->connect(1, page_title => '{n}. {title}');
$t->settled('numbers and titles');
is_deeply([ (titles($book))[ 0, 1 ] ], [ '1. In front', '2. The bold heading' ], 'numbers and titles');
@ids = map { $_->{id} } $t->blocks_of($book);
insert($book, 'Before');
$t->settled('numbers and titles move');
is_deeply([ (titles($book))[ 0 .. 2 ] ], [ '1. Before', '2. In front', '3. The bold heading' ], 'numbers and titles move');
is_deeply([ (map { $_->{id} } $t->blocks_of($book))[ 1 .. 6 ] ], \@ids, 'and nothing else');

foreach my $case (
	[ page_title => '  ', 'is not blank' ],
	[ page_title => '', 'is not blank' ],
	[ page_title => '{n}' x 80, 'at most 200 bytes' ],
	[ layout => 'tiny', '"full" or "compact"' ])
{
	my ($key, $value, $why) = @$case;
	eval { $t->connect(1, $key => $value) };
	like($@, qr/Field "$key" must .*\Q$why\E/, "$key \"$value\" is refused");
}

# ------------------------------------------------------ compact

# The paragraph of a page is its title and its text.
sub expected
{
	my ($n, $text) = @_;
	return "📄 Page $n" . ($text eq '' ? '' : "\n$text");
}

sub says
{
	my ($name, $pages, @texts) = @_;
	my $n = 0;
	my $is = join("\n--\n", titles($pages));
	return is($is, join("\n--\n", map { expected(++$n, $_) } @texts), "$name: what the page says");
}

my @pages = map { "# Page $_\n\n- [ ] one\n- [x] two **bold**\n\nlast line of $_" } 1 .. 30;
$t->add_user(2);
my $before = made(2);
my $compact = $t->add_notebook(2, 'Compact', \@pages);
$t->connect(2, layout => 'compact');
$t->settled('compact');
says('compact', $compact, @pages);
is(made(2) - $before, 31, 'a page is one block, and so is that of the notebook');
my ($first) = $t->blocks_of($compact);
is($first->{type}, 'paragraph', 'a paragraph');
like($first->{href}, qr{^https://rmirror\.io/n/\Q$compact->{uuid}\E/p/[0-9a-f-]+\?rm=[0-9a-f]{12}$}, 'with our marker');
is(scalar(grep { $_->{text} ne '' } $t->blocks_of($compact)), 0, 'and nothing in it');

@ids = map { $_->{id} } $t->blocks_of($compact);
$since = $t->arrived;
$t->edit_page($compact->{pages}[6], $pages[6] = 'edited');
$t->settled('edited');
$t->at_most(2, $since, 'edited');
says('edited', $compact, @pages);
$t->edit_page($compact->{pages}[7], $pages[7] = '');
$t->settled('no text');
insert($compact, 'in front');
unshift @pages, 'in front';
$t->settled('in front');
says('in front', $compact, @pages);
is_deeply([ (map { $_->{id} } $t->blocks_of($compact))[ 1 .. 30 ] ], \@ids, 'all are the same blocks');
is(made(2) - $before, 32, 'and one is new');

# Answers that are lost: nothing is there twice.
foreach my $fault (qw(commit_close close_before_read commit_503 reject_503 truncated_json commit_503_guidance))
{
	$t->notion({ fault => $fault, times => 1, match => { user => 'user2', method => 'PATCH', path => '^/v1/blocks/[^/]+(/children)?$' } });
	$t->edit_page($compact->{pages}[3], $pages[4] = "text with $fault");
	push @{ $compact->{pages} }, $t->sql("SELECT test.add_page($compact->{id}, " . (@pages + 1) . ", 'new with $fault')");
	push @pages, "new with $fault";
	$t->settled($fault);
	says($fault, $compact, @pages);
	$t->notion({ cmd => 'clear' });
}

# A text that no paragraph can hold is a toggle, and whole.
my $long = join("\n\n", map { "paragraph $_ " . 'word ' x 400 } 1 .. 110);
$t->edit_page($compact->{pages}[0], $long);
$t->settled('a long text');
my $toggle = ($t->blocks_of($compact))[1];
is($toggle->{type}, 'toggle', 'a long text is a toggle');
is(length($toggle->{text} =~ s/\s+//gr), length($long =~ s/\s+//gr), 'with all of it');
is(($t->blocks_of($compact))[2]{id}, $ids[1], 'in its place');
my $longer = $long =~ s/paragraph 50 /another 50 /r;
$since = $t->arrived;
$t->edit_page($compact->{pages}[0], $longer);
$t->settled('a long text is edited');
$t->at_most(4, $since, 'a long text is edited');
is(($t->blocks_of($compact))[1]{id}, $toggle->{id}, 'a long text is edited in place');
$t->edit_page($compact->{pages}[0], $pages[1] = 'short again');
$t->settled('short again');
says('short again', $compact, @pages);

# The paragraph is thrown away: it comes back.
$t->notion({ cmd => 'trash', id => ($t->blocks_of($compact))[2]{id} });
$t->edit_page($compact->{pages}[1], $pages[2] = 'thrown away and back');
$t->settled('thrown away');
says('thrown away', $compact, @pages);

# ------------------------------------------------------ from one layout to the other

my $page = $t->page_of($compact)->{id};
my $link = ($t->blocks_of($compact))[3]{href};
my $own = $t->notion({ cmd => 'user_block', parent => $page, position => 'end', block => { paragraph => {
				rich_text => [ { text => { content => 'see there', link => { url => $link } } } ] } } })->{id};
$t->connect(2, layout => 'full');
$t->settled('full');
$t->expect_text($_, ($_ =~ s/^# //mr =~ s/^- \[.\] //mgr =~ s/\*\*//gr =~ s/\n+/\n/gr)) foreach @pages;
is(join("\n--\n", map { "$_->{title}: $_->{text}" } grep { $_->{type} eq 'toggle' } $t->blocks_of($compact)),
	join("\n--\n", map { '📄 Page ' . ($_ + 1) . ': ' . $t->expected_text($pages[$_]) } 0 .. $#pages), 'full: one toggle per page');
is($t->page_of($compact)->{id}, $page, 'it is the same page');
is(join(' ', map { $_->{id} } grep { $_->{type} eq 'paragraph' } $t->blocks_of($compact)), $own, 'no paragraph but mine is left');
$t->connect(2, layout => 'compact');
$t->settled('compact again');
is(join("\n--\n", map { $_->{title} } grep { $_->{id} ne $own } $t->blocks_of($compact)),
	join("\n--\n", map { expected($_ + 1, $pages[$_]) } 0 .. $#pages), 'compact again');
ok((grep { $_->{id} eq $own } $t->blocks_of($compact)), 'mine is still there');

# ------------------------------------------------------ the limit

$t->add_user(3);
$t->notion({ cmd => 'set', user => 'user3', block_limit => 45 });
my $limited = $t->add_notebook(3, 'Limited', [ @pages[ 8 .. 27 ] ]);
$t->connect(3);
wait_for($t->node, "SELECT state, state_reason ~ 'compact' FROM rmsync.integration_configs WHERE user_id = 3",
	'quota|t', 'no more blocks: the lane stops');
is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = 3 AND kind = 'quota_exceeded' AND message ~ '\"layout\": \"compact\"'"),
	'1', 'and the user is told of the compact layout');
$t->connect(3, layout => 'compact');
$t->settled('within the limit', user => 3);
says('within the limit', $limited, @pages[ 8 .. 27 ]);
$t->notion({ cmd => 'set', user => 'user3', block_limit => 1 });
$t->sql("SELECT test.add_page($limited->{id}, 21, 'one too many')");
wait_for($t->node, "SELECT state, state_reason ~ 'compact' FROM rmsync.integration_configs WHERE user_id = 3",
	'quota|f', 'compact already: the lane stops');
$t->notion({ cmd => 'set', user => 'user3', block_limit => 1000 });
$t->sql("SELECT rmsync_enable(3, 'notion')");
$t->settled('another plan', user => 3);
is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

$t->stop;
done_testing();
