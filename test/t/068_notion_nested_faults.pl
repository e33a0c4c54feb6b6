# An edit of nested blocks that stops half way, or whose answers are lost, at
# every request of it: in the end the toggle says what the source says, nothing
# is there twice, and what did not change is what it was.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	conf => { 'rmsync.http_timeout' => '30s', 'restart_after_crash' => 'on', 'fsync' => 'on' });
my $node = $t->node;

my $filler = join("\n\n", map { "line $_" } 1 .. 16);
my $first = "- alpha\n  - a1\n  - a2\n  - a3\n- beta\n  - b1\n    - b11\n    - b12\n- gamma\n  - g1\n- delta\n- same\n  - s1\n- same\n  - s2\n\n$filler";
# Two patches and two appends below, a deletion, a new child, and a parent whose
# text changes together with what is below.
my $second = "- alpha two\n  - a1\n  - a two\n  - a3\n  - a4\n    - a41\n- beta\n  - b1\n    - b11\n    - b twelve\n    - b13\n- gamma\n- delta\n  - d1\n- same\n  - s1\n- same\n  - s2\n\n$filler";
my $third = $second =~ s/a41/a forty-one/r =~ s/b1$/b one/mr =~ s/d1/d one/r =~ s/s2/s two/r;
my $other = join("\n\n", map { "else $_" } 1 .. 8);
my $writes = 7;

sub outline
{
	my ($text) = @_;
	return join("\n", map { s/^(\s*)- /$1/r } grep { $_ ne '' } split /\n/, $text);
}

# What stands in the toggles of these users, by user: [{ id, says }].
sub trees
{
	my %block = map { $_->{id} => $_ } @{ $t->fake->get('/_dump')->{blocks} };
	my $below;

	$below = sub {
		my ($id, $depth) = @_;
		return map { ({ id => $_, text => $block{$_}{text}, says => ('  ' x $depth) . $block{$_}{text} }, $below->($_, $depth + 1)) }
		  @{ $block{$id}{children} };
	};
	my %trees;
	foreach my $page ($t->pages)
	{
		my ($user) = $page->{marker} =~ /^(\d+):/;
		my ($toggle) = grep { $_->{type} eq 'toggle' } @{ $page->{blocks} };
		$trees{$user} = [ $below->($toggle->{id}, 0) ];
	}
	return \%trees;
}

# A life for everything that may happen: each has a user of its own, and all go
# on at the same time.
my @lives;
my $user = 0;
foreach my $stop (0 .. $writes - 1)
{
	push @lives, { user => ++$user, name => "stopped after $stop writes, then $_->[0]", stop => $stop, then => $_->[1], goes => $_->[2] }
	  foreach [ 'goes on', $second, 1 ], [ 'back', $first, 1 ], [ 'another', $third, 1 ], [ 'all others', $other, 0 ];
}
foreach my $lost (0 .. $writes - 1)
{
	push @lives, { user => ++$user, name => "answer $lost: $_", fault => $_, after => $lost, then => $second, goes => 1 }
	  foreach qw(commit_close reject_503 commit_503_guidance truncated_json);
}
$t->add_users([ map { $_->{user} } @lives ]);
$_->{book} = $t->add_notebook($_->{user}, 'Half way', [$first]) foreach @lives;
$t->connect([ map { $_->{user} } @lives ], resolve_delays_ms => [50]);
$t->settled('first sync of all');
my $before = trees();
my %mine;
foreach my $life (@lives)
{
	my %id = map { $_->{text} => $_->{id} } @{ $before->{ $life->{user} } };
	$mine{ $life->{user} } = $t->notion(
		{ cmd => 'user_block', parent => $id{alpha}, text => 'mine', position => { after => $id{a2} } },
		{ cmd => 'user_block', parent => $id{gamma}, text => 'mine' },
		{ cmd => 'user_block', parent => $id{delta}, text => 'mine' });
}
my %match = (method => [ 'PATCH', 'DELETE' ], path => '^/v1/blocks/');
$t->notion(map { {
	fault => $_->{fault} // '403',
	after => $_->{stop} // $_->{after},
	match => { %match, user => "user$_->{user}" },
	defined $_->{fault} ? (times => 1) : () } } @lives);
my $since = $t->arrived;
$t->sql(join(";\n", 'BEGIN', (map { "SELECT test.complete_page($_->{book}{pages}[0], " . RmsyncNotion::quote($second) . ')' } @lives), 'COMMIT'));

my @stopped = grep { defined $_->{stop} } @lives;
wait_for($node, "SELECT count(*) FROM rmsync.integration_configs WHERE state = 'held'", scalar(@stopped), 'those that are to stop have stopped');
$t->notion({ cmd => 'clear' }) if wait_for($node, 'SELECT count(*) FROM rmsync.sync_queue WHERE user_id IN ('
	  . join(',', map { $_->{user} } grep { defined $_->{fault} } @lives) . ')', 0, 'and those that are not are done');
