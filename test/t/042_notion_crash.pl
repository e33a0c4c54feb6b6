# Crashes at random moments, while answers are lost at random: in the end
# every page is at Notion once, with its text, in its place, and every to-do has
# one row.  And crashes at the worst moments, one by one.
#
# RMSYNC_TEST_SEED repeats a run's changes and choices (not the moments).
# Slow: twenty crashes.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(time);

my $rounds = 20;
my $seed = $ENV{RMSYNC_TEST_SEED} // int(rand(1_000_000));
srand($seed);
note("seed $seed");

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0, '--query-lag', 0.2, '--seed', $seed ],
	conf => {
		'restart_after_crash' => 'on',
		'fsync' => 'on',
		'rmsync.http_timeout' => '1500ms' });
my $node = $t->node;

# 300 pages of six users in twelve notebooks: the rate limit is per user.
my @users = (1 .. 6);
$t->add_users(\@users);
my @books;
foreach my $n (1 .. 12)
{
	my $user = 1 + $n % 6;
	push @books,
	  $t->add_notebook($user, "Notebook $n",
		[ map { "# Page $_\n\n- [ ] one\n- [x] two\n\ntext $_ of notebook $n" } 1 .. 25 ]);
	$t->sql("SELECT test.add_todo(id, 'to-do of page ' || id) FROM pages WHERE notebook_id = $books[-1]{id} AND id % 3 = 0");
}
$t->add_todo_database($_) foreach @users;

# One in five answers to a write that must happen once is lost in some way,
# and one in twenty-five of all others.
my $adds = { method => [ 'POST', 'PATCH' ], path => '(/v1/pages|/children)$' };
$t->notion(
	{ cmd => 'latency', seconds => 0.005, jitter => 0.04 },
	(map { { fault => $_, match => $adds, probability => 0.025 } }
		qw(commit_close commit_reset commit_503 commit_hang close_before_read close truncated_json reject_503)),
	{ fault => 'commit_503_guidance', match => $adds, probability => 0.03 },
	{ fault => 'commit_close', probability => 0.02 },
	{ fault => 'reject_503', probability => 0.02 });

sub some
{
	my ($n, @of) = @_;
	return map { splice(@of, int(rand(@of)), 1) } 1 .. $n;
}

my $version = 0;

# What a writer might do, at random.
sub change
{
	my ($book) = some(1, @books);
	my $pages = $book->{pages};
	my $what = int(rand(13));

	if ($what < 6)
	{
		my $list = join(',', some(1 + int(rand(8)), @$pages));
		$version++;
		$t->sql("UPDATE pages SET ocr_text = 'version $version of page ' || id WHERE id IN ($list)");
	}
	elsif ($what == 6)
	{
		my $page = $t->sql("SELECT test.add_page($book->{id}, " . (1000 + ++$version) . ", 'added as number $version')");
		splice(@$pages, int(rand(@$pages + 1)), 0, $page);
		$t->arrange($book, @$pages);
	}
	elsif ($what == 7)
	{
		splice(@$pages, int(rand(@$pages)), 1);
		$t->arrange($book, @$pages);
	}
	elsif ($what == 8)
	{
		my ($page) = splice(@$pages, int(rand(@$pages)), 1);
		splice(@$pages, int(rand(@$pages + 1)), 0, $page);
		$t->arrange($book, @$pages);
	}
	elsif ($what == 9)
	{
		$t->sql("SELECT test.add_todo($pages->[0], 'to-do of version " . ++$version . "')");
	}
	elsif ($what == 10)
	{
		$t->sql("UPDATE todos SET completed = NOT completed WHERE notebook_id = $book->{id} AND id % 3 = " . int(rand(3)));
	}
	elsif ($what == 11)
	{
		$t->sql("DELETE FROM todos WHERE id = (SELECT min(id) FROM todos WHERE notebook_id = $book->{id})");
	}
	else
	{
		$version++;
		$t->sql("UPDATE notebooks SET visible_name = 'Notebook, name $version' WHERE id = $book->{id}");
	}
	return;
}

# Waits until some more requests have come in: a moment in the middle of work.
sub in_the_middle
{
	my ($since, $count) = @_;
	my $deadline = time + 10;

	while (time < $deadline)
	{
		return 1 if $t->arrivals(since => $since) >= $count;
	}
	return 0;
}

# Until all have noticed: another worker is there.  While the server is away,
# psql may end before it was asked.
sub back
{
	my ($worker, $name) = @_;
	return wait_until(
		sub {
			my $out = '';
			eval {
				$node->psql('postgres',
					"SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'rmsync worker' AND pid <> $worker",
					stdout => \$out);
			};
			return $out eq 't';
		},
		$name);
}

