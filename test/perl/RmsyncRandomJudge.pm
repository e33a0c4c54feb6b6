# The judge of the random lives of RmsyncRandom.pm.
package RmsyncRandomJudge;

use strict;
use warnings;
use utf8;

use List::Util qw(first);
use Time::HiRes qw(time usleep);

use RmsyncShape qw(shape_of);

# Waits until all was looked for that may come late.
sub not_looked
{
	my ($self, $list) = @_;
	my $until = time + 60;

	while (1)
	{
		my $open = $self->sql("SELECT count(*) FROM rmsync.sync_records r JOIN rmsync.integration_configs c ON c.id = r.lane_id
			WHERE r.user_id IN ($list) AND r.look_at IS NOT NULL AND c.state = 'active'");
		$self->sql("CALL rmsync_wait('1 minute', $_)") foreach split /,/, $list;
		return if !$open;
		return "$open looks are left after a minute" if time > $until;
		usleep(50_000);
	}
}

# Waits until nothing can make progress by itself.
sub quiet
{
	my ($self) = @_;
	my @open;

	$self->find_pages;
	foreach my $user (@{ $self->{mine} })
	{
		push @open, "user $user: work is left after 3 minutes"
		  unless $self->sql("CALL rmsync_wait('3 minutes', $user)") eq 't';
	}
	my $list = join(',', @{ $self->{mine} });
	push @open, $self->not_looked($list);
	push @open, map { "user $_->{user_id}: $_->{state}, $_->{state_reason}" }
	  @{ $self->rows("SELECT * FROM rmsync.integration_configs WHERE user_id IN ($list) AND state <> 'active'") };
	# a look may be due at any moment, but does not stay
	my $queued;
	foreach (1 .. 600)
	{
		$queued = $self->rows("SELECT * FROM rmsync.sync_queue WHERE user_id IN ($list)");
		last unless grep { $_->{item_type} eq 'remote_poll' } @$queued;
		usleep(50_000);
	}
	push @open, map { "$_->{item_type} $_->{item_id} of user $_->{user_id}: $_->{status} $_->{error_code} $_->{error_message}" } @$queued;
	return @open;
}

# What a user took out of the trash after it was replaced, or after its item was
# deleted, is the user's: back with it, also what came along with its page.
sub undo_restores
{
	my ($self) = @_;
	my $list = join(',', @{ $self->{mine} });
	my %known = map { $_->{external_id} => 1 } @{
		$self->rows("SELECT external_id FROM rmsync.sync_records WHERE user_id IN ($list) AND external_id IS NOT NULL") };
	my @stray = grep { !$known{$_} } sort keys %{ $self->{restored} };

	foreach my $page (grep { $self->{restored}{ $_->{id} } && $known{ $_->{id} } } map { $self->pages($_, shallow => 1) } @{ $self->{mine} })
	{
		push @stray, map { $_->{id} }
		  grep { !$known{ $_->{id} } && ($_->{href} // '') =~ m{/[pht]/[^/?]+\?rm=} } @{ $page->{blocks} };
	}
	# some are gone for good
	foreach my $id (@stray)
	{
		eval { $self->notion({ cmd => 'trash', id => $id }) };
	}
	return;
}

# The blocks in a toggle, each with what is below it.
sub _blocks_of
{
	my ($text) = @_;
	my @blocks;

	foreach my $line (@{ shape_of($text) // return })
	{
		return unless defined $line->[2];
		push @blocks, '' if $line->[0] == 0;
		# a box is ticked where it is, but what is below a block is one with it
		$blocks[-1] .= join(' ', @$line[ 0 .. 2 ], $line->[0] > 0 ? $line->[3] // '' : '') . "\n";
	}
	return @blocks;
}

# Which blocks of a text must stay when one line of it changes: those before it
# and behind it, by number.
sub _stay
{
	my ($old, $new) = @_;
	my @old = _blocks_of($old);
	my @new = _blocks_of($new);
	my (%twice, %stay);
	my $n = 0;

	$twice{$_}++ foreach @old;
	$stay{ $n++ } = 1 while $n < @old && $n < @new && $old[$n] eq $new[$n];
	$n = 1;
	$stay{ @old - $n++ } = 1 while $n <= @old && $n <= @new && $old[-$n] eq $new[-$n];
	# A block with something below it is replaced by another one; if that answer is
	# lost, the two cannot be told apart, and the page is written anew.
	return if grep { !$stay{$_} && $old[$_] =~ /\n./ } 0 .. $#old;
	return (scalar(@old), grep { $twice{ $old[$_] } == 1 } sort keys %stay);
}

# What must still be there of a page: its toggle, if nobody had a reason to
# replace it; and in there all blocks, or those that did not change.
sub _must_stay
{
	my ($self, $comment, $page) = @_;
	my $changed = ($page->{lines} // 0) - $comment->{changed};

	return if $page->{touched} - $comment->{touched} != $changed || $changed > 1;
	return ($comment->{id}, @{ $comment->{lines} }) if $changed == 0;
	return if $self->{users}{ $self->{now} }{layout} eq 'compact';
	my ($count, @stay) = _stay($comment->{text}, $page->{text});
	return if ($count // -1) != @{ $comment->{lines} };
	$self->{kept}{lines} += @stay;
	return ($comment->{id}, @{ $comment->{lines} }[@stay]);
}

# Comments on blocks nobody had a reason to replace, and blocks of the user's.
sub losses
{
	my ($self, $forced) = @_;
	my %books = map { $_->{uuid} => $_ } @{ $self->{books} };
	# all blocks: a page has no marker while a user's deletion of the column is new
	my %there = map { $_ => 1 } map { @{ $self->fake->get("/_blocks?user=user$_") } } @{ $self->{mine} };
	my @lost;

	foreach my $comment (@{ $self->{comments} })
	{
		my $book = $books{ $comment->{book} };
		my $page = first { $_->{uuid} eq $comment->{page} } @{ $book->{pages} };
		next
		  if !$page
		  || $book->{deleted}
		  || $book->{gone}
		  || $book->{lost} != $comment->{lost}
		  || $book->{dirty} && $forced;
		local $self->{now} = $book->{user};
		my @stay = $self->_must_stay($comment, $page);
		$self->{kept}{comments} += @stay;
		my @gone = grep { !$there{$_} } @stay or next;
		push @lost, "page $page->{uuid} of $book->{name}, "
		  . ($page->{touched} == $comment->{touched} ? 'which was not touched' : 'of which a line was changed')
		  . ', has lost ' . scalar(@gone) . ' of ' . scalar(@stay) . ' comments' . ($gone[0] eq $comment->{id} ? ', that on its toggle, too' : '');
	}
	foreach my $block (@{ $self->{own} })
	{
		my $book = $books{ $block->{book} };
		next if $book->{deleted} || $book->{gone} || $book->{lost} != $block->{lost} || $self->{restored}{ $block->{on} };
		$self->{kept}{blocks}++;
		push @lost, "\"$block->{text}\" in $book->{name} is lost"
		  unless @{ $self->notion({ cmd => 'find', text => $block->{text} })->{ids} };
	}
	return @lost;
}

# Boxes are ticked as in the source.
sub wrong_boxes
{
	my ($self, $user) = @_;
	my %text = map { $_->{uuid} => $_ } map { @{ $_->{pages} } } $self->live_books($user);
	my $dump = $self->fake->get("/_dump?user=user$user");
	my %block = map { $_->{id} => $_ } @{ $dump->{blocks} };
	my @wrong;

	return if $self->{users}{$user}{layout} eq 'compact';
	foreach my $toggle (grep { ($_->{href} // '') =~ m{/p/[^/?]+\?rm=} } @{ $dump->{blocks} })
	{
		my ($uuid) = $toggle->{href} =~ m{/p/([^/?]+)\?rm=};
		my $page = $text{$uuid} or next;
		next if $page->{blank} || !defined $page->{text};
		my $is = '';
		my @open = @{ $toggle->{children} };
		while (my $block = $block{ shift @open // '' })
		{
			$is .= $block->{content}{checked} ? 'x' : ' ' if $block->{type} eq 'to_do';
			unshift @open, @{ $block->{children} };
		}
		my $should = join('', $page->{text} =~ /^ *- \[([ x])\]/mg);
		push @wrong, "page $uuid: boxes are \"$is\", not \"$should\"" if $is ne $should;
	}
	return @wrong;
}

# The host's tables must hold what the test believes it wrote.
sub beliefs
{
	my ($self) = @_;
	my @wrong;

	foreach my $book (map { @{ $self->source_of($_) } } @{ $self->{mine} })
	{
		my $mine = first { $_->{uuid} eq $book->{uuid} } $self->live_books;
		my $is = join(' ', map { "$_->{uuid} " . ($_->{ready} ? $_->{text} : '-') } @{ $book->{pages} });
		my $should = join(' ', map { "$_->{uuid} " . ($_->{blank} ? '-' : $_->{text} // '-') } @{ $mine->{pages} });
		push @wrong, "the test is wrong about $book->{name}: it holds $is, not $should"
		  if $is ne $should || $book->{name} ne $mine->{name};
	}
	return @wrong;
}

sub dirty
{
	my ($self) = @_;
	return grep { $_->{dirty} } @{ $self->{books} };
}

# What is wrong with a user's rows of to-dos; not before the end if the user has
# changed some.
sub row_problems
{
	my ($self, $user, $forced) = @_;
	return unless $self->{rows}{$user} && ($forced || !$self->{dirty_rows}{$user});
	return $self->todo_problems($user, links => 1, any_state => $self->{two_way}{"$user, notion-todos"});
}

# What is wrong in notebooks that must be right by themselves; what users have
# done to our objects in the others is made good from now on.
sub judge
{
	my ($self) = @_;
	my @mine = @{ $self->{mine} };
	my @dirty = $self->dirty;
	my @problems = ($self->quiet, $self->beliefs);

	return map { "not quiet: $_" } @problems if @problems;

	# a trigger reads ticks back, if that is wanted
	foreach my $lane (sort keys %{ $self->{two_way} })
	{
		my ($user, $target) = split /, /, $lane;
		$self->sql("SELECT rmsync_trigger('$target', user_id => $user)");
	}
	@problems = $self->quiet;
	return map { "not quiet after reading ticks: $_" } @problems if @problems;
	$self->undo_restores;
	$self->{unread} = { map { $_->{uuid} => 1 } grep { $_->{blank} || !defined $_->{text} }
		  map { @{ $_->{pages} } } $self->live_books };
	@problems = $self->losses;
	foreach my $problem (map { $self->problems_of($_), $self->row_problems($_) } @mine)
	{
		push @problems, $problem
		  unless grep { $problem =~ /notebook "\Q$_->{name}\E"|:notebook:$_->{uuid}/ } @dirty;
	}
	return map { "before the trigger: $_" } @problems if @problems;
	foreach my $user (@mine)
	{
		my $list = join(',', map { "'$_->{uuid}'" } grep { $_->{user} == $user } @dirty) or next;
		$self->sql("SELECT rmsync_trigger('notion', notebook_uuids => ARRAY[$list], user_id => $user, force => true)");
	}
	$self->sql("SELECT rmsync_trigger('notion-todos', user_id => $_, force => true)") foreach sort keys %{ $self->{dirty_rows} };
	return;
}

# ... and what is wrong when that has been done.
sub judge_all
{
	my ($self) = @_;
	my @problems = $self->quiet;

	return map { "not quiet after the trigger: $_" } @problems if @problems;
	$self->undo_restores;
	return ((map { $self->all_problems_of($_), $self->row_problems($_, 1), $self->wrong_boxes($_) } @{ $self->{mine} }), $self->losses(1));
}

1;
