# The user in front of Notion, in the random lives of RmsyncRandom.pm.
package RmsyncRandomUser;

use strict;
use warnings;
use utf8;

use JSON::PP;

# A comment on every toggle and on every block in one, now that nothing is under
# way: whether it is there later shows whether the block was kept.
sub add_comments
{
	my ($self) = @_;

	$self->{comments} = [];
	foreach my $user (@{ $self->{mine} })
	{
		my %book = map { ("$user:notebook:$_->{uuid}" => $_) } $self->live_books($user);
		foreach my $at ($self->pages($user, lines => 1, shallow => 1))
		{
			my $book = $book{ $at->{marker} } or next;
			my %page = map { $_->{uuid} => $_ } @{ $book->{pages} };
			foreach my $toggle (@{ $at->{blocks} })
			{
				my ($uuid) = ($toggle->{href} // '') =~ m{/p/([^/?]+)\?rm=};
				my $page = $page{ $uuid // '' } or next;
				next if $self->{restored}{ $at->{id} } || $self->{restored}{ $toggle->{id} };
				my @lines = grep { $_->[0] == 0 && !$_->[5] } @{ $toggle->{lines} };
				push @{ $self->{comments} },
				  { id => $toggle->{id}, lines => [ map { $_->[4] } @lines ], book => $book->{uuid}, lost => $book->{lost},
					page => $uuid, touched => $page->{touched}, changed => $page->{lines} // 0, text => $page->{text} };
			}
		}
	}
	my @ids = map { ($_->{id}, @{ $_->{lines} }) } @{ $self->{comments} };
	$self->{kept}{made} += @ids;
	$self->notion(map { { cmd => 'comment', id => $_, text => 'a comment' } } @ids) if @ids;
	return;
}

# A book that is at Notion: the model's, and the stand-in's page.
sub book_there
{
	my ($self) = @_;
	my $user = $self->one_of(@{ $self->{mine} });
	my %of = map { ("$user:notebook:$_->{uuid}" => $_) } $self->live_books($user);
	my $page = $self->one_of(grep { $of{ $_->{marker} } } $self->pages($user, shallow => 1));

	return $page ? ($of{ $page->{marker} }, $page) : ();
}

# A toggle of ours in it, and the model's page.
sub toggle_there
{
	my ($self) = @_;
	my ($book, $page) = $self->book_there;
	my $n = $self->dice(1000);

	return unless $book;
	my %of = map { $_->{uuid} => $_ } @{ $book->{pages} };
	my @toggles =
	  grep { ($_->{href} // '') =~ m{/p/([^/?]+)\?rm=} && ($_->{page} = $of{$1}) } @{ $page->{blocks} };
	return unless @toggles;
	my $toggle = $toggles[ $n % @toggles ];
	return ($book, $page, $toggle, $toggle->{page});
}

# A highlight or to-do of ours, of a type if one is named.
sub note_there
{
	my ($self, $type) = @_;
	my ($book, $page) = $self->book_there;
	my $n = $self->dice(1000);

	return unless $book;
	my @notes = grep { ($_->{href} // '') =~ m{/[ht]/[^/?]+\?rm=} && (!$type || $_->{type} eq $type) } @{ $page->{blocks} };
	return unless @notes;
	return ($book, $notes[ $n % @notes ]);
}

# A row of a to-do.
sub row_there
{
	my ($self) = @_;
	my $user = $self->one_of(grep { $self->{rows}{$_} } @{ $self->{mine} });
	my $n = $self->dice(1000);

	return unless defined $user;
	my @rows = map { @$_ } values %{ $self->todo_rows($user) };
	@rows = sort { $a->{id} cmp $b->{id} } @rows;
	return @rows ? ($user, $rows[ $n % @rows ]) : ();
}

# A page is lost, until it is found in this way.  One that nobody knows, as what was
# made late, is no notebook's page when it comes back.
sub lose_page
{
	my ($self, $how, $book, $id) = @_;

	$self->{lost_pages}{$id} = [ $how, $book->{uuid}, @$book{qw(lost left)} ];
	$self->{restored}{$id} = 1 unless $self->sql("SELECT count(*) FROM rmsync.sync_records WHERE external_id = '$id'");
	return;
}

# A page that was lost is there again.
sub find_page
{
	my ($self, $id) = @_;
	my ($how, $uuid, $lost, $left) = @{ delete $self->{lost_pages}{$id} };

	$self->notion({ cmd => $how, id => $id });
	my ($book) = grep { $_->{uuid} eq $uuid } $self->live_books;
	# Nobody waited for it, or its notebook was deleted meanwhile; or a toggle that
	# has moved to another notebook is in there still: see "Known to be missing".
	$self->{restored}{$id} = 1
	  unless $book && $self->{stop}{ $book->{user} } && $book->{lost} == $lost && $book->{left} == $left;
	return;
}

# All are: nothing has to wait any longer.
sub find_pages
{
	my ($self) = @_;
	my $list = join(',', @{ $self->{mine} });

	$self->find_page($_) foreach sort keys %{ $self->{lost_pages} };
	$self->sql("SELECT count(rmsync_retry(id)) FROM rmsync.sync_queue WHERE user_id IN ($list) AND error_code = 'page_lost'");
	return;
}

my %user = (
	trash_page => [ 2, sub {
		my ($self) = @_;
		my ($book, $page) = $self->book_there;
		return unless $book;
		$self->notion({ cmd => 'trash', id => $page->{id} });
		if ($self->{stop}{ $book->{user} })
		{
			$self->lose_page('restore', $book, $page->{id});
			return "trashes the page of $book->{name}, which has to wait";
		}
		$book->{dirty} = 1;
		$book->{lost}++;
		push @{ $self->{trashed} }, $page->{id};
		return "trashes the page of $book->{name}";
	} ],
	trash_toggle => [ 5, sub {
		my ($self) = @_;
		my ($book, undef, $toggle, $page) = $self->toggle_there;
		return unless $book;
		$self->notion({ cmd => 'trash', id => $toggle->{id} });
		$book->{dirty} = 1;
		$page->{touched}++;
		push @{ $self->{trashed} }, $toggle->{id};
		return "trashes the toggle of page $page->{uuid} of $book->{name}";
	} ],
	restore => [ 4, sub {
		my ($self) = @_;
		my $id = shift @{ $self->{trashed} };
		return unless defined $id;
		# what was in a page that is purged has gone with it
		eval { $self->notion({ cmd => 'restore', id => $id }) } or return;
		$self->{restored}{$id} = 1;
		return "restores $id";
	} ],
	# it was in the trash, and is gone from there, too
	purge => [ 2, sub {
		my ($self) = @_;
		my $id = shift @{ $self->{trashed} };
		return unless defined $id;
		eval { $self->notion({ cmd => 'purge', id => $id }) } or return;
		return "purges $id";
	} ],
	unshare => [ 2, sub {
		my ($self) = @_;
		my ($book, $page) = $self->book_there;
		return unless $book && !$self->{lost_pages}{ $page->{id} };
		$self->notion({ cmd => 'unshare', id => $page->{id} });
		$self->lose_page('share', $book, $page->{id});
		unless ($self->{stop}{ $book->{user} })
		{
			$book->{lost}++;
			$book->{dirty} = 1;
		}
		return "no longer shares the page of $book->{name}";
	} ],
	share => [ 3, sub {
		my ($self) = @_;
		my $id = $self->one_of(sort keys %{ $self->{lost_pages} });
		return unless defined $id;
		my $how = $self->{lost_pages}{$id}[0];
		$self->find_page($id);
		return "finds $id: $how";
	} ],
	second_source => [ 1, sub {
		my ($self) = @_;
		my $user = $self->one_of(@{ $self->{mine} });
		return if $self->{second}{$user}++;
		$self->notion({ cmd => 'add_data_source', database => $self->{users}{$user}{database}, title => 'Archive' });
		return "adds a data source to the database of user $user";
	} ],
	duplicate => [ 3, sub {
		my ($self) = @_;
		my ($book, $page, $toggle) = $self->toggle_there;
		return unless $book;
		my $what = $self->chance(75) ? $toggle : $page;
		my $twin = $self->notion({ cmd => 'duplicate', id => $what->{id} })->{id};
		$self->{restored}{$twin} = 1;
		$self->{copies}{$twin} = 1 if $what == $toggle;
		return "duplicates $what->{id} in $book->{name}";
	} ],
	trash_row => [ 2, sub {
		my ($self) = @_;
		my ($user, $row) = $self->row_there;
		return unless $row;
		$self->notion({ cmd => 'trash', id => $row->{id} });
		push @{ $self->{trashed} }, $row->{id};
		$self->{dirty_rows}{$user} = 1;
		return "trashes the row \"$row->{title}\" of user $user";
	} ],
	tick_row => [ 3, sub {
		my ($self) = @_;
		my ($user, $row) = $self->row_there;
		return unless $row;
		$self->notion({ cmd => 'check', id => $row->{id}, property => 'Completed',
				checked => $row->{properties}{Completed} ? JSON::PP::false : JSON::PP::true });
		$self->{dirty_rows}{$user} = 1 unless $self->{two_way}{"$user, notion-todos"};
		return "ticks or unticks the row \"$row->{title}\" of user $user";
	} ],
	edit_row => [ 1, sub {
		my ($self) = @_;
		my ($user, $row) = $self->row_there;
		return unless $row;
		$self->notion({ cmd => 'edit_text', id => $row->{id}, text => 'a to-do of mine' });
		$self->{dirty_rows}{$user} = 1;
		return "rewrites the row \"$row->{title}\" of user $user";
	} ],
	edit_title => [ 3, sub {
		my ($self) = @_;
		my ($book, undef, $toggle, $page) = $self->toggle_there;
		return unless $book;
		my $keep = $self->chance(60);
		$self->notion({ cmd => 'edit_text', id => $toggle->{id}, text => 'a title of mine',
				keep_link => $keep ? JSON::PP::true : JSON::PP::false });
		$book->{dirty} = 1;
		return "writes another title for page $page->{uuid} of $book->{name}" . ($keep ? '' : ', without the link');
	} ],
	edit_text => [ 3, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { !$_[0]{blank} && ($_[0]{text} // '') =~ /^text \d+$/ });
		return unless $book;
		my ($id) = @{ $self->notion({ cmd => 'find', text => $page->{text}, user => "user$book->{user}" })->{ids} };
		return unless $id;
		$self->notion({ cmd => 'edit_text', id => $id, text => 'words of mine' });
		$book->{dirty} = 1;
		return "edits the text of page $page->{uuid} of $book->{name}";
	} ],
	own_rule => [ 5, sub {
		my ($self) = @_;
		my ($book, undef, $toggle, $page) = $self->toggle_there;
		return unless $book;
		my $where = $self->one_of('start', 'end');
		$self->notion({ cmd => 'user_block', parent => $toggle->{id}, block => { divider => {} }, position => $where });
		return "draws a line in page $page->{uuid} of $book->{name}";
	} ],
	own_below => [ 5, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { !$_[0]{blank} && ($_[0]{text} // '') =~ /^- nest/ });
		return unless $book;
		my ($text) = $self->one_of(split /\n/, $page->{text}) =~ /- (.*)/;
		my ($id) = @{ $self->notion({ cmd => 'find', text => $text, user => "user$book->{user}" })->{ids} };
		return unless $id;
		eval { $self->notion({ cmd => 'user_block', parent => $id, block => { divider => {} }, position => $self->one_of('start', 'end') }) }
		  or return;
		return "draws a line below \"$text\" of $book->{name}";
	} ],
	tick_line => [ 4, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { !$_[0]{blank} && ($_[0]{text} // '') =~ /- \[/ });
		return unless $book;
		my ($text) = $page->{text} =~ /^- \[.\] (.*)/m or return;
		my ($id) = @{ $self->notion({ cmd => 'find', text => $text, user => "user$book->{user}" })->{ids} };
		return unless $id;
		eval { $self->notion({ cmd => 'check', id => $id, checked => $self->chance(50) ? JSON::PP::true : JSON::PP::false }) } or return;
		$book->{dirty} = 1;
		return "ticks \"$text\" of $book->{name}";
	} ],
	own_block => [ 6, sub {
		my ($self) = @_;
		my ($book, $page) = $self->book_there;
		my $where = $self->dice(3);
		return unless $book;
		my $text = 'own block ' . $self->fresh . '.';
		my $at = $where == 0 || !@{ $page->{own} } ? 'start' : $where == 1 ? 'end'
		  : { after => $page->{own}[ $#{ $page->{own} } / 2 ]{id} };
		$self->notion({ cmd => 'user_block', parent => $page->{id}, text => $text, position => $at });
		push @{ $self->{own} }, { text => $text, on => $page->{id}, book => $book->{uuid}, lost => $book->{lost} };
		return "adds \"$text\" to $book->{name}";
	} ],
	trash_note => [ 3, sub {
		my ($self) = @_;
		my ($book, $note) = $self->note_there;
		return unless $book;
		$self->notion({ cmd => 'trash', id => $note->{id} });
		$book->{dirty} = 1;
		push @{ $self->{trashed} }, $note->{id};
		return "trashes \"$note->{title}\" of $book->{name}";
	} ],
	tick_note => [ 3, sub {
		my ($self) = @_;
		my ($book, $note) = $self->note_there('to_do');
		return unless $book;
		$self->notion({ cmd => 'check', id => $note->{id},
				checked => $note->{checked} ? JSON::PP::false : JSON::PP::true });
		$book->{dirty} = 1 unless $self->{two_way}{"$book->{user}, notion"};
		return "ticks or unticks \"$note->{title}\" of $book->{name}";
	} ],
	rename_column => [ 1.5, sub {
		my ($self) = @_;
		my $user = $self->one_of(@{ $self->{mine} });
		my $column = $self->one_of(sort keys %{ $self->{columns}{$user} });
		return unless defined $column;
		my $name = "My column " . $self->fresh;
		delete $self->{columns}{$user}{$column};
		$self->{columns}{$user}{$name} = 1;
		$self->notion({ cmd => 'rename_column', data_source => $self->{users}{$user}{source}, column => $column, name => $name });
		return "renames column $column of user $user";
	} ],
	delete_column => [ 1, sub {
		my ($self) = @_;
		my $user = $self->one_of(@{ $self->{mine} });
		my $column = $self->one_of('rmirror ID', grep { $_ ne 'Name' } sort keys %{ $self->{columns}{$user} });
		eval { $self->notion({ cmd => 'delete_column', data_source => $self->{users}{$user}{source}, column => $column }) }
		  or return;
		delete $self->{columns}{$user}{$column};
		if ($column eq 'rmirror ID')
		{
			$_->{dirty} = 1 foreach grep { $_->{user} == $user } @{ $self->{books} };
		}
		return "deletes column $column of user $user";
	} ]);

sub user_step
{
	my ($self) = @_;
	my $what = $self->weighted(map { $_ => $user{$_}[0] } keys %user);
	my $told = $user{$what}[1]->($self);

	return defined $told ? "in Notion, a user $told" : 'nothing';
}

1;