$t->sql(join(";\n", 'BEGIN', (map { "SELECT test.complete_page($_->{book}{pages}[0], " . RmsyncNotion::quote($_->{then}) . ')' } @stopped), 'COMMIT'));
$t->sql(join(";\n", map { "SELECT rmsync_enable($_->{user}, 'notion')" } @stopped));
$t->settled('all');

my $after = trees();
my %used;
$used{ $_->{fault} }++ foreach grep { $_->{fault} && $_->{path} =~ m{^/v1/blocks/} } $t->arrivals(since => $since);
foreach my $life (@lives)
{
	my @was = @{ $before->{ $life->{user} } };
	my @is = @{ $after->{ $life->{user} } };
	my %id = map { $_->{says} => $_->{id} } grep { $_->{text} ne 'same' } @is;
	my %there = map { $_->{id} => 1 } @is;
	my @same = grep { $_->{text} ne 'same' && defined $id{ $_->{says} } } @was;

	is(join("\n", map { $_->{says} } grep { $_->{text} ne 'mine' } @is), outline($life->{then}), "$life->{name}: it says what the source says");
	$t->no_blind_resend($life->{name}, $t->arrivals(since => $since, user => "user$life->{user}")) if $life->{fault};
	next unless $life->{goes};
	# A line that was deleted, or written over in another version, comes back as a new one.
	my @lost = grep { $id{ $_->{says} } ne $_->{id} } @same;
	is(join(', ', map { $_->{text} } grep { $life->{then} ne $first || $_->{text} ne 'g1' } @lost), '', "$life->{name}: what did not change is what it was");
	is(scalar(grep { !$there{ $_->{id} } } @{ $mine{ $life->{user} } }), 0, "$life->{name}: and what is mine is there");
}
# An append that was lost on its way may still come: before it is sent again, it
# is looked for twice.
my $resent = 0;
foreach my $life (grep { ($_->{fault} // '') eq 'reject_503' } @lives)
{
	my @arrivals = $t->arrivals(since => $since, user => "user$life->{user}");
	shift @arrivals while @arrivals && ($arrivals[0]{fault} // '') ne 'reject_503';
	my $lost = shift @arrivals;
	next unless $lost->{path} =~ m{^/v1/blocks/(.*)/children$};
	my ($place, $looks) = ($1, 0);
	foreach my $entry (@arrivals)
	{
		last if $entry->{method} eq 'PATCH' && $entry->{path} eq $lost->{path};
		$looks++ if $entry->{method} eq 'GET' && grep { $_ eq $place } $entry->{path} =~ m{/([^/]+)/children}, @{ $entry->{about} };
	}
	cmp_ok($looks, '>=', 2, "$life->{name}: it is looked for twice");
	$resent++;
}
cmp_ok($resent, '>=', 2, 'appends were lost, too');
is($used{$_} // 0, $writes, "$_: as often as it should have happened") foreach qw(commit_close reject_503 commit_503_guidance truncated_json);
is($used{403}, scalar(@stopped), '403: as often as it should have happened');

# ------------------------------------------------------ crashes

# The server dies while a request of such an edit is under way, at each of them.
$since = $t->arrived;
my @crash = map { $lives[ $_ * 4 ] } 0 .. $writes - 1;
my %was = map { ($_->{user} => $after->{ $_->{user} }) } @crash;
$t->notion(map { {
	fault => $_->{stop} % 2 ? 'commit_hang' : 'hang', seconds => 60, times => 1,
	after => $_->{stop},
	match => { %match, user => "user$_->{user}" } } } @crash);
my $fourth = $second =~ s/a41/a 41/r =~ s/^  - a3$/  - a three\n  - a 3 more\n    - below it/mr =~ s/b11$/b eleven/mr =~ s/^    - b13\n//mr =~ s/^  - d1$/  - d1\n  - d2/mr =~ s/^- delta$/- delta four/mr;
$t->sql(join(";\n", 'BEGIN', (map { "SELECT test.complete_page($_->{book}{pages}[0], " . RmsyncNotion::quote($fourth) . ')' } @crash), 'COMMIT'));
wait_until(sub { @crash == grep { ($_->{fault} // '') =~ /hang/ } $t->arrivals(since => $since) }, 'all are under way');
$node->stop('immediate');
$node->start;
$t->settled('after the crash');
$after = trees();
foreach my $life (@crash)
{
	my %id = map { $_->{says} => $_->{id} } grep { $_->{text} !~ /^(?:same|mine)$/ } @{ $after->{ $life->{user} } };
	is(join("\n", map { $_->{says} } grep { $_->{text} ne 'mine' } @{ $after->{ $life->{user} } }), outline($fourth),
		"a crash at write $life->{stop}: it says what the source says");
	is(scalar(grep { $_->{text} eq 'mine' } @{ $after->{ $life->{user} } }), 3, "a crash at write $life->{stop}: what is mine is there");
	is(join(', ', map { $_->{text} } grep { defined $id{ $_->{says} } && $id{ $_->{says} } ne $_->{id} } @{ $was{ $life->{user} } }), '',
		"a crash at write $life->{stop}: what did not change is what it was");
}
is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

$t->stop;
done_testing();
