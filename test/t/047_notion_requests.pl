# What it costs at Notion: requests per change, measured, next to the least
# possible.  README.md shows the table that this prints.
#
# Every case has a user, and so a rate limit, of its own: all of them live side
# by side, and a case of a hundred requests holds up no other.
# Slow: a connection for each case.
use strict;
use warnings;
use utf8;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ]);
my $user = 0;
my @cases;

# A page of twelve blocks.
sub text
{
	my ($n, $line) = @_;
	return join("\n\n", "# Page $n", (map { "- [ ] task $_ of page $n" } 1 .. 3), (map { "paragraph $_ of page $n" } 1 .. 7),
		$line // "last line of page $n");
}

sub nested
{
	return text($_[0], "- a line\n  - one level\n    - two levels");
}

# A case: what it is called, how many requests it may take and how many are the
# least possible, how many pages there are before, the connection's
# configuration, and what is done.  Without the latter it is the first sync.
sub add_case
{
	my ($name, $limit, $least, $pages, $config, $change, %more) = @_;
	push @cases,
	  { name => $name, limit => $limit, least => $least, pages => $pages, config => $config, change => $change, %more, user => ++$user };
	return;
}

my %plain = (page_title => '{title}');

# The least: a page with its first toggles cannot be made in one request that
# can be found again, and an append takes 1000 blocks; 13 are one page.
add_case('first sync of 1 page', 6, 2, 1, {});
add_case('first sync of 20 pages', 6, 2, 20, {});
add_case('first sync of 100 pages', 7, 3, 100, {});
add_case('first sync of 1000 pages', 20, 16, 1000, {});
add_case('edit one line of one page of 100', 3, 2, 100, {},
	sub { my ($c) = @_; $t->edit_page($c->{book}{pages}[49], text(50, 'another last line')) });
add_case('add three lines to a page', 3, 2, 10, {},
	sub { my ($c) = @_; $t->edit_page($c->{book}{pages}[4], text(5, "last line of page 5\n\none\n\ntwo\n\nthree")) });

# Page n, with other words in four of its lines.
sub words
{
	my ($c, $n) = @_;
	return $t->edit_page($c->{book}{pages}[ $n - 1 ], text($n) =~ s/^paragraph ([1357])/words $1/gmr);
}
add_case('edit four lines of one page of 100', 6, 3, 100, {}, sub { words($_[0], 50) });
add_case('edit four lines of one page of 100, with `fewest_requests`', 3, 3, 100, { edits => 'fewest_requests' }, sub { words($_[0], 50) });
add_case('edit four lines of each of 30 pages', 32, 32, 30, {},
	sub { my ($c) = @_; $t->sql("UPDATE pages SET ocr_text = regexp_replace(ocr_text, '^paragraph ([1357])', 'words \\1', 'gn') WHERE notebook_id = $c->{book}{id}") });
add_case('edit a line two levels below another', 5, 2, 10, {}, sub {
	my ($c) = @_;
	$t->edit_page($c->{book}{pages}[4], nested(5) =~ s/two levels$/another line/r) }, text => \&nested);
add_case('edit everything in a page', 3, 3, 10, {},
	sub { my ($c) = @_; $t->edit_page($c->{book}{pages}[4], join("\n\n", map { "> other words $_" } 1 .. 12)) });
add_case('add a page behind 100', 2, 2, 100, {},
	sub { my ($c) = @_; $t->sql("SELECT test.add_page($c->{book}{id}, 101, '" . text(101) . "')") });

# Inserts a page in front of all others.
sub insert
{
	my ($c) = @_;
	$t->sql("BEGIN; UPDATE notebook_pages SET page_number = page_number + 1000 WHERE notebook_id = $c->{book}{id};
		UPDATE notebook_pages SET page_number = page_number - 999 WHERE notebook_id = $c->{book}{id};
		SELECT test.add_page($c->{book}{id}, 5000, '# The new one');
		UPDATE notebook_pages SET page_number = 1 WHERE notebook_id = $c->{book}{id} AND page_number = 5000; COMMIT");
	return;
}
add_case('insert a page in front of 100, titles with {n}', 102, 102, 100, {}, \&insert);
add_case('insert a page in front of 100, titles without', 2, 2, 100, \%plain, \&insert);
add_case('two neighbours of 100 change places, titles without {n}', 3, 3, 100, \%plain,
	sub { my ($c) = @_; my @p = @{ $c->{book}{pages} }; @p[ 20, 21 ] = @p[ 21, 20 ]; $t->arrange($c->{book}, @p) });
add_case('two of 100 change places, titles with {n}', 5, 5, 100, {},
	sub { my ($c) = @_; my @p = @{ $c->{book}{pages} }; @p[ 20, 70 ] = @p[ 70, 20 ]; $t->arrange($c->{book}, @p) });
add_case('remove the last page of 100', 2, 2, 100, {},
	sub { my ($c) = @_; my @p = @{ $c->{book}{pages} }; pop @p; $t->arrange($c->{book}, @p) });
add_case('remove a page in the middle, titles without {n}', 2, 2, 100, \%plain,
	sub { my ($c) = @_; my @p = @{ $c->{book}{pages} }; splice(@p, 50, 1); $t->arrange($c->{book}, @p) });
add_case('rename a notebook of 100 pages', 1, 1, 100, {},
	sub { my ($c) = @_; $t->sql("UPDATE notebooks SET visible_name = 'Renamed' WHERE id = $c->{book}{id}") });
add_case('delete a notebook of 100 pages', 1, 1, 100, {},
	sub { my ($c) = @_; $t->sql("UPDATE notebooks SET deleted = true WHERE id = $c->{book}{id}") });
add_case('tick one of 50 to-dos, as blocks', 1, 1, 3, { todos => 'blocks' }, sub { tick(@_) }, todos => 50);
add_case('tick a to-do, as a row of a database', 1, 1, 3, {}, sub { tick(@_) }, todos => 10, rows => 1);
add_case('nothing has changed', 0, 0, 100, {},
	sub { my ($c) = @_; $t->sql("UPDATE pages SET updated_at = now() WHERE notebook_id = $c->{book}{id}") });
add_case('first sync of 100 pages, compact', 6, 2, 100, { layout => 'compact' });
add_case('edit one page of 100, compact', 2, 2, 100, { layout => 'compact' },
	sub { my ($c) = @_; $t->edit_page($c->{book}{pages}[49], text(50, 'another last line')) });
add_case('insert a page in front of 100, compact, titles without {n}', 2, 2, 100, { layout => 'compact', %plain }, \&insert);

sub tick
{
	my ($c) = @_;
	$t->sql("UPDATE todos SET completed = true WHERE user_id = $c->{user} AND text = 'to-do 7'");
	return;
}

# All notebooks are there at once ...
my %of = map { $_->{user} => $_ } @cases;
$t->add_users([ sort { $a <=> $b } keys %of ]);
foreach my $case (@cases)
{
	$case->{book} = $t->add_notebook($case->{user}, $case->{name}, [ map { ($case->{text} // \&text)->($_) } 1 .. $case->{pages} ]);
	$t->sql("SELECT test.add_todo($case->{book}{pages}[0], 'to-do ' || i) FROM generate_series(1, $case->{todos}) i") if $case->{todos};
	if ($case->{rows})
	{
		my $made = $t->notion({ cmd => 'create_database', user => "user$case->{user}", preset => 'todos' });
		my $json = encode_json({ api_token => "ntn_user$case->{user}", database_id => $made->{id} });
		$t->sql("SELECT rmsync_connect($case->{user}, 'notion-todos', '$json')");
	}
	$t->connect($case->{user}, %{ $case->{config} });
}
$t->settled('first sync of all');

# ... and so are all changes.
my $since = $t->arrived;
$_->{change}->($_) foreach grep { $_->{change} } @cases;
$t->settled('all changes');

note(sprintf('%-62s %8s %5s', 'change', 'requests', 'least'));
foreach my $case (@cases)
{
	my @arrivals = $t->arrivals(user => "user$case->{user}", $case->{change} ? (since => $since) : ());
	$case->{used} = @arrivals;
	note(sprintf('%-62s %8d %5d   %s', $case->{name}, $case->{used}, $case->{least}, RmsyncNotion::summary(@arrivals)));
	ok($case->{used} <= $case->{limit}, "$case->{name}: at most $case->{limit} requests")
	  || diag("$case->{used}: " . RmsyncNotion::summary(@arrivals));
	ok($case->{used} >= $case->{least}, "$case->{name}: not fewer than possible");
}

# The page that is new arrives before the others get their numbers.
my ($numbered) = grep { $_->{name} =~ /in front of 100, titles with \{n\}/ } @cases;
like(($t->arrivals(user => "user$numbered->{user}", since => $since))[0]{path}, qr{/children$}, 'what is new goes first');

# What the README says of it.
my $readme = slurp_file(test_file('../README.md'));
foreach my $case (@cases)
{
	my $row = "| $case->{name} | $case->{used} | $case->{least} |";
	ok(index($readme, $row) >= 0, "README.md: $row");
}

# And all of it is right.  A title is checked by its number, where it has one.
foreach my $case (@cases)
{
	next if $case->{config}{page_title} || $case->{config}{layout};
	my @problems = $t->problems_of($case->{user});
	ok(!@problems, "$case->{name}: Notion equals the source") or diag($problems[0]);
}
is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

$t->stop;
done_testing();
