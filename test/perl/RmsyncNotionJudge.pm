# The judge of RmsyncNotion: what the source says against what Notion holds.
#
# It reads the host's own tables and the stand-in, and of rmsync's tables only
# whether the ledger knows what it did.  One live object per notebook, page, note
# and to-do, with our marker, in the right order; in each the words of the
# source, and the blocks that its Markdown asks for (RmsyncShape.pm).  What has
# failed for good is a problem like any other, unless a test expects it.
package RmsyncNotionJudge;

use strict;
use warnings;
use utf8;

use Encode qw(encode_utf8);
use Test::More;

use RmsyncShape qw(shape_problems text_of title_of);

# ----------------------------------------------------------- expectations

# What a reader sees of a Markdown text that uses nothing but headings, lists,
# boxes, quotes, rules and bold, line by line: for texts that RmsyncShape.pm does
# not know.  One that says more is given to expect_text() together with what it
# becomes.
sub lines_of
{
	my ($text) = @_;
	my @lines;

	foreach my $line (split /\n/, $text)
	{
		$line =~ s/^\s+//;
		next if $line eq '' || $line =~ /^-{3,}$/;
		$line =~ s/^(?:#{1,6}|>)\s+//;
		$line =~ s/^[-*+]\s+(?:\[[ xX]\]\s+)?//;
		$line =~ s/^\d+[.)]\s+//;
		$line =~ s/\*\*//g;
		push @lines, $line;
	}
	return join("\n", @lines);
}

# The judge shall expect this for a page's text.
sub expect_text
{
	my ($self, $text, $expected) = @_;
	$self->{plain}{ encode_utf8($text) } = $expected;
	return;
}

sub expected_text
{
	my ($self, $text) = @_;
	return $self->{plain}{ encode_utf8($text) } // text_of($text) // lines_of($text);
}

# These items fail for good, and what they say need not be at Notion.  Without
# items: none does any longer.
sub expect_failed
{
	my ($self, @items) = @_;
	$self->{may_fail} = { map { $_ => 1 } @items };
	return;
}

