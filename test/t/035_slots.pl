# Slots for requests: one receiver that never answers does not take them all.
use strict;
use warnings;

use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncLive;
use RmsyncTest;
use Test::More;

my $hook = RmsyncFake->start('hook.py', '--secret', $secret);
my $node = live_node(conf => { 'rmsync.max_in_flight' => 8, 'rmsync.http_timeout' => '100s' });
my @book = (undef);

sub sql
{
	return $node->safe_psql('postgres', @_);
}

sub add_pages
{
	my ($user, $from, $to) = @_;
	return sql("SELECT count(test.add_page($book[$user], n, 'page ' || n)) FROM generate_series($from, $to) n");
}

foreach my $user (1 .. 3)
{
	connect_user($node, $hook, $user, types => ['page_text'], max_in_flight => 64);
	push @book, sql("SELECT test.add_notebook($user, 'n$user', 'Notebook $user')");
}
settle($node);
rule($hook, 1, '/hang');
add_pages(1, 1, 20);
wait_until(sub { events($hook, 1) >= 6 }, 'a receiver takes what it may have');
wait_for($node, 'SELECT sum(in_flight) FROM rmsync.stat_worker', 6, 'three quarters of the slots');
add_pages(2, 1, 10);
add_pages(3, 1, 10);
settle($node, 2, 'others are served meanwhile');
settle($node, 3, 'all of them');
is(scalar(events($hook, 1)), 6, 'it has no more than before');

$node->stop('immediate');
done_testing();