my ($killed, $stopped, $late) = (0, 0, 0);
my $start = time;

$t->connect(\@users);
$t->connect_todos($_) foreach @users;
foreach my $round (1 .. $rounds)
{
	my $since = $t->arrived;
	change() foreach 1 .. ($round == 1 ? 0 : 3);
	my ($worker) = worker_pids($node);
	in_the_middle($since, 1 + int(rand(6))) or $late++;
	if ($round % 4 != 0 && $worker && signal_worker('KILL', $worker))
	{
		$killed++;
		back($worker, "crash $round: the server is back");
	}
	else
	{
		$node->stop('immediate');
		$node->start;
		$stopped++;
	}
}
note(sprintf('%d workers killed, %d servers stopped in %.0f s, %d requests', $killed, $stopped, time - $start, $t->arrived));
is($killed + $stopped, $rounds, "$rounds crashes");
cmp_ok($late, '<', $rounds / 4, 'most of them in the middle of work');

my $ok = $t->settled('after the crashes');
my %hits;
$hits{ $_->{fault} } += $_->{hits} foreach @{ $t->fake->get('/_rules')->{rules} };
note('answers lost: ' . join(', ', map { "$hits{$_} $_" } sort keys %hits));
cmp_ok(eval { my $n = 0; $n += $_ foreach values %hits; $n }, '>', 10, 'answers were lost');
$ok = $t->equal('after the crashes') && $ok;
$ok = $t->rows_equal("after the crashes, user $_", $_, links => 1) && $ok foreach @users;
cmp_ok($t->no_blind_resend('after the crashes', $t->arrivals), '>', 10, 'outcomes were unknown');
is($t->sql("SELECT count(*) FROM rmsync.sync_queue WHERE status = 'failed'"), '0', 'nothing has failed') or $ok = 0;
diag("seed $seed") unless $ok;

# And it goes on as if nothing had been.
$t->notion({ cmd => 'clear' });
change() foreach 1 .. 3;
$t->settled('afterwards');
$t->equal('afterwards') or diag("seed $seed");
$t->rows_equal("afterwards, user $_", $_, links => 1) or diag("seed $seed") foreach @users;
note(sprintf('%.0f s in all', time - $start));

# ------------------------------------------- in the middle of one request

# A worker is killed while its request hangs, before and after it was carried
# out: what becomes of a row or a page that is being created, changed, deleted.
# What is done stays done, what is not is done, and nothing is there twice.
$t->notion({ cmd => 'latency', seconds => 0, jitter => 0 });
my $one = $books[0];
my %first = (
	row => "SELECT test.add_todo($one->{pages}[0], 'killed \$n')",
	tick => "UPDATE todos SET completed = NOT completed WHERE id = (SELECT max(id) FROM todos WHERE notebook_id = $one->{id})",
	gone => "DELETE FROM todos WHERE id = (SELECT max(id) FROM todos WHERE notebook_id = $one->{id})",
	notebook => "SELECT test.add_notebook($one->{user}, 'cccccccc-0000-4000-8000-00000000000\$n', 'Killed \$n')",
	page => "SELECT test.add_page($one->{id}, 2000 + \$n, 'killed \$n')",
	edit => "UPDATE pages SET ocr_text = ocr_text || E'\\n\\nkilled \$n' WHERE id = $one->{pages}[1]");
my %request = (
	row => [ 'POST', '^/v1/pages$' ],
	tick => [ 'PATCH', '^/v1/pages/' ],
	gone => [ 'PATCH', '^/v1/pages/' ],
	notebook => [ 'POST', '^/v1/pages$' ],
	page => [ 'PATCH', '/children$' ],
	edit => [ 'PATCH', '/children$' ]);
my $n = 0;
foreach my $case (qw(row/hang row/commit_hang tick/commit_hang gone/commit_hang notebook/hang page/commit_hang edit/hang))
{
	my ($what, $fault) = split m{/}, $case;
	my $name = "$what, $fault";
	my $since = $t->arrived;
	my ($worker) = worker_pids($node);

	$n++;
	$t->notion({ fault => $fault, times => 1, seconds => 60,
			match => { method => $request{$what}[0], path => $request{$what}[1], user => "user$one->{user}" } });
	$t->sql($first{$what} =~ s/\$n/$n/gr);
	wait_until(sub { $t->fake->get('/_rules')->{rules}[0]{hits} }, "$name: the request hangs");
	signal_worker('KILL', $worker);
	back($worker, "$name: the server is back");
	$t->notion({ cmd => 'clear' });
	$t->settled($name);
	$t->equal($name, $one->{user});
	$t->rows_equal($name, $one->{user}, links => 1);
	$t->no_blind_resend($name, $t->arrivals(since => $since));
}

$t->stop;
done_testing();