# What the host says of users' notebooks, from its own tables.
sub source_of
{
	my ($self, @users) = @_;
	my $list = join(',', @users);
	my $books = $self->rows(
		"SELECT n.user_id, n.id, n.notebook_uuid AS uuid, n.visible_name AS name
		FROM notebooks n WHERE n.user_id IN ($list) AND NOT n.deleted AND n.document_type <> 'folder' ORDER BY n.user_id, n.id");
	my $pages = $self->rows(
		"SELECT m.notebook_id, m.page_number AS number, p.page_uuid AS uuid, p.ocr_text AS text,
			p.ocr_status = 'completed' AND p.ocr_text IS NOT NULL AS ready
		FROM notebook_pages m JOIN pages p ON p.id = m.page_id JOIN notebooks n ON n.id = m.notebook_id
		WHERE n.user_id IN ($list) AND NOT n.deleted ORDER BY m.notebook_id, m.page_number");
	my %by_id = map { $_->{id} => $_ } @$books;

	my $highlights = $self->rows(
		"SELECT h.id, h.notebook_id, n.author, upper(nullif(h.source_type, 'rm')) AS source_type, h.original_text, h.corrected_text, h.note, p.page_uuid AS page, coalesce(m.page_number, h.page_number) AS number
		FROM highlights h JOIN notebooks n ON n.id = h.notebook_id LEFT JOIN pages p ON p.id = h.page_id
		LEFT JOIN notebook_pages m ON m.page_id = p.id AND m.notebook_id = n.id
		WHERE n.user_id IN ($list) AND NOT n.deleted ORDER BY number, h.id");
	my $todos = $self->rows(
		"SELECT t.id, t.notebook_id, t.text, t.completed FROM todos t JOIN notebooks n ON n.id = t.notebook_id
		WHERE n.user_id IN ($list) AND NOT n.deleted ORDER BY t.id");

	$_->{pages} = $_->{highlights} = $_->{todos} = undef foreach @$books;
	push @{ $by_id{ $_->{notebook_id} }{pages} }, $_ foreach @$pages;
	push @{ $by_id{ $_->{notebook_id} }{highlights} }, $_ foreach @$highlights;
	push @{ $by_id{ $_->{notebook_id} }{todos} }, $_ foreach @$todos;
	return $books;
}

# ----------------------------------------------------------- notebooks

# Is that the title of a page, under the user's pattern?
sub _is_title
{
	my ($at, $source, $is) = @_;
	my $pattern = $at->{page_title} // '📄 Page {n}';
	my $title = $pattern =~ /\{title\}/ ? title_of($source->{text}) : '';

	return 1 if !defined $title;
	my $should = $pattern =~ s/\{(n|title)\}/$1 eq 'n' ? $source->{number} : $title/ger;
	# long ones are cut where a word ends
	return 1 if length $title > 70 && $is =~ s/…$// && index($should, $is) == 0 && length $is > 40;
	return $is eq $should;
}

# A page that is one paragraph: title and text, as they are.
sub _compact_problems
{
	my ($at, $source, $block) = @_;
	my ($title, $text) = split /\n/, $block->{title}, 2;
	my $expected = $source->{text} =~ s/^\s+|\s+$//gr;

	return "is a $block->{type}" if $block->{type} ne 'paragraph';
	return "its title is \"$title\"" unless _is_title($at, $source, $title);
	return 'text differs' . _difference($expected, $text // '') if ($text // '') ne $expected;
	return 'there is something in it' if $block->{text} ne '';
	return;
}

# One page's block of ours against the page.
sub _toggle_problems
{
	my ($self, $at, $source, $block) = @_;
	my $expected = $self->expected_text($source->{text});

	# more than a paragraph can hold
	return _compact_problems($at, $source, $block)
	  if ($at->{layout} // '') eq 'compact' && ($block->{type} ne 'toggle' || length $source->{text} < 100_000);
	return "is a $block->{type}" if $block->{type} ne 'toggle';
	# a title that a user has rewritten is left alone
	return "its title is \"$block->{title}\""
	  unless _is_title($at, $source, $block->{title}) || $block->{edited_by_user} && !$self->{strict};
	return 'text differs' . _difference($expected, $block->{text}) if $block->{text} ne $expected;
	# what a user made in there is the user's, and so is a tick on a line that stays
	return shape_problems($source->{text}, [ grep { !$_->[5] } @{ $block->{lines} } ], !$self->{strict});
}

# The toggles of a page of Notion against the pages of a notebook.
sub page_problems
{
	my ($self, $book, $page, $at) = @_;
	my %toggles;
	my @order;
	my @problems;

	foreach my $block (@{ $page->{blocks} })
	{
		next unless ($block->{href} // '') =~ m{/n/([^/]+)/p/([^/?]+)\?rm=[0-9a-f]{12}$};
		if ($1 ne $book->{uuid})
		{
			push @problems, "a toggle with the marker of notebook $1";
			next;
		}
		push @order, $2;
		push @{ $toggles{$2} }, $block;
	}
	my @wanted = @{ $book->{pages} // [] };
	@wanted = reverse @wanted if $at->{newest_first};
	foreach my $source (@wanted)
	{
		my $found = delete $toggles{ $source->{uuid} } // [];
		my $what = "page $source->{number}";

		next if !$source->{ready} && @$found <= 1;
		next if $self->{may_fail}{ $source->{uuid} } && @$found <= 1;
		if (@$found != 1)
		{
			push @problems, "$what: " . scalar(@$found) . ' live toggles';
			next;
		}
		push @problems, map { "$what: $_" } $self->_toggle_problems($at, $source, $found->[0]);
	}
	push @problems, "a live toggle of page $_, which is not there"
	  foreach grep { !$self->{unread}{$_} } sort keys %toggles;

	# A toggle is moved by writing its text anew: without one it stays.
	if ($self->{unread})
	{
		@wanted = grep { $_->{ready} } @wanted;
		my %ready = map { $_->{uuid} => 1 } @wanted;
		@order = grep { $ready{$_} } @order;
	}
	my %there = map { $_ => 1 } @order;
	my $is = join(' ', @order);
	my $should = join(' ', grep { $there{$_} } map { $_->{uuid} } @wanted);
	push @problems, "order is\n  $is\nnot\n  $should" if !@problems && $is ne $should;
	return @problems;
}

# The blocks a notebook's page should have, but for the texts of its pages:
# [key, type, text, checked] in order.
sub _wanted_blocks
{
	my ($book, $at) = @_;
	my @blocks;
	my @highlights = $at->{highlights} eq 'off' ? () : @{ $book->{highlights} // [] };
	my @todos = $at->{todos} eq 'off' ? () : @{ $book->{todos} // [] };
	my @pages = @{ $book->{pages} // [] };
	my %of;
	my %live = map { $_->{uuid} => 1 } @pages;

	push @{ $of{ $live{ $_->{page} // '' } ? $_->{page} : '' } }, $_ foreach @highlights;
	foreach my $page ($at->{newest_first} ? reverse @pages : @pages, { uuid => '' })
	{
		push @blocks, ["p/$page->{uuid}"] if $page->{ready};
		push @blocks, map {
			[ "h/$_->{id}", $at->{highlights},
				join("\n", $_->{corrected_text} || $_->{original_text}, $_->{note} || (),
					join(', ', $_->{number} ? "Page $_->{number}" : (), $_->{source_type} // (), $_->{author} // ()) || ()) ]
		} @{ $of{ $page->{uuid} } // [] };
	}
	push @blocks, [ 't/', 'heading_2', 'To-dos' ] if @todos;
	push @blocks, map { [ "t/$_->{id}", 'to_do', $_->{text}, $_->{completed} ? 1 : 0 ] } @todos;
	return @blocks;
}

# All blocks of ours in a page of Notion: each that is wanted once, in order,
# and notes with their texts.
sub block_problems
{
	my ($self, $book, $page, $at) = @_;
	my @wanted = _wanted_blocks($book, $at);
	my %there;
	my @order;
	my @problems;

	foreach my $block (@{ $page->{blocks} })
	{
		next unless ($block->{href} // '') =~ m{/n/\Q$book->{uuid}\E/([pht])/([^/?]*)\?rm=[0-9a-f]{12}$};
		push @order, "$1/$2";
		push @{ $there{"$1/$2"} }, $block;
	}
	foreach my $wanted (@wanted)
	{
		my ($key, $type, $text, $checked) = @$wanted;
		my $found = delete $there{$key} // [];
		my $block = $found->[0];

		next if $self->{may_fail}{ $key =~ s{.*/}{}r };
		push @problems, "$key: " . scalar(@$found) . ' live blocks' if @$found != 1;
		next unless $block && defined $text;
		push @problems, "$key: is a $block->{type}" if $block->{type} ne $type;
		push @problems, "$key: text differs" . _difference($text, $block->{title}) if $block->{title} ne $text;
		push @problems, "$key: checked is wrong"
		  if defined $checked && ($block->{checked} ? 1 : 0) != $checked;
	}
	push @problems, "a live block $_, which is not wanted"
	  foreach grep { !m{^p/} } sort keys %there;
	my %wanted = map { $_->[0] => 1 } @wanted;
	my %seen = map { $_ => 1 } @order;
	my $is = join(' ', grep { $wanted{$_} } @order);
	my $should = join(' ', grep { $seen{$_} } map { $_->[0] } @wanted);
	push @problems, "order of blocks is\n  $is\nnot\n  $should" if !@problems && $is ne $should;
	return @problems;
}

# The place where two texts part.
sub _excerpt
{
	my ($text, $other) = @_;
	my $i = 0;

	$i++ while $i < length($text) && $i < length($other) && substr($text, $i, 1) eq substr($other, $i, 1);
	my $from = $i > 40 ? $i - 40 : 0;
	my $part = substr($text, $from, 120);
	$part =~ s/\n/\\n/g;
	return "... $part ... (" . length($text) . ' characters)';
}

sub _difference
{
	my ($source, $notion) = @_;
	return "\n  source: " . _excerpt($source, $notion) . "\n  Notion: " . _excerpt($notion, $source);
}

# All that is wrong at Notion for users' notebooks.
sub problems_of
{
	my ($self, @users) = @_;
	my %wanted = map { $_ => 1 } @users;
	my %pages;
	my @problems;

	push @{ $pages{ $_->{marker} } }, $_ foreach $self->pages(@users == 1 ? $users[0] : undef, lines => 1);
	foreach my $book (@{ $self->source_of(@users) })
	{
		my $at = $self->{users}{ $book->{user_id} };
		my $found = delete $pages{"$book->{user_id}:notebook:$book->{uuid}"} // [];
		my $name = "user $book->{user_id}, notebook \"$book->{name}\"";

		if (@$found != 1)
		{
			push @problems, "$name: " . scalar(@$found) . ' live pages';
			next;
		}
		my $page = $found->[0];
		push @problems, "$name: title is \"$page->{title}\"" if $page->{title} ne $book->{name};
		push @problems, "$name: stands in $page->{parent}"
		  if $at->{source} && $page->{parent} ne $at->{source};
		my $n = 1;
		foreach my $part (@{ $page->{parts} })
		{
			my $title = "$book->{name} (" . ++$n . ')';
			push @problems, "$name: part $n is \"$part->{title}\"" if $part->{title} ne $title;
			push @problems, "$name: part $n is empty" unless @{ $part->{blocks} };
		}
		push @problems, map { "$name: $_" } $self->page_problems($book, $page, $at), $self->block_problems($book, $page, $at);
	}
	push @problems, "a live page with the marker $_, which is not in the source"
	  foreach grep { /^(\d+):notebook:/ && $wanted{$1} } sort keys %pages;
	return @problems;
}

# ----------------------------------------------------------- rows of to-dos

# Rows of a user by the to-do's id; and where the toggles of pages are.
sub todo_rows
{
	my ($self, $user, $toggles) = @_;
	my %rows;

	foreach my $page ($self->pages($user, shallow => 1))
	{
		push @{ $rows{$1} }, $page if $page->{marker} =~ /^$user:todo:(\d+)$/;
		next unless $toggles;
		foreach my $at ([ $page->{id}, $page->{own} ], map { [ $_->{id}, $_->{blocks} ] } @{ $page->{parts} })
		{
			foreach my $block (@{ $at->[1] })
			{
				my ($uuid) = ($block->{href} // '') =~ m{/p/([^/?]+)\?} or next;
				$toggles->{$uuid} = 'https://www.notion.so/' . ("$at->[0]#$block->{id}" =~ tr/-//dr);
			}
		}
	}
	return \%rows;
}

# What is wrong in a user's database of to-dos, against the host's tables; with
# "links", each must be linked to the toggle of its page, with "any_state" only its
# box tells whether it is done: a user who ticks that may leave the state as it is.
sub todo_problems
{
	my ($self, $user, %opt) = @_;
	my %toggles;
	my $rows = $self->todo_rows($user, \%toggles);
	my @problems;
	my $todos = $self->rows("SELECT t.id, t.text, t.completed, n.visible_name AS notebook, n.notebook_uuid AS uuid,
			coalesce(m.page_number, t.page_number) AS page, p.page_uuid, t.date_extracted::date::text AS written, t.confidence
		FROM todos t JOIN notebooks n ON n.id = t.notebook_id LEFT JOIN pages p ON p.id = t.page_id
		LEFT JOIN notebook_pages m ON m.page_id = p.id AND m.notebook_id = n.id WHERE t.user_id = $user AND NOT n.deleted");

	foreach my $todo (@$todos)
	{
		my $what = "user $user, notebook \"$todo->{notebook}\": row of to-do $todo->{id}";
		my $found = delete $rows->{ $todo->{id} } // [];
		push @problems, "$what: there are " . scalar(@$found) if @$found != 1;
		my $row = $found->[0] // next;
		my $properties = $row->{properties};
		my %wanted = (
			Completed => $todo->{completed} ? 1 : 0,
			Notebook => $todo->{notebook},
			'Notebook UUID' => $todo->{uuid},
			Page => $todo->{page},
			'Date Written' => $todo->{written},
			Confidence => $todo->{confidence});
		$wanted{'Link to Source'} = $toggles{ $todo->{page_uuid} // '' } if $opt{links};
		push @problems, "$what: title is \"$row->{title}\"" if $row->{title} ne $todo->{text};
		foreach my $column (sort keys %wanted)
		{
			my $is = $properties->{$column};
			$is = $is ? 1 : 0 if $column eq 'Completed';
			push @problems, "$what: $column is " . ($is // 'empty') . ', not ' . ($wanted{$column} // 'empty')
			  if ($is // '') ne ($wanted{$column} // '');
		}
		my $done = $properties->{Workflow} // $properties->{Status} // '';
		push @problems, "$what: is $done"
		  if ($done eq 'Done') != ($todo->{completed} ? 1 : 0) && !$opt{any_state};
	}
	push @problems, "user $user: a row of to-do $_, which is not there" foreach sort keys %$rows;
	return @problems;
}

# Passes if a user's database holds the to-dos as the host's tables have them,
# and the ledger knows it.
sub rows_equal
{
	my ($self, $name, $user, %opt) = @_;
	my @problems = ($self->todo_problems($user, %opt), $self->_ledger_problems($user), $self->_bugs);

	ok(!@problems, "$name: the rows equal the source");
	diag(encode_utf8($_)) foreach @problems[ 0 .. ($#problems > 9 ? 9 : $#problems) ];
	return !@problems;
}

# ----------------------------------------------------------- all

# What has failed, and what the ledger does not know to have been done.
sub _ledger_problems
{
	my ($self, @users) = @_;
	my $list = join(',', @users);

	return (
		(map { "user $_->{user_id}, $_->{item_type} $_->{item_id} at $_->{target_name} has failed: $_->{error_code} $_->{error_message}" }
		 grep { !$self->{may_fail}{ $_->{item_id} } } @{
			$self->rows("SELECT user_id, item_type, item_id, target_name, error_code, error_message
				FROM rmsync.sync_queue WHERE user_id IN ($list) AND status = 'failed'") }),
		(map { "ledger: user $_->{user_id}, $_->{item_type} $_->{item_id}: $_->{status}" }
		 grep { !$self->{may_fail}{ $_->{item_id} } } @{
			$self->rows("SELECT r.user_id, r.item_type, r.item_id, r.status FROM rmsync.sync_records r
				WHERE r.user_id IN ($list) AND (r.status <> 'success' OR r.intent IS NOT NULL)
				AND (r.intent IS NOT NULL OR NOT EXISTS (SELECT FROM pages p WHERE p.page_uuid = r.item_id
					AND (p.ocr_status <> 'completed' OR p.ocr_text IS NULL)))") }));
}

sub _bugs
{
	my ($self) = @_;
	return map { "the stand-in failed: $_" } @{ $self->{fake}->get('/_stats')->{bugs} };
}

# All that is wrong at Notion, in the ledger and in the stand-in itself for users
# (all, if none is named).
sub all_problems_of
{
	my ($self, @users) = @_;

	@users = sort { $a <=> $b } keys %{ $self->{users} } unless @users;
	return ($self->problems_of(@users), $self->_ledger_problems(@users), $self->_bugs);
}

# Passes if Notion holds what the source says for the users named (all, if
# none is), and the ledger knows it.
sub equal
{
	my ($self, $name, @users) = @_;
	my @problems = $self->all_problems_of(@users);

	ok(!@problems, "$name: Notion equals the source");
	diag(encode_utf8($_)) foreach @problems[ 0 .. ($#problems > 9 ? 9 : $#problems) ];
	return !@problems;
}

# ----------------------------------------------------------- never blind

# What an answer that never came, or said nothing, leaves unknown.
my %silent = map { $_ => 1 } qw(close_before_read close reset hang late_close
  commit_close commit_reset commit_hang commit_500 commit_503 commit_502_html
  commit_504 reject_500 reject_503 reject_503_db reject_504 reject_502_html
  truncated_json short_body empty_200);

# What a write adds that must be there once, each with the place where to look for
# it: blocks with a marker below a page, whatever else below a block, rows with a
# marker.  "?" if the request was not read.
sub _adds
{
	my ($entry) = @_;

	return map { [ $_, $1 ] } @{ $entry->{about} } ? @{ $entry->{about} } : $1
	  if $entry->{method} eq 'PATCH' && $entry->{path} =~ m{^/v1/blocks/([^/]+)/children$};
	return unless $entry->{method} eq 'POST' && $entry->{path} eq '/v1/pages';
	my $what = $entry->{about}[0] // '?';
	return [ $what, $what ];
}

# Did this request look at such a place, or take it away?  Of a write that was not
# read nobody knows what it was: the next one to that place is another one if a
# page was asked for in between, and found in the trash with all that is in it.
sub _settles
{
	my ($entry, $place, $what) = @_;
	my $told = defined $entry->{status} && !$silent{ $entry->{fault} // '' };

	return 1
	  if $told && $entry->{method} eq 'GET' && $place eq $what && ($entry->{about}[0] // '') eq 'in trash';

	# a list of what the place stands in shows that nothing is below it
	return
		 $told
	  && $entry->{status} == 200
	  && ($entry->{path} =~ m{^/v1/blocks/\Q$place\E/children$} || grep { $_ eq $place } @{ $entry->{about} })
	  if $entry->{method} eq 'GET';
	return $told && $entry->{status} == 200 && ($place eq '?' || !@{ $entry->{about} } || grep { $_ eq $place } @{ $entry->{about} })
	  if $entry->{path} =~ m{/query$};
	return defined $entry->{status} && $entry->{path} eq "/v1/blocks/$place"
	  if $entry->{method} eq 'DELETE';
	# the page that the append went to goes, with all that comes to it
	return defined $entry->{status} && $entry->{path} eq "/v1/pages/$place" && grep { $_ eq 'trash' } @{ $entry->{about} }
	  if $entry->{method} eq 'PATCH';
	return 0;
}

# What was written again after a write whose outcome was unknown, while nobody had
# looked at Notion and the block it went to was not deleted; and how many outcomes
# were unknown.
sub blind_resends
{
	my ($self, @arrivals) = @_;
	my (%open, %trashed);
	my $unknown = 0;
	my @problems;

	foreach my $entry (@arrivals)
	{
		my $open = $open{ $entry->{user} // '?' } //= {};
		my @adds = _adds($entry);
		my $lost = $silent{ $entry->{fault} // '' };
		$trashed{$1} = $entry->{n}
		  if $entry->{path} =~ m{^/v1/pages/(.+)$} && $entry->{method} eq 'GET' && !$lost && ($entry->{about}[0] // '') eq 'in trash';
		foreach my $add (@adds)
		{
			my ($what, $where) = @$add;
			my $before = delete $open->{$what};
			# with the page that was found in the trash it is out of the way
			undef $before if $before && $where ne $before->[0] && ($trashed{ $before->[0] } // 0) > $before->[2];
			push @problems, "$what by $entry->{method} $entry->{path} of $entry->{user}, arrival $entry->{n}, after $before->[1]"
			  if $before;
			$open->{$what} = [ $where, "$entry->{fault} of arrival $entry->{n}", $entry->{n} ] if $lost;
		}
		$unknown++ if @adds && $lost;
		delete @$open{ grep { _settles($entry, $open->{$_}[0], $_) } keys %$open } if !@adds && %$open;
	}
	return ($unknown, @problems);
}

# Passes if there was none; answers how many outcomes were unknown.
sub no_blind_resend
{
	my ($self, $name, @arrivals) = @_;
	my ($unknown, @problems) = $self->blind_resends(@arrivals);

	ok(!@problems, "$name: nothing was sent again before Notion was looked at");
	diag($_) foreach @problems[ 0 .. ($#problems > 9 ? 9 : $#problems) ];
	return $unknown;
}

1;
