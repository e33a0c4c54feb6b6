# A page's toggle that is changed in place: what did not change is not touched,
# and what a reader has added stays, whatever happens on the way.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '3s' });

# What stands in the toggle of a notebook's n-th page.
sub lines
{
	my ($book, $n) = @_;
	my $toggle = (grep { $_->{type} eq 'toggle' } $t->blocks_of($book))[ $n // 0 ];
	my $dump = $t->fake->get("/_dump?user=user$book->{user}");
	my %block = map { $_->{id} => $_ } @{ $dump->{blocks} };

	return map { $block{$_} } @{ $block{ $toggle->{id} }{children} };
}

sub ids
{
	return join(' ', map { $_->{id} } @_);
}

# A change of the n-th page, the requests it takes, and that all is well.
# Answers what stands in the toggle before and after.
sub edit
{
	my ($name, $book, $n, $text, $limit, @expected) = @_;
	my @before = lines($book, $n);
	my $since = $t->arrived;

	$t->edit_page($book->{pages}[$n], $text);
	$t->settled($name, user => $book->{user});
	$t->at_most($limit, $since, $name) if defined $limit;
	$t->equal($name, $book->{user}) unless @expected;
	my @after = lines($book, $n);
	is(join("\n", map { $_->{text} } @after), join("\n", @expected), "$name: what the toggle says") if @expected;
	return (\@before, \@after);
}

# Ids in the order of both that were there before.
sub kept
{
	my ($before, $after) = @_;
	my %before = map { $_->{id} => 1 } @$before;
	return scalar grep { $before{ $_->{id} } } @$after;
}

sub in_place
{
	my ($name, $before, $after, $kept) = @_;
	return is(kept($before, $after), $kept, "$name: $kept blocks are still there");
}

$t->add_user(1);
my @text = ('# A title', 'first paragraph', '- [ ] buy milk', '- [x] buy bread', '- a bullet',
	'second paragraph with **bold** and a [link](https://example.org/x)', '> a quote', '---', '1. one', '2. two',
	'```' . "\n" . 'code' . "\n" . '```', 'last paragraph');

# Blocks of our texts stand apart from each other.
sub text_of
{
	return join("\n\n", @_);
}
my $said = "A title\nfirst paragraph\nbuy milk\nbuy bread\na bullet\nsecond paragraph with bold and a link\na quote\none\ntwo\ncode\nlast paragraph";
$t->expect_text(text_of(@text), $said);
my $book = $t->add_notebook(1, 'In place', [ text_of(@text), 'another page' ]);
$t->connect(1);
$t->settled('first sync');
$t->equal('first sync');
my ($toggle) = $t->blocks_of($book);
my @all = lines($book, 0);
is(scalar(@all), 12, 'twelve blocks');
$t->notion(map { { cmd => 'comment', id => $_->{id}, text => 'a comment' } } @all);

# One line, of every kind.
my @is = @text;
foreach my $case (
	[ 'a paragraph', 1, 'first paragraph, longer', 3, 12 ],
	[ 'a box is ticked', 2, '- [x] buy milk', 3, 12 ],
	[ 'a bullet', 4, '- another bullet', 3, 12 ],
	[ 'bold goes', 5, 'second paragraph with bold and a [link](https://example.org/x)', 3, 12 ],
	[ 'another link', 5, 'second paragraph with bold and a [link](https://example.org/y)', 3, 12 ],
	[ 'code', 10, '```' . "\n" . 'other code' . "\n" . '```', 3, 12 ],
	[ 'a heading', 0, '# Another title', 3, 12 ],
	[ 'a rule becomes a paragraph', 7, 'no rule', 4, 11 ],
	[ 'a paragraph becomes a heading', 1, '## first heading', 4, 11 ])
{
	my ($name, $line, $new, $limit, $kept) = @$case;
	$is[$line] = $new;
	my $said = RmsyncNotionJudge::lines_of(text_of(map { s/```\n//r } map { s/\n```//r } @is)) =~ s/\[link\]\(.*\)/link/r;
	$t->expect_text(text_of(@is), $said);
	in_place($name, edit($name, $book, 0, text_of(@is), $limit), $kept);
}
is(($t->blocks_of($book))[0]{id}, $toggle->{id}, 'it is still the same toggle');

# Lines come and go, in one request each.
sub says
{
	my (@lines) = @_;
	$t->expect_text(text_of(@lines),
		RmsyncNotionJudge::lines_of(text_of(map { s/```\n//r } map { s/\n```//r } @lines)) =~ s/\[link\]\(.*\)/link/r);
	return text_of(@lines);
}
splice(@is, 6, 0, 'new 1', 'new 2', 'new 3');
in_place('lines are inserted', edit('lines are inserted', $book, 0, says(@is), 3), 12);
unshift @is, 'the very first';
in_place('a line in front', edit('a line in front', $book, 0, says(@is), 3), 15);
push @is, 'the very last';
in_place('a line at the end', edit('a line at the end', $book, 0, says(@is), 3), 16);
splice(@is, 4, 1);
in_place('a line goes', edit('a line goes', $book, 0, says(@is), 3), 16);
splice(@is, 3, 2) and unshift @is, 'a line in front of it';
$is[-1] = 'now the last';
in_place('some of all', edit('some of all', $book, 0, says(@is), 6), 14);
@is[ 0, 1 ] = @is[ 1, 0 ];
in_place('two lines change places', edit('two lines change places', $book, 0, says(@is), 4), 14);
is(($t->blocks_of($book))[0]{id}, $toggle->{id}, 'it is still the same toggle');

# Back to nothing, and from there.
edit('all other words', $book, 0, says(map { "word $_" } 1 .. 12), 4);
isnt(($t->blocks_of($book))[0]{id}, $toggle->{id}, 'other words are a new toggle');
edit('no words', $book, 1, '', 3);
edit('words again', $book, 1, 'words again', 3);

# ------------------------------------------------------ the reader's own

my @words = map { "word $_" } 1 .. 12;
my @now = lines($book, 0);
my $mine = $t->notion({ cmd => 'user_block', parent => $t->page_of($book)->{id} && ($t->blocks_of($book))[0]{id},
		text => 'a line of mine', position => { after => $now[3]{id} } })->{id};
my $rule = $t->notion({ cmd => 'user_block', parent => ($t->blocks_of($book))[0]{id}, block => { divider => {} },
		position => 'start' })->{id};
$words[8] = 'word nine';
my ($before, $after) = edit('beside a line of mine', $book, 0, says(@words), 3,
	'', 'word 1', 'word 2', 'word 3', 'word 4', 'a line of mine', map { $words[$_] } 4 .. 11);
is(ids(@$after), ids(@$before), 'nothing but its text has changed');
splice(@words, 3, 2);
edit('around a line of mine', $book, 0, says(@words), 4,
	'', 'word 1', 'word 2', 'word 3', 'a line of mine', map { $words[$_] } 3 .. 9);
is((lines($book, 0))[4]{id}, $mine, 'it is mine still');
is((lines($book, 0))[0]{id}, $rule, 'and so is the rule');

# A tick of the reader's on a line that did not change stays; on one that did,
# the source has its way.
$t->add_user(2);
my $boxes = $t->add_notebook(2, 'Boxes', [ join("\n", map { "- [ ] box $_" } 1 .. 8) ]);
$t->connect(2);
$t->settled('boxes');
$t->notion(map { { cmd => 'check', id => (lines($boxes))[$_]{id}, checked => JSON::PP::true } } 2, 5);
($before, $after) = edit('beside a tick', $boxes, 0, join("\n", map { '- [ ] box ' . ($_ == 6 ? 'six' : $_) } 1 .. 8), 3);
is(ids(@$after), ids(@$before), 'all boxes are the same');
is(join('', map { $_->{content}{checked} ? 'x' : '.' } @$after), '..x.....', 'the tick stays, the changed box is as in the source');
$t->notion({ cmd => 'edit_text', id => $after->[3]{id}, text => 'a box of mine' },
	{ cmd => 'comment', id => $after->[3]{id}, text => 'why?' });
($before, $after) = edit('a rewritten line', $boxes, 0,
	join("\n", map { '- [ ] box ' . ($_ == 6 ? 'six' : $_ == 1 ? 'one' : $_) } 1 .. 8), 4);
is(ids(@$after), ids(@$before), 'the text is ours again, in the same block');
$t->notion({ cmd => 'trash', id => $after->[7]{id} });
($before, $after) = edit('a line the reader has deleted', $boxes, 0,
	join("\n", map { '- [ ] box ' . ($_ == 6 ? 'six' : $_ == 1 ? 'one' : $_ == 2 ? 'two' : $_) } 1 .. 8), 4);
in_place('a line the reader has deleted', $before, $after, 7);

# ------------------------------------------------------ below and beyond

$t->add_user(3);
my @deep = ("- top\n  - below\n    - deeper\n      - deepest", '- same', "- same\n  - child", '- end', map { "- item $_" } 1 .. 6);
my $nested = $t->add_notebook(3, 'Nested', [ join("\n", @deep) ]);
$t->connect(3);
$t->settled('nested');
$t->equal('nested', 3);
$deep[5] = '- item two';
in_place('beside what is nested', edit('beside what is nested', $nested, 0, join("\n", @deep), 3), 10);
$deep[2] = "- same\n  - another child";
in_place('a child changes', edit('a child changes', $nested, 0, join("\n", @deep), 4), 10);
$deep[0] = "- top, changed\n  - below\n    - deeper\n      - deepest";
in_place('a parent changes', edit('a parent changes', $nested, 0, join("\n", @deep), 3), 10);
$deep[0] = "- top, changed\n  - below\n    - deeper\n      - deepest of all";
in_place('a deep change', edit('a deep change', $nested, 0, join("\n", @deep), 6), 10);
$deep[1] = "- same\n  - a\n    - new\n      - line\n        - too deep for one request";
in_place('too deep an append is a new toggle', edit('too deep an append', $nested, 0, join("\n", @deep)), 0);

# More lines than one answer lists.
my @long = map { "line $_" } 1 .. 230;
my $long = $t->add_notebook(3, 'Long', [ text_of(@long) ]);
$t->settled('long');
$long[211] = 'a line far below';
in_place('a long page', edit('a long page', $long, 0, text_of(@long), 5), 230);

# A new number and a new text.
my $numbers = $t->add_notebook(3, 'Numbers', [ text_of(map { "one $_" } 1 .. 5), text_of(map { "two $_" } 1 .. 5) ]);
$t->settled('numbers');
my @first = lines($numbers, 0);
my $since = $t->arrived;
$t->sql("BEGIN; UPDATE notebook_pages SET page_number = page_number + 4 WHERE notebook_id = $numbers->{id};
	SELECT test.complete_page($numbers->{pages}[0], 'one' || E'\\n\\n' || '" . text_of(map { "one $_" } 2 .. 5) . "'); COMMIT");
$t->settled('number and text');
$t->equal('number and text', 3);
in_place('number and text', \@first, [ lines($numbers, 0) ], 5);
is(($t->blocks_of($numbers))[0]{title}, '📄 Page 5', 'and its number is right');

# A preview shows the same requests.
$t->sql("SELECT rmsync_disable(3, 'notion')");
$t->edit_page($numbers->{pages}[1], text_of('two 1', 'two two', 'and a half', map { "two $_" } 3 .. 5));
is($t->sql("SELECT string_agg(method || ' ' || regexp_replace(url, '.*/v1/([a-z]+)/[^/?]+', '\\1'), ', ' ORDER BY step)
	FROM rmsync_preview('notion', 3)"),
	'GET blocks/children, PATCH blocks, PATCH blocks/children, PATCH pages', 'a preview shows an edit in place');
$since = $t->arrived;
$t->sql("SELECT rmsync_enable(3, 'notion')");
$t->settled('as previewed');
is(join(', ', map { $_->{method} } $t->arrivals(since => $since)), 'GET, PATCH, PATCH, PATCH', 'and that is what is sent');
$t->equal('as previewed', 3);

# ------------------------------------------------------ what cannot be done in place

# Written by an older version, which recorded nothing of the blocks.
$t->sql("UPDATE rmsync.sync_records SET metadata_json = metadata_json - 'prints' WHERE item_id IN
	(SELECT page_uuid FROM pages WHERE id = $long->{pages}[0])");
$long[3] = 'a line far above';
in_place('an older entry', edit('an older entry', $long, 0, text_of(@long)), 0);
$long[4] = 'and one below';
in_place('and from then on', edit('and from then on', $long, 0, text_of(@long), 5), 230);

# By command, everything is written anew.
my @was = lines($long);
$t->sql("SELECT rmsync_trigger('notion', notebook_uuids => ARRAY['$long->{uuid}'], user_id => 3, force => true)");
$t->settled('by force');
is(kept(\@was, [ lines($long) ]), 0, 'by force: it is written anew');

foreach my $purge (0, 1)
{
	my $id = ($t->blocks_of($long))[0]{id};
	$t->notion({ cmd => 'trash', id => $id });
	$t->notion({ cmd => 'purge', id => $id }) if $purge;
	$long[5] = "the toggle is gone ($purge)";
	$t->edit_page($long->{pages}[0], text_of(@long));
	$t->settled("the toggle is gone ($purge)");
	$t->equal("the toggle is gone ($purge)", 3);
}

# ------------------------------------------------------ half way

# An edit that stops after its first write, in many versions: whatever the
# source says then, that is what the toggle says in the end.
my $user = 10;
my @half = map { "line $_" } 1 .. 14;
my @changed = @half;
$changed[1] = 'line two';
splice(@changed, 6, 0, 'line six and a half');
splice(@changed, 9, 1);
my @third = @changed;
$third[3] = 'line four';

foreach my $stop (0, 1, 2)
{
	foreach my $then ('goes on', 'back', 'another', 'all others')
	{
		my $name = "stopped after $stop writes, then $then";
		my $n = ++$user;
		$t->add_user($n);
		my $b = $t->add_notebook($n, 'Half way', [ text_of(@half) ]);
		$t->connect($n);
		$t->settled($name, user => $n);
		my @lines = lines($b);
		my $own = $t->notion({ cmd => 'user_block', parent => ($t->blocks_of($b))[0]{id}, text => 'mine', position => { after => $lines[4]{id} } })->{id};
		$t->notion({ fault => '403', after => $stop, match => { user => "user$n", method => [ 'PATCH', 'DELETE' ], path => '^/v1/blocks/' } });
		$t->edit_page($b->{pages}[0], text_of(@changed));
		wait_for($t->node, "SELECT state FROM rmsync.integration_configs WHERE user_id = $n", 'held', "$name: held");
		$t->notion({ cmd => 'clear' });
		my @wanted = $then eq 'back' ? @half : $then eq 'another' ? @third : $then eq 'goes on' ? @changed : map { "else $_" } 1 .. 8;
		$t->edit_page($b->{pages}[0], text_of(@wanted));
		$t->sql("SELECT rmsync_enable($n, 'notion')");
		$t->settled($name, user => $n);
		my @end = lines($b);
		is(join("\n", map { $_->{text} } grep { $_->{id} ne $own } @end), join("\n", @wanted), "$name: it says what the source says");
		next if $then eq 'all others';
		is(kept(\@lines, \@end), $then eq 'back' ? 14 : 13, "$name: what did not change is still there");
		ok((grep { $_->{id} eq $own } @end), "$name: and so is mine");
	}
}

# Somebody else is at work in the same toggle: a block that is to be changed is
# gone when the request comes.
$t->add_user(50);
my $busy = $t->add_notebook(50, 'Busy', [ text_of(@half) ]);
$t->connect(50);
$t->settled('busy');
my @lines = lines($busy);
$t->notion({ fault => 'rate_429', retry_after => 1, times => 1, match => { user => 'user50', method => 'PATCH', path => '^/v1/blocks/' } });
$since = $t->arrived;
$t->edit_page($busy->{pages}[0], text_of(@changed));
wait_until(sub { grep { ($_->{status} // 0) == 429 } $t->arrivals(since => $since) }, 'an edit is under way');
$t->notion({ cmd => 'trash', id => $lines[1]{id} }, { cmd => 'trash', id => $lines[5]{id} });
$t->settled('busy');
$t->equal('busy', 50);
# ------------------------------------------------------ answers that are lost

# What was to be added in place is there once, whatever was heard of it.
$t->add_user(90);
my $lost = $t->add_notebook(90, 'Lost answers', [ text_of(map { "line $_" } 1 .. 9) ]);
$t->connect(90);
$t->settled('lost answers', user => 90);
my @says = map { "line $_" } 1 .. 9;
foreach my $fault (qw(commit_close close_before_read commit_hang commit_503 truncated_json reject_503))
{
	$since = $t->arrived;
	$t->notion({ fault => $fault, times => 1, match => { user => 'user90', method => 'PATCH', path => '/children$' } });
	splice(@says, 4, 0, "new with $fault", 'and more');
	in_place($fault, edit($fault, $lost, 0, text_of(@says)), @says - 2);
	is($t->no_blind_resend($fault, $t->arrivals(since => $since)), 1, "$fault: the outcome was unknown");
	$t->notion({ cmd => 'clear' });
}

is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

# ------------------------------------------------------ the cheapest way

# The lines of page n of a notebook, with some of them changed.
my %version;

sub page_text
{
	my ($book, $n, @changed) = @_;
	my $lines = $version{ $book->{id} }[$n] //= [ map { "line $_ of $n" } 1 .. 12 ];

	$lines->[$_] .= '.' foreach @changed;
	return text_of(@$lines);
}

# Changes lines of pages, [page, line, ...] each, in one transaction.  Answers on
# which pages the toggle is the same as before.
sub change
{
	my ($name, $book, $limit, @changes) = @_;
	my @before = $t->blocks_of($book);
	my $since = $t->arrived;

	$t->sql(join(";\n", 'BEGIN', (map { my ($n, @lines) = @$_;
				"SELECT test.complete_page($book->{pages}[$n], " . RmsyncNotion::quote(page_text($book, $n, @lines)) . ')' } @changes), 'COMMIT'));
	$t->settled($name, user => $book->{user});
	$t->at_most($limit, $since, $name);
	$t->equal($name, $book->{user});
	my @after = $t->blocks_of($book);
	return join(' ', grep { $before[$_]{id} eq $after[$_]{id} } map { $_->[0] } @changes);
}

$t->add_user(60);
my $cheap = { user => 60, id => 'cheap' };
$cheap = { %{ $t->add_notebook(60, 'Cheap', [ map { page_text($cheap, $_) } 0 .. 7 ]) } };
$version{ $cheap->{id} } = delete $version{cheap};
$t->connect(60, edits => 'fewest_requests');
$t->settled('cheap');
is(change('one line', $cheap, 3, [ 2, 5 ]), '2', 'one line costs the same: in place');
is(change('two lines', $cheap, 3, [ 2, 4, 9 ]), '', 'two lines are cheaper with a new toggle');
is(change('lines that stand together, and come', $cheap, 3, [ 3, 4, 5, 6 ]), '', 'three lines, too');
is(change('neighbours', $cheap, 4, [ 3, 1 ], [ 4, 1 ]), '', 'neighbours come with one append');
is(change('apart', $cheap, 5, [ 1, 1 ], [ 6, 1 ]), '1 6', 'others do not');
$version{ $cheap->{id} }[5] = [ '- one', "  - two", '- three', map { "- line $_" } 1 .. 6 ];
change('nested lines come', $cheap, 3, [ 5, 0 ]);
is(change('a nested line', $cheap, 3, [ 5, 1 ]), '', 'a nested line takes another list');
$since = $t->arrived;
$t->connect(60, edits => 'in_place');
$t->settled('another way');
is(scalar($t->arrivals(since => $since)), 0, 'another way of editing changes nothing');
is(change('in place again', $cheap, 7, [ 2, 1, 3, 5, 7 ]), '2', 'and is used from then on');

# ------------------------------------------------------ many pages at once

$t->add_user(61);
my $many = { user => 61, id => 'many' };
$many = { %{ $t->add_notebook(61, 'Many', [ map { page_text($many, $_) } 0 .. 11 ]) } };
$version{ $many->{id} } = delete $version{many};
$t->connect(61);
$t->settled('many');
is(change('ten pages', $many, 51, map { [ $_, 1, 3, 5, 7 ] } 0 .. 9), join(' ', 0 .. 9), 'ten pages with four lines each: in place');
is(change('twelve pages, two lines', $many, 37, map { [ $_, 1, 5 ] } 0 .. 11), join(' ', 0 .. 11), 'twelve pages with two lines each: in place');
is(change('twelve pages, most of them four lines', $many, 17, (map { [ $_, 1, 3, 5, 7 ] } 0 .. 5, 7 .. 11), [ 6, 2 ]),
	'6', 'twelve pages: only that with few changes in place');

$t->stop;
done_testing();
