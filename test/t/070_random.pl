# Random lives of notebooks, see RmsyncRandom.pm: whatever the host, the user,
# Notion and the processes do, in the end Notion says what the source says.
#
# test/run lives through twenty of them; "test/soak" through more, or one again.
# Slow: twenty lives.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncRandom;
use RmsyncTest;
use Test::More;
use Time::HiRes qw(time);

my $seeds = $ENV{RMSYNC_SOAK_SEEDS} // 20;
my $from = $ENV{RMSYNC_SOAK_FROM} // 1;
my $steps = $ENV{RMSYNC_SOAK_STEPS} // 200;

# So many live side by side: more lanes at once, and less waiting in all.
my $side_by_side = 20;

my $t = RmsyncRandom->new;
my $start = time;
my @seeds = $from .. $from + $seeds - 1;
my @failed;
push @failed, $t->live($steps, splice(@seeds, 0, $side_by_side)) while @seeds;

note(sprintf('%d seeds in %.0f s, %d requests', $seeds, time - $start, $t->arrived));
diag('seeds that failed: ' . join(' ', @failed)) if @failed;
# Few lives have nothing to keep; many without were an empty test.
cmp_ok($t->kept, '>', 0, 'comments and blocks of users were to be kept') if $seeds >= 5;
log_lacks($t->node, qr/TRAP:|PANIC:|was terminated by signal (?!9:)/, 0, 'no process has fallen over');

$t->close_psql;
$t->stop;
done_testing();
