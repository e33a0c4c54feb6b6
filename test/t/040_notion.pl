# Notebooks at Notion: how many requests a change costs, and that Notion says
# what the source says.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(time);

# The rate is the real one.
my $t = RmsyncNotion->new(fake => [ '--rate', 180, '--window', 60 ]);

# A page of twelve blocks.
sub page_text
{
	my ($n, $word) = @_;
	return join("\n\n",
		"# Page $n",
		"**Date: 01-02-2026**",
		(map { "- [ ] task $_ of page $n" } 1 .. 3),
		(map { "paragraph $_ of page $n, " . ($word // 'first') . ' version' } 1 .. 7));
}

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

# ------------------------------------------------------------- budgets

$t->add_user(1);
my $book = $t->add_notebook(1, 'Hundred pages', [ map { page_text($_) } 1 .. 100 ]);
my @pages = @{ $book->{pages} };
my $start = time;
my $took;
scenario('first sync of 100 pages', 8, sub { $t->connect(1); $t->settled('first sync'); $took = time - $start });
note(sprintf('first sync took %.1f s', $took));
ok($took < 10, 'first sync of 100 pages takes less than 10 s');

scenario('edit of a page', 3, sub { $t->edit_page($pages[49], page_text(50, 'second')) });
scenario('back to the first text', 3, sub { $t->edit_page($pages[49], page_text(50)) });
scenario('edit of the first page', 3, sub { $t->edit_page($pages[0], page_text(1, 'second')) });
scenario('edit of the last page', 3, sub { $t->edit_page($pages[-1], page_text(100, 'second')) });
scenario(
	'a touch without a change', 0,
	sub { $t->sql("UPDATE pages SET updated_at = now() WHERE notebook_id = $book->{id}") });
scenario(
	'an upload without a change', 0,
	sub { $t->arrange($book, @pages) });

# ------------------------------------------- one small notebook, all changes

$t->add_user(2);
my $small = $t->add_notebook(2, 'Diary', [ map { "entry $_" } 1 .. 6 ], path => 'Private, really/2026/Diary');
my @s = @{ $small->{pages} };
scenario('a second user', 7, sub { $t->connect(2) }, 2);
my $page = $t->page_of($small);
is($page->{properties}{Path}, 'Private, really/2026/Diary', 'the path is there');
is_deeply($page->{properties}{Tags}, [ 'Private; really', '2026' ], 'folders are tags, without commas');
is($page->{properties}{Pages}, 6, 'the number of pages is there');
is($page->{properties}{Status}, 'Synced', 'the status is there');
like(($t->blocks_of($small))[0]{href}, qr{^https://rmirror\.io/n/\Q$small->{uuid}\E/p/[0-9a-f-]+\?rm=[0-9a-f]{12}$},
	'toggles carry the marker');

my $new;
# When: Synced At is the time of the last write, Last Modified that of the host.
sub hours_ago
{
	my ($column) = @_;
	my $value = $t->page_of($small)->{properties}{$column} // '1970-01-01';
	return $t->sql("SELECT round(extract(epoch FROM now() - '$value'::timestamptz) / 3600)");
}
is(hours_ago('Synced At'), 0, 'Synced At is now');
$t->sql("UPDATE notebooks SET updated_at = (now() AT TIME ZONE 'UTC') - interval '3 days' WHERE id = $small->{id}");
my $synced = $t->page_of($small)->{properties}{'Synced At'};
scenario('renamed, with a date', 1,
	sub { $t->sql("UPDATE notebooks SET visible_name = 'Diary.', updated_at = (now() AT TIME ZONE 'UTC') - interval '3 days' WHERE id = $small->{id}") }, 2);
is(hours_ago('Last Modified'), 72, 'Last Modified is the date of the host');
cmp_ok($t->page_of($small)->{properties}{'Synced At'}, 'gt', $synced, 'Synced At has gone on');
$synced = $t->page_of($small)->{properties}{'Synced At'};
scenario('renamed, once more', 1,
	sub { $t->sql("UPDATE notebooks SET visible_name = 'Diary', updated_at = (now() AT TIME ZONE 'UTC') - interval '1 day' WHERE id = $small->{id}") }, 2);
is(hours_ago('Last Modified'), 24, 'Last Modified follows');
cmp_ok($t->page_of($small)->{properties}{'Synced At'}, 'gt', $synced, 'and Synced At');

scenario('a page is added', 2, sub { $new = $t->sql("SELECT test.add_page($small->{id}, 7, 'entry 7')") }, 2);
push @s, $new;
is($t->page_of($small)->{properties}{Pages}, 7, 'the number of pages follows');

scenario('a page is added without text', undef,
	sub { $new = $t->sql("SELECT test.add_page($small->{id}, 8)") }, 2);
push @s, $new;
scenario('its text comes', 2, sub { $t->edit_page($new, 'entry 8') }, 2);

scenario(
	'a page is inserted in front', undef,
	sub {
		$t->sql("UPDATE notebook_pages SET page_number = page_number + 1000 WHERE notebook_id = $small->{id}");
		$t->sql("SELECT test.add_page($small->{id}, 99, 'a new beginning')");
		$t->arrange($small, ($new = $t->sql("SELECT page_id FROM notebook_pages WHERE notebook_id = $small->{id} AND page_number = 99")), @s);
	},
	2);
unshift @s, $new;
scenario(
	'a page is inserted in the middle', undef,
	sub {
		$new = $t->sql("SELECT test.add_page($small->{id}, 98, 'something in between')");
		$t->arrange($small, @s[ 0 .. 3 ], $new, @s[ 4 .. $#s ]);
	},
	2);
splice(@s, 4, 0, $new);
scenario('the last page becomes the first', undef, sub { unshift @s, pop @s; $t->arrange($small, @s) }, 2);
scenario('two pages change places', undef, sub { @s[ 2, 5 ] = @s[ 5, 2 ]; $t->arrange($small, @s) }, 2);
scenario('all pages the other way round', undef, sub { @s = reverse @s; $t->arrange($small, @s) }, 2);
scenario(
	'a page moves and is edited', undef,
	sub {
		$t->node->safe_psql('postgres', "BEGIN; SELECT test.complete_page($s[1], 'moved and edited');
			SELECT test.upload_content('$small->{uuid}', ARRAY(SELECT p.page_uuid::text
				FROM unnest('{" . join(',', @s = (@s[ 0, 2 .. $#s ], $s[1])) . "}'::int[]) WITH ORDINALITY u (id, n)
				JOIN pages p ON p.id = u.id ORDER BY u.n)); COMMIT");
	},
	2);
scenario('a page leaves the notebook', undef, sub { splice(@s, 3, 1); $t->arrange($small, @s) }, 2);
scenario('a page is deleted', undef, sub { $t->sql("DELETE FROM pages WHERE id = $s[0]"); shift @s }, 2);
is($t->page_of($small)->{properties}{Pages}, scalar(@s), 'the number of pages follows');

# Quota: the text is gone, the page is not.
my @before = map { $_->{id} } $t->blocks_of($small);
scenario(
	'the quota blanks a page', 0,
	sub { $t->sql("UPDATE pages SET ocr_status = 'pending_quota', ocr_text = '' WHERE id = $s[2]") }, 2);
is_deeply([ map { $_->{id} } $t->blocks_of($small) ], \@before, 'its toggle is left alone');
scenario('its text comes back, changed', undef, sub { $t->edit_page($s[2], 'recognized again') }, 2);
scenario('a text that is empty', undef, sub { $t->edit_page($s[3], '') }, 2);

scenario('the notebook is renamed', 1,
	sub { $t->sql("UPDATE notebooks SET visible_name = 'Diary, 2nd', full_path = 'Private/Diary, 2nd' WHERE id = $small->{id}") }, 2);
is_deeply($t->page_of($small)->{properties}{Tags}, ['Private'], 'and its tags follow');

# A page moves to another notebook.
my $other = $t->add_notebook(2, 'Other', [ 'other 1', 'other 2' ]);
scenario('a second notebook', undef, sub { }, 2);
scenario(
	'a page moves to the other notebook', undef,
	sub {
		$t->sql("BEGIN; DELETE FROM notebook_pages WHERE page_id = $s[1];
			UPDATE pages SET notebook_id = $other->{id} WHERE id = $s[1];
			INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES ($other->{id}, $s[1], 3); COMMIT");
	},
	2);
is(scalar($t->blocks_of($other)), 3, 'it stands there');
scenario('and is edited there', undef, sub { $t->edit_page($s[1], 'edited at its new place') }, 2);
scenario(
	'and comes back', undef,
	sub {
		$t->sql("BEGIN; DELETE FROM notebook_pages WHERE page_id = $s[1];
			UPDATE pages SET notebook_id = $small->{id} WHERE id = $s[1];
			INSERT INTO notebook_pages (notebook_id, page_id, page_number) VALUES ($small->{id}, $s[1], 77); COMMIT");
	},
	2);

# Edits made while Notion is slow to append, and to change in place, are not lost.
foreach my $case ([ 'append', 'PATCH', '/children$', "slow words\n\n> all others" ], [ 'change', 'PATCH', '^/v1/blocks/[^/]+$', "slower words\n\n> all others" ])
{
	my ($name, $method, $path, $text) = @$case;
	my $before = $t->arrived;

	$t->notion({ fault => 'slow:1', times => 1, match => { user => 'user2', method => $method, path => $path } });
	$t->edit_page($s[0], $text);
	wait_until(sub { scalar grep { $_->{method} eq $method && $_->{path} =~ /$path/ } $t->arrivals(since => $before, user => 'user2') },
		"a slow $name is under way");
	$t->edit_page($s[0], "$text, edited meanwhile");
	$t->settled("a slow $name");
	$t->equal("edited while a $name is slow", 2);
	like((grep { $_->{text} =~ /^slow/ } $t->blocks_of($small))[0]{text}, qr/edited meanwhile$/, "a slow $name: what was written last is there");
	$t->notion({ cmd => 'clear' });
}

# Notebooks go.
scenario('a notebook is deleted softly', undef, sub { $t->sql("UPDATE notebooks SET deleted = true WHERE id = $other->{id}") }, 2);
is($t->page_of($other), undef, 'its page is in the trash');
scenario('and restored', undef, sub { $t->sql("UPDATE notebooks SET deleted = false WHERE id = $other->{id}") }, 2);
ok($t->page_of($other), 'and its page is back');
scenario('a notebook is deleted for good', undef, sub { $t->sql("SELECT test.delete_notebook('$other->{uuid}')") }, 2);
is($t->page_of($other), undef, 'its page is in the trash');

# -------------------------------------------------- newest first

$t->add_user(3);
my $newest = $t->add_notebook(3, 'Newest first', [ map { "note $_" } 1 .. 5 ]);
my @n = @{ $newest->{pages} };
scenario('newest first', undef, sub { $t->connect(3, page_order => 'newest_first') }, 3);
scenario('newest first: a page is added', 2, sub { push @n, $t->sql("SELECT test.add_page($newest->{id}, 6, 'note 6')") }, 3);
scenario('newest first: the newest is edited', 3, sub { $t->edit_page($n[5], 'note 6, longer') }, 3);
scenario('newest first: the oldest is edited', 3, sub { $t->edit_page($n[0], 'note 1, longer') }, 3);
scenario('newest first: another order', undef, sub { @n = @n[ 3, 0, 5, 1, 4, 2 ]; $t->arrange($newest, @n) }, 3);
scenario('the order is changed in the configuration', undef, sub { $t->connect(3) }, 3);

# --------------------------------------------- a database of the user's own

my $own = $t->add_user(4, preset => undef, title => 'Meine Notizen', properties => {
		'Titel' => { title => {} },
		'Path' => { number => { format => 'number' } },
		'Tags' => { multi_select => { options => [ { name => 'mine' } ] } },
		'Mood' => { select => { options => [ { name => 'good' }, { name => 'bad' } ] } } });
my $row = $t->notion({ cmd => 'create_row', data_source => $own->{source}, title => 'A row of my own',
		properties => { Mood => { select => { name => 'good' } } } })->{id};
my $mine = $t->add_notebook(4, 'Reise', [ "Tag 1", "Tag 2" ]);
scenario('the user\'s own database', undef, sub { $t->connect(4) }, 4);
my $dump = $t->fake->get('/_dump?user=user4');
my ($source) = grep { $_->{object} eq 'data_source' } @{ $dump->{databases} };
is($source->{schema}{'rmirror ID'}{type}, 'rich_text', 'the column of our marker was added');
is($source->{schema}{Pages}{type}, 'number', 'another missing column was added');
is($source->{schema}{Path}{type}, 'number', 'a column with our name and another type keeps it');
is($source->{schema}{Titel}{type}, 'title', 'the title column keeps its name');
is($t->page_of($mine)->{properties}{Path}, undef, 'and is not written to');
is($t->page_of($mine)->{properties}{Titel}, 'Reise', 'the title column is found by its type');
$t->notion(
	{ cmd => 'set_property', id => $t->page_of($mine)->{id}, property => 'Mood', value => { select => { name => 'bad' } } },
	{ cmd => 'rename_column', data_source => $own->{source}, column => 'Pages', name => 'Seiten' },
	{ cmd => 'user_block', parent => $t->page_of($mine)->{id}, text => 'a line of mine', position => 'start' });
scenario('columns are renamed', undef, sub { $t->sql("SELECT test.add_page($mine->{id}, 3, 'Tag 3')") }, 4);
is($t->page_of($mine)->{properties}{Seiten}, 3, 'a renamed column is filled');
is($t->page_of($mine)->{properties}{Mood}, 'bad', 'a foreign column is left alone');
is(($t->blocks_of($mine))[0]{title}, 'a line of mine', 'and so is a block of the user\'s');
$dump = $t->fake->get('/_dump?user=user4');
is_deeply([ map { $_->{properties}{Mood} } grep { $_->{id} eq $row } @{ $dump->{pages} } ], ['good'],
	'and a row of the user\'s');
$t->notion({ cmd => 'delete_column', data_source => $own->{source}, column => 'Seiten' });
scenario('a column is deleted', undef, sub { $t->sql("SELECT test.add_page($mine->{id}, 4, 'Tag 4')") }, 4);
ok(!exists $t->page_of($mine)->{properties}{Pages}, 'and stays deleted');
$t->notion({ cmd => 'delete_column', data_source => $own->{source}, column => 'rmirror ID' });
scenario('our marker\'s column is deleted', undef,
	sub { $t->sql("UPDATE notebooks SET visible_name = 'Reise nach Rom' WHERE id = $mine->{id}") }, 4);
ok(exists $t->page_of($mine)->{properties}{'rmirror ID'}, 'and comes back');

# Several data sources: which one?
my $two = $t->add_user(5);
my $second = $t->notion({ cmd => 'add_data_source', database => $two->{database} })->{id};
my $which = $t->add_notebook(5, 'Which', ['one']);
$t->connect(5);
wait_for($t->node, "SELECT state, state_reason ~ 'several data sources' FROM rmsync.integration_configs WHERE user_id = 5",
	'held|t', 'several data sources: held, with the reason');
is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = 5 AND kind = 'held'"), '1', 'and the user is told, once');
is($t->page_of($which), undef, 'and nothing was written');
$two->{source} = $second;
scenario('one of them is named', undef, sub { $t->connect(5, data_source_id => $second) }, 5);

# Nothing of this had anything to hide.
$t->equal('in the end');
is($t->sql("SELECT count(*) FROM rmsync.sync_queue"), '0', 'nothing is left in the queue');
is($t->fake->get('/_stats')->{rate_refusals}, 0, 'no request too many');

$t->stop;
done_testing();
