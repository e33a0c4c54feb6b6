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

# ------------------------------------------------------------- budgets

$t->add_user(1);
my $book = $t->add_notebook(1, 'Hundred pages', [ map { page_text($_) } 1 .. 100 ]);
my $since = $t->arrived;
my $start = time;
$t->connect(1);
$t->settled('first sync');
my $took = time - $start;
note(sprintf('first sync took %.1f s', $took));
ok($took < 10, 'first sync of 100 pages takes less than 10 s');
$t->at_most(8, $since, 'first sync of 100 pages');
$t->equal('first sync');

$since = $t->arrived;
$t->edit_page($book->{pages}[49], page_text(50, 'second'));
$t->settled('edit of a page');
$t->at_most(3, $since, 'edit of a page');
$t->equal('edit of a page');

$t->stop;
done_testing();
