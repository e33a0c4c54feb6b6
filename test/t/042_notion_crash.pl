# Crashes at random moments, while answers are lost at random: in the end
# every page is at Notion once, with its text, in its place.
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
}

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
	my $what = int(rand(10));

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
is($t->sql("SELECT count(*) FROM rmsync.sync_queue WHERE status = 'failed'"), '0', 'nothing has failed') or $ok = 0;
diag("seed $seed") unless $ok;

# And it goes on as if nothing had been.
$t->notion({ cmd => 'clear' });
change() foreach 1 .. 3;
$t->settled('afterwards');
$t->equal('afterwards') or diag("seed $seed");
note(sprintf('%.0f s in all', time - $start));

$t->stop;
done_testing();
