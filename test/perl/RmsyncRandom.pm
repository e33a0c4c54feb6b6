# A random life: notebooks that change in every way the host changes them, a
# user who does things in Notion, a service that fails and workers that die;
# and, when it is quiet, the judge.
#
#	use RmsyncRandom;
#	my $t = RmsyncRandom->new;
#	$t->live($steps, 1 .. 5);
#
# A seed has two users of its own, so that a run needs one server and one
# stand-in, and some can live side by side, each a step at a time.  It repeats
# the changes of the host and what is chosen, not the moments: what a user finds
# in Notion depends on what has been delivered, and crashes concern all that
# live.
#
# What a user did to our objects in Notion is seen when the item is written
# next, and only then: rmsync looks where it has something to do.  Notebooks in
# which a user trashed a page or a toggle, rewrote a title or a text, or whose
# marker column was deleted ("dirty" below) are therefore written once more at
# the end, by rmsync_trigger(force => true).  All other notebooks must be right
# before that.
package RmsyncRandom;

use strict;
use warnings;
use utf8;
use parent qw(RmsyncRandomUser RmsyncRandomJudge RmsyncNotion);

use Encode qw(encode_utf8 decode_utf8);
use IPC::Open2 qw(open2);
use JSON::PP;
use List::Util qw(first min sum);
use Storable qw(dclone);
use Test::More;
use Time::HiRes qw(time usleep);

use RmsyncTest;

# Looking for a created page goes on for a second: the stand-in's queries must
# not lag behind for longer.
my %conf = (
	'rmsync.backoff_scale' => '0.003',
	'rmsync.http_timeout' => '700ms',
	'rmsync.mass_delete_guard' => '1',
	'restart_after_crash' => 'on');

sub new
{
	my ($class, %opt) = @_;
	my $self = RmsyncNotion::new(
		$class,
		fake => [ '--rate', 0, '--query-lag', 0.05 ],
		conf => { %conf, %{ $opt{conf} // {} } });

	$self->{shared} = { crashes => 0 };
	return $self;
}

# ----------------------------------------------------------------- chance

# Dice of our own: other modules roll perl's.
sub dice
{
	my ($self, $sides) = @_;

	$self->{dice} = ($self->{dice} * 1103515245 + 12345) % 2**31;
	return int($self->{dice} / 2**31 * $sides);
}

sub chance
{
	my ($self, $percent) = @_;
	return $self->dice(1000) < $percent * 10;
}

sub one_of
{
	my ($self, @of) = @_;
	my $n = $self->dice(10_000);

	return @of ? $of[ $n % @of ] : undef;
}

# The name of one of { name => weight }.
sub weighted
{
	my ($self, %weight) = @_;
	my $n = $self->dice(10_000) / 10_000 * sum(values %weight);

	foreach my $name (sort keys %weight)
	{
		return $name if ($n -= $weight{$name}) < 0;
	}
	return (sort keys %weight)[-1];
}

sub fresh
{
	my ($self) = @_;
	return $self->{seed} * 10_000 + ++$self->{count};
}

# ---------------------------------------------------------------- the host

# One psql for all of it: a new one takes longer than what it does.
sub sql
{
	my ($self, $sql) = @_;
	my $psql = $self->{shared}{psql} or return $self->SUPER::sql($sql);
	my $answer = '';

	local $SIG{PIPE} = 'IGNORE';
	print { $psql->{in} } encode_utf8("$sql;\n\\echo END OF ANSWER\n") or die "psql: $!\n";
	while ($answer !~ s/^END OF ANSWER\n//m)
	{
		sysread($psql->{out}, $answer, 65536, length($answer)) or die "psql has ended: $answer\n";
	}
	die "$sql: $answer" if $answer =~ /^(?:psql:[^\n]*)?(?:ERROR|FATAL|PANIC): /m;
	chomp $answer;
	return decode_utf8($answer);
}

sub rows
{
	my ($self, $sql) = @_;
	return decode_json(encode_utf8($self->sql("SELECT coalesce(json_agg(q), '[]') FROM ($sql) q")));
}

sub open_psql
{
	my ($self) = @_;
	my %psql;

	$psql{pid} = open2($psql{out}, $psql{in}, 'sh', '-c', 'exec "$0" "$@" 2>&1', 'psql', '-XAtq', '-d',
		$self->node->connstr('postgres'));
	$psql{in}->autoflush(1);
	$self->{shared}{psql} = \%psql;
	$self->sql('SET client_min_messages = warning');
	return;
}

sub close_psql
{
	my ($self) = @_;
	my $psql = delete $self->{shared}{psql} or return;

	local $SIG{PIPE} = 'IGNORE';
	close $psql->{in};
	close $psql->{out};
	local $?;
	waitpid($psql->{pid}, 0);
	return;
}

# The model: books with their pages in order.  "out" are pages that have a row
# but no place.
sub live_books
{
	my ($self, $user) = @_;
	return grep { !$_->{deleted} && !$_->{gone} && (!defined $user || $_->{user} == $user) } @{ $self->{books} };
}

sub any_book
{
	my ($self, $user) = @_;
	return $self->one_of($self->live_books($user));
}

# A book and a page of it, if there is one, that fits.
sub any_page
{
	my ($self, $fits) = @_;
	my @all = map { my $b = $_; map { [ $b, $_ ] } @{ $b->{pages} } } $self->live_books;

	@all = grep { $fits->($_->[1]) } @all if $fits;
	my $found = $self->one_of(@all);
	return $found ? @$found : ();
}

sub some_text
{
	my ($self) = @_;
	my $n = $self->fresh;
	my $kind = $self->weighted(line => 40, tasks => 25, mixed => 20, long => 4, wide => 4, words => 6, nested => 20, marked => 10, empty => 1);

	return "text $n" if $kind eq 'line';
	return '' if $kind eq 'empty';
	return join("\n", map { "- [" . ($self->chance(40) ? 'x' : ' ') . "] task $_ of $n" } 1 .. 1 + $self->dice(5))
	  if $kind eq 'tasks';
	return join("\n", map { "- line $_ of $n" } 1 .. 90 + $self->dice(80)) if $kind eq 'long';
	return join(' ', map { "word$_" } $n .. $n + 350) if $kind eq 'wide';
	return "- top $n\n  - below, **bold $n** and *not* `code $n`\n    - deeper $n\n  - [x] done $n\n- [link $n](https://example.org/$n)\n\n"
	  . "> quoted $n\n\n## Sub **$n**\n\n```\ncode $n\n\n```\n\nlast of ~~$n~~"
	  if $kind eq 'marked';
	return $self->nested_text($n) if $kind eq 'nested';
	return "text $n: " . join(' ', map { $self->one_of(qw(ampère Größe 日本 naïve 🎈 été Ω)) } 1 .. 5)
	  if $kind eq 'words';
	return "# Title $n\n\n**Date: 01-02-2026**\n\nsome text $n\n\n- [ ] first\n- [x] second\n- plain\n\n1. one\n2. two\n\nlast of $n";
}

# Lines below lines, at most four deep: each at most one deeper than that above.
sub nested_text
{
	my ($self, $n) = @_;
	my $depth = 0;
	my @lines = ("- nest $n");

	foreach my $i (1 .. 3 + $self->dice(9))
	{
		$depth = min($self->dice($depth + 2), 3);
		push @lines, '  ' x $depth . "- nest $n.$i";
	}
	return join("\n", @lines);
}

# Some of them change; what they are below of is as right as before.
sub nested_edit
{
	my ($self, @lines) = @_;
	my @told;

	foreach my $i (1 .. 1 + $self->dice(3))
	{
		my $n = $self->fresh;
		my $at = $self->dice(scalar @lines);
		my ($indent) = $lines[$at] =~ /^( *)/;
		my $what = $self->weighted(change => 5, sibling => 3, child => 2, remove => 3);

		$lines[$at] = "$indent- nest $n" if $what eq 'change';
		splice(@lines, $at + 1, 0, "$indent- nest $n") if $what eq 'sibling';
		splice(@lines, $at + 1, 0, (length($indent) < 6 ? "$indent  " : $indent) . "- nest $n") if $what eq 'child';
		if ($what eq 'remove')
		{
			next if $at == 0 || ($lines[ $at + 1 ] // '') =~ /^$indent  /;
			splice(@lines, $at, 1);
		}
		push @told, "$what $at";
	}
	return (join("\n", @lines), join(', ', @told));
}

# The page has been written to, and its toggle may have been replaced; not if
# "line" says that one line of it has changed.
sub touch
{
	my ($self, $page, $text, $line) = @_;

	$page->{touched}++;
	$page->{lines}++ if $line;
	return unless defined $text;
	push @{ $page->{history} }, $page->{text} if defined $page->{text};
	$page->{text} = $text;
	$page->{blank} = 0;
	return;
}

sub arrange_sql
{
	my ($self, $book) = @_;
	return "SELECT test.upload_content('$book->{uuid}', ARRAY["
	  . join(',', map { "'$_->{uuid}'" } @{ $book->{pages} }) . ']::text[])';
}

sub page_text_sql
{
	my ($self, $page) = @_;
	return "SELECT test.complete_page((SELECT max(id) FROM pages WHERE page_uuid = '$page->{uuid}'), "
	  . RmsyncNotion::quote($page->{text}) . ')';
}

# A new page: a row, without a place for now.
sub page_sql
{
	my ($self, $book, $page) = @_;
	my $text = RmsyncNotion::quote($page->{text});
	my $status = defined $page->{text} ? 'completed' : 'not_synced';

	$page->{uuid} = sprintf('dddddddd-0000-4000-8000-%012d', $self->fresh);
	return "INSERT INTO pages (notebook_id, page_uuid, ocr_status, ocr_text, created_at, updated_at)
		SELECT max(id), '$page->{uuid}', '$status', $text, now(), now() FROM notebooks WHERE notebook_uuid = '$book->{uuid}'";
}

# One of the to-dos or highlights of a book, as a number chooses.
sub note_sql
{
	my ($self, $book, $table, $n) = @_;
	return "(SELECT t.id FROM $table t JOIN notebooks b ON b.id = t.notebook_id
		WHERE b.notebook_uuid = '$book->{uuid}' ORDER BY md5(t.text_of || $n), t.id LIMIT 1)"
	  =~ s/t\.text_of/$table eq 'todos' ? 't.text' : 't.original_text'/er;
}

# What the host does.  Each answers what it is called, and SQL; nothing if it
# cannot be done now.
my %host = (
	edit => [ 26, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page($self->chance(25) ? sub { $_[0]{blank} || !defined $_[0]{text} } : undef);
		return unless $page;
		my $old = $self->chance(20) ? $self->one_of(@{ $page->{history} // [] }) : undef;
		$self->touch($page, $old // $self->some_text);
		return ("page $page->{uuid} of $book->{name} is read", $self->page_text_sql($page));
	} ],
	tick => [ 7, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { !$_[0]{blank} && ($_[0]{text} // '') =~ /- \[/ });
		return unless $page;
		my $text = $page->{text};
		$text =~ s/- \[ \]/- [x]/ or $text =~ s/- \[x\]/- [ ]/;
		$self->touch($page, $text, 1);
		return ("a box of page $page->{uuid} of $book->{name} is ticked", $self->page_text_sql($page));
	} ],
	line => [ 16, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { !$_[0]{blank} && ($_[0]{text} // '') =~ /\n/ && $_[0]{text} !~ /^- nest/ });
		return unless $page;
		my $n = $self->fresh;
		my @lines = split /\n/, $page->{text}, -1;
		if (my @marked = grep { $page->{text} =~ /^```/m && $lines[$_] =~ /\d/ } 0 .. $#lines)
		{
			my $at = $self->one_of(@marked);
			$lines[$at] =~ s/\d+/$n/g;
			$self->touch($page, join("\n", @lines), 1);
			return ("line $at of page $page->{uuid} of $book->{name}: other numbers", $self->page_text_sql($page));
		}
		# A numbered list says other things when it does not begin with 1.
		my ($end) = grep { $_ == @lines || $lines[$_] =~ /^\d/ } 0 .. @lines;
		my $at = $self->dice($end < @lines ? $end - 1 : $end);
		return if $at < 0;
		my $what = $self->weighted(insert => 4, remove => 3, change => 5);
		splice(@lines, $at, 0, '', "line $n", '') if $what eq 'insert';
		splice(@lines, $at, 1) if $what eq 'remove';
		$lines[$at] = $lines[$at] =~ /^- / ? "- item $n" : "another line $n" if $what eq 'change';
		$self->touch($page, join("\n", @lines), 1);
		return ("line $at of page $page->{uuid} of $book->{name}: $what", $self->page_text_sql($page));
	} ],
	nest => [ 12, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { !$_[0]{blank} && ($_[0]{text} // '') =~ /^- nest/ });
		return unless $page;
		my ($text, $told) = $self->nested_edit(split /\n/, $page->{text});
		$self->touch($page, $text);
		return ("nested lines of page $page->{uuid} of $book->{name}: $told", $self->page_text_sql($page));
	} ],
	insert => [ 11, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		my $page = { text => $self->chance(75) ? $self->some_text : undef, touched => 0 };
		my $sql = $self->page_sql($book, $page);
		my $at = $self->dice(@{ $book->{pages} } + 1);
		splice(@{ $book->{pages} }, $at, 0, $page);
		return ("page $page->{uuid} is inserted at $at in $book->{name}", $sql, $self->arrange_sql($book));
	} ],
	remove => [ 5, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		my $at = $self->dice(1000);
		return unless @{ $book->{pages} };
		my ($page) = splice(@{ $book->{pages} }, $at % @{ $book->{pages} }, 1);
		$self->touch($page);
		push @{ $book->{out} }, $page;
		return ("page $page->{uuid} leaves $book->{name}", $self->arrange_sql($book));
	} ],
	reinsert => [ 3, sub {
		my ($self) = @_;
		my $book = $self->one_of(grep { @{ $_->{out} } } $self->live_books) or return;
		my $page = shift @{ $book->{out} };
		splice(@{ $book->{pages} }, $self->dice(@{ $book->{pages} } + 1), 0, $page);
		# If its toggle has not gone yet, this is a move, see "reorder".
		$self->touch($_) foreach @{ $book->{pages} };
		return ("page $page->{uuid} comes back to $book->{name}", $self->arrange_sql($book));
	} ],
	delete => [ 3, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page;
		return unless $page;
		$book->{pages} = [ grep { $_ != $page } @{ $book->{pages} } ];
		return ("page $page->{uuid} of $book->{name} is deleted", "DELETE FROM pages WHERE page_uuid = '$page->{uuid}'");
	} ],
	reorder => [ 9, sub {
		my ($self) = @_;
		my $book = $self->one_of(grep { @{ $_->{pages} } > 1 } $self->live_books) or return;
		my $pages = $book->{pages};
		my $from = $self->dice(scalar @$pages);
		my ($page) = splice(@$pages, $from, 1);
		my $to = $self->dice(@$pages + 1);
		splice(@$pages, $to, 0, $page);
		# Which of those it passed stay is not for us to say; all others do.
		$self->touch($_) foreach @$pages[ $from < $to ? ($from .. $to) : ($to .. $from) ];
		return ("page $page->{uuid} moves to $to in $book->{name}", $self->arrange_sql($book));
	} ],
	shuffle => [ 1, sub {
		my ($self) = @_;
		my $book = $self->one_of(grep { @{ $_->{pages} } > 1 } $self->live_books) or return;
		my $pages = $book->{pages};
		foreach my $i (reverse 1 .. $#$pages)
		{
			my $k = $self->dice($i + 1);
			@$pages[ $i, $k ] = @$pages[ $k, $i ];
		}
		$self->touch($_) foreach @$pages;
		return ("the pages of $book->{name} are shuffled", $self->arrange_sql($book));
	} ],
	transfer => [ 4, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page;
		return unless $page;
		my $to = $self->one_of(grep { $_ != $book } $self->live_books($book->{user})) or return;
		$book->{pages} = [ grep { $_ != $page } @{ $book->{pages} } ];
		$book->{left}++;
		$self->touch($page);
		splice(@{ $to->{pages} }, $self->dice(@{ $to->{pages} } + 1), 0, $page);
		return ("page $page->{uuid} moves from $book->{name} to $to->{name}",
			"DELETE FROM notebook_pages WHERE page_id = (SELECT max(id) FROM pages WHERE page_uuid = '$page->{uuid}')",
			"UPDATE pages SET notebook_id = (SELECT max(id) FROM notebooks WHERE notebook_uuid = '$to->{uuid}') WHERE page_uuid = '$page->{uuid}'",
			$self->arrange_sql($book), $self->arrange_sql($to));
	} ],
	rename => [ 5, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		my $old = $book->{name};
		$book->{name} = "Notebook $book->{n}, name " . $self->fresh;
		return ("$old becomes $book->{name}",
			"UPDATE notebooks SET visible_name = '$book->{name}', full_path = 'Folder " . $self->dice(3) . "/$book->{name}' WHERE notebook_uuid = '$book->{uuid}'");
	} ],
	blank => [ 4, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page(sub { defined $_[0]{text} && !$_[0]{blank} });
		return unless $page;
		$page->{blank} = 1;
		$self->touch($page);
		return ("the quota blanks page $page->{uuid} of $book->{name}",
			"UPDATE pages SET ocr_status = 'pending_quota', ocr_text = '' WHERE page_uuid = '$page->{uuid}'");
	} ],
	trash => [ 2, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		return if $self->live_books($book->{user}) < 2;
		$book->{deleted} = 1;
		$book->{lost}++;
		return ("$book->{name} is put into the trash", "UPDATE notebooks SET deleted = true WHERE notebook_uuid = '$book->{uuid}'");
	} ],
	untrash => [ 3, sub {
		my ($self) = @_;
		my $book = $self->one_of(grep { $_->{deleted} && !$_->{gone} } @{ $self->{books} }) or return;
		$book->{deleted} = 0;
		return ("$book->{name} comes back", "UPDATE notebooks SET deleted = false WHERE notebook_uuid = '$book->{uuid}'");
	} ],
	destroy => [ 1, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		return if $self->live_books($book->{user}) < 2;
		$book->{gone} = 1;
		$book->{lost}++;
		return ("$book->{name} is deleted", "SELECT test.delete_notebook('$book->{uuid}')");
	} ],
	found => [ 2, sub {
		my ($self) = @_;
		return if $self->live_books > 7;
		my $book = $self->make_book($self->one_of(@{ $self->{mine} }));
		return ("$book->{name} is new", $self->book_sql($book, 1 + $self->dice(4)));
	} ],
	todo => [ 6, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page;
		return unless $page;
		my $n = $self->fresh;
		return ("to-do $n is found on page $page->{uuid} of $book->{name}",
			"SELECT test.add_todo((SELECT max(id) FROM pages WHERE page_uuid = '$page->{uuid}'), 'to-do $n')");
	} ],
	todo_edit => [ 4, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		my $n = $self->fresh;
		return ("a to-do of $book->{name} becomes to-do $n",
			"UPDATE todos SET text = 'to-do $n', updated_at = now() WHERE id = " . $self->note_sql($book, 'todos', $n));
	} ],
	todo_tick => [ 5, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		return ("a to-do of $book->{name} is ticked or unticked",
			'UPDATE todos SET completed = NOT completed, updated_at = now() WHERE id = '
			  . $self->note_sql($book, 'todos', $self->fresh));
	} ],
	todo_delete => [ 2, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		return ("a to-do of $book->{name} is deleted",
			'DELETE FROM todos WHERE id = ' . $self->note_sql($book, 'todos', $self->fresh));
	} ],
	highlight => [ 4, sub {
		my ($self) = @_;
		my ($book, $page) = $self->any_page;
		return unless $page;
		my $n = $self->fresh;
		return ("highlight $n is found on page $page->{uuid} of $book->{name}",
			"SELECT test.add_highlight((SELECT max(id) FROM pages WHERE page_uuid = '$page->{uuid}'), 'highlight $n')");
	} ],
	highlight_edit => [ 2, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		my $n = $self->fresh;
		return ("a highlight of $book->{name} becomes highlight $n",
			"UPDATE highlights SET corrected_text = 'highlight $n', updated_at = now() WHERE id = "
			  . $self->note_sql($book, 'highlights', $n));
	} ],
	highlight_delete => [ 1.5, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		return ("a highlight of $book->{name} is deleted",
			'DELETE FROM highlights WHERE id = ' . $self->note_sql($book, 'highlights', $self->fresh));
	} ],
	contact => [ 4, sub {
		my ($self) = @_;
		my $book = $self->any_book or return;
		return ("$book->{name} is looked at",
			"UPDATE notebooks SET last_synced_at = now(), updated_at = now() WHERE notebook_uuid = '$book->{uuid}'",
			$self->arrange_sql($book));
	} ]);

sub make_book
{
	my ($self, $user) = @_;
	my $n = $self->fresh;
	my $book = {
		n => $n,
		user => $user,
		uuid => sprintf('eeeeeeee-0000-4000-8000-%012d', $n),
		name => "Notebook $n",
		pages => [],
		out => [],
		lost => 0,
		left => 0 };

	push @{ $self->{books} }, $book;
	return $book;
}

sub book_sql
{
	my ($self, $book, $count) = @_;
	my @sql = ("SELECT test.add_notebook($book->{user}, '$book->{uuid}', '$book->{name}')");

	foreach my $i (1 .. $count)
	{
		my $page = { text => $self->chance(85) ? $self->some_text : undef, touched => 0 };
		push @sql, $self->page_sql($book, $page);
		push @{ $book->{pages} }, $page;
	}
	return (@sql, $self->arrange_sql($book));
}

# One change, or some in one transaction, which may be rolled back.
sub host_step
{
	my ($self) = @_;
	my $count = $self->chance(12) ? 2 + $self->dice(4) : 1;
	my $undo = $count > 1 && $self->chance(15) ? dclone($self->{books}) : undef;
	my (@told, @sql);

	foreach my $i (1 .. $count)
	{
		my ($name, @more);
		foreach my $try (1 .. 5)
		{
			my $what = $self->weighted(map { $_ => $host{$_}[0] } keys %host);
			($name, @more) = $host{$what}[1]->($self);
			last if defined $name;
		}
		next unless defined $name;
		push @told, $name;
		push @sql, @more;
	}
	return 'nothing' unless @sql;
	$self->sql(join(";\n", 'BEGIN', @sql, $undo ? 'ROLLBACK' : 'COMMIT'));
	$self->{books} = $undo if $undo;
	return join('; ', @told) . ($undo ? ' - rolled back' : '');
}

# ------------------------------------------------------------------ trouble

my @silent = qw(close_before_read close reset hang commit_close commit_reset commit_hang commit_500 commit_503
  commit_502_html commit_504 reject_500 reject_503 reject_503_db reject_504 reject_502_html truncated_json
  short_body empty_200);
my @told = qw(commit_503_guidance 409 edge_403_html);

# After these a connection is paced: it takes its time from then on.
my @slow = qw(529 rate_429 rate_429:public_api_space_request_rate_limit rate_429:public_api_endpoint_rate_limit);
my @requests = (
	{ method => 'POST', path => '^/v1/pages$' },
	{ method => 'PATCH', path => '/children$' },
	{ method => 'PATCH', path => '/children$' },
	{ method => 'DELETE', path => '^/v1/blocks/' },
	{ method => 'PATCH', path => '^/v1/pages/' },
	{ method => 'PATCH', path => '^/v1/blocks/[^/]+$' },
	{ method => 'POST', path => '/query$' },
	{ method => 'GET' },
	{});

sub fault_step
{
	my ($self) = @_;
	my $slow = $self->chance(4) && $self->{slowed}++ == 0;
	my $fault = $self->one_of($slow ? @slow : (@silent, @silent, @told));
	my $match = $self->one_of(@requests);
	my $user = $self->one_of(@{ $self->{mine} });
	my $times = 1 + $self->dice(2);
	my $after = $self->dice(3);
	my $late = $self->chance(12);

	if ($late)
	{
		# when it was looked for and made again
		my $create = $self->chance(40);
		$fault = 'late_close';
		$match = $create ? { method => 'POST', path => '^/v1/pages$' } : { method => 'PATCH', path => '/children$', body => 'rm=' };
		$self->notion({ fault => $fault, match => { %$match, user => "user$user" }, times => $times, after => $after, seconds => $create ? 1.5 : 0.3 });
		return "$times times $fault of $match->{path} for user $user";
	}

	$self->notion({ fault => $fault, match => { %$match, user => "user$user" }, times => $times, after => $after,
			$fault =~ /hang/ ? (seconds => 1) : () });
	return "$times times $fault of " . join(' ', map { $match->{$_} } sort keys %$match) . " for user $user";
}

# The server is there again, and has let us in.
sub reconnect
{
	my ($self) = @_;
	my $out = '';

	$self->close_psql;
	foreach my $try (1 .. 600)
	{
		eval { $self->node->psql('postgres', 'SELECT 1', stdout => \$out) };
		last if $out eq '1';
		usleep(50_000);
	}
	$self->open_psql;
	return;
}

my %process = (
	term => [ 2, sub {
		my ($self) = @_;
		my ($pid) = $self->worker;
		return 'no worker to end' unless $pid;
		kill 'TERM', $pid;
		return 'a worker is told to end';
	} ],
	kill => [ 3, sub {
		my ($self) = @_;
		my ($pid) = $self->worker;
		return 'no worker to kill' unless $pid;
		# A session sees the crash; without it, we would not know when it is over.
		kill 'KILL', $pid;
		$self->lost_session;
		$self->reconnect;
		$self->{shared}{crashes}++;
		return 'a worker is killed';
	} ],
	stop => [ 1, sub {
		my ($self) = @_;
		$self->close_psql;
		$self->node->stop('immediate');
		$self->node->start;
		$self->open_psql;
		$self->{shared}{crashes}++;
		return 'the server is stopped at once, and started';
	} ],
	down => [ 2, sub {
		my ($self) = @_;
		my $mode = $self->one_of(qw(close 503));
		$self->notion({ cmd => 'down', mode => $mode, seconds => 0.3 });
		return "Notion is down: $mode";
	} ]);

sub worker
{
	my ($self) = @_;
	return $self->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'rmsync worker' ORDER BY backend_start LIMIT 1");
}

# Waits until our session has been ended by the crash of another process.
sub lost_session
{
	my ($self) = @_;

	foreach my $try (1 .. 600)
	{
		eval { local $SIG{PIPE} = 'IGNORE'; $self->sql('SELECT 1'); 1 } or return;
		usleep(20_000);
	}
	die 'the crash of a worker was not noticed';
}

sub process_step
{
	my ($self) = @_;
	my $what = $self->weighted(map { $_ => $process{$_}[0] } keys %process);
	return $process{$what}[1]->($self);
}

sub owner_step
{
	my ($self) = @_;
	my $user = $self->one_of(@{ $self->{mine} });

	my $target = $self->one_of($self->targets_of($user));
	if ($self->chance(70))
	{
		$self->sql("SELECT rmsync_trigger('$target', user_id => $user)");
		return "user $user asks for a synchronization of $target";
	}
	my $on = delete $self->{off}{"$user, '$target'"};
	$self->sql('SELECT rmsync_' . ($on ? 'enable' : 'disable') . "($user, '$target')");
	$self->{off}{"$user, '$target'"} = 1 unless $on;
	return "user $user switches $target " . ($on ? 'on' : 'off');
}

# Lets the workers do something: some more requests, or there is nothing to do.
sub work_step
{
	my ($self) = @_;
	my $want = $self->arrived + 1 + $self->dice(20);
	my $until = time + 0.2;

	usleep(10_000) while time < $until && $self->arrived < $want;
	return;
}

# ------------------------------------------------------------------ lives

# A life as it begins: two users with two notebooks each.
sub begin
{
	my ($self, $seed) = @_;
	my @mine = (2 * $seed - 1, 2 * $seed);
	my $life = bless {
		%$self,
		seed => $seed,
		mine => \@mine,
		dice => ($seed * 2654435761 + 12345) % 2**31,
		log => [],
		# what users did is made good at the end, all of it
		strict => 1,
		(map { $_ => [] } qw(books own comments trashed early)),
		(map { $_ => {} } qw(restored copies off columns two_way stop rows lost_pages dirty_rows)),
		kept => { comments => 0, blocks => 0, made => 0, lines => 0 } },
	  ref $self;

	$life->dice(1) foreach 1 .. 5;
	$life->add_users(\@mine);
	foreach my $user (@mine)
	{
		$life->{columns}{$user} = { map { $_ => 1 } qw(Name Path Tags Pages Status), 'Last Modified', 'Synced At' };
		$life->{connected}{$user} = 1;
	}
	foreach my $user (@mine, @mine)
	{
		my $book = $life->make_book($user);
		$life->sql(join(";\n", 'BEGIN', $life->book_sql($book, 3 + $life->dice(6)), 'COMMIT'));
	}
	$life->settle_in($_) foreach @mine;
	return $life;
}

# How a user wants to have it, by chance.
sub settle_in
{
	my ($self, $user) = @_;
	my %config = (
		highlights => $self->one_of(qw(callout callout quote off)),
		todos => $self->chance(70) ? 'blocks' : 'off',
		# the stand-in counts no requests, and a life is short
		requests_per_minute => 600);

	$config{page_order} = 'newest_first' if $self->chance(25);
	$config{page_title} = $self->one_of('{title}', '📄 {title}', '{n}. {title}', 'A page') if $self->chance(40);
	$config{layout} = 'compact' if $self->chance(15);
	$config{lost_page} = 'stop' if $self->chance(30);
	$config{split_pages} = 3 if $self->{seed} % 3 == 1;
	$config{two_way} = JSON::PP::true if $config{todos} eq 'blocks' && $self->chance(60);
	$self->{two_way}{"$user, notion"} = 1 if $config{two_way};
	$self->{stop}{$user} = 1 if ($config{lost_page} // '') eq 'stop';
	$self->connect($user, %config);
	push @{ $self->{log} }, "     user $user: " . join(', ', map { "$_ $config{$_}" } sort keys %config);
	return unless $self->chance(40);

	my $two_way = $self->chance(50);
	$self->add_todo_database($user);
	$self->connect_todos($user, requests_per_minute => 600, $two_way ? (two_way => JSON::PP::true) : ());
	$self->{two_way}{"$user, notion-todos"} = 1 if $two_way;
	$self->{rows}{$user} = 1;
	push @{ $self->{log} }, "     user $user: to-dos are rows" . ($two_way ? ', two_way' : '');
	return;
}

sub targets_of
{
	my ($self, $user) = @_;
	return ('notion', $self->{rows}{$user} ? 'notion-todos' : ());
}

sub step
{
	my ($self, $n) = @_;
	my $what = $self->weighted(host => 74, user => 16, fault => 8, owner => 2);
	my $method = "${what}_step";

	push @{ $self->{log} }, sprintf('%3d. %s', $n, $self->$method);
	return;
}

# Passes if a life has ended well.
sub judged
{
	my ($self, $steps, $trouble) = @_;
	my @problems = map { "on the way: $_" } @{ $self->{early} };
	push @problems, "the test itself: $trouble" if $trouble;

	push @problems, @{ $self->{first} };
	push @problems, eval { $self->judge_all } unless @problems;
	push @problems, "the test itself: $@" if $@;
	my @log = map { encode_utf8($_) } @{ $self->{log} };
	my @arrivals = map { $self->arrivals(user => "user$_", brief => 1) } @{ $self->{mine} };
	my ($unknown, @blind) = $self->blind_resends(@arrivals);
	push @problems, map { "sent again without a look: $_" } @blind;
	push @problems, map { "a copy of the user's is written to: $_->{method} $_->{path}" }
	  grep { $_->{method} ne 'GET' && $_->{path} =~ m{^/v1/blocks/([^/]+)} && $self->{copies}{$1} } @arrivals;
	$self->{kept}{unknown} = $unknown;
	$self->{shared}{kept}{$_} += $self->{kept}{$_} foreach qw(comments blocks lines unknown);
	note("seed $self->{seed}: ", scalar(@arrivals), " requests, $unknown of them unknown, $self->{kept}{comments} of $self->{kept}{made} comments were to be kept",
		" ($self->{kept}{lines} next to a line that changed), $self->{kept}{blocks} blocks");
	note($_) foreach @log;
	ok(!@problems, "seed $self->{seed}, $steps steps: Notion equals the source");
	if (@problems)
	{
		diag("seed $self->{seed}, the last of $steps steps:");
		diag($_) foreach @log[ (@log > 25 ? -25 : 0) .. -1 ];
		diag(encode_utf8($_)) foreach @problems[ 0 .. ($#problems > 9 ? 9 : $#problems) ];
	}
	return !@problems;
}

# How many comments, comments next to a line that changed and blocks of users were
# seen where they had to be, and how many answers were lost: the smallest of them.
sub kept
{
	my ($self) = @_;
	my $kept = $self->{shared}{kept} // {};
	return min(map { $kept->{$_} // 0 } qw(comments blocks lines unknown));
}

sub switch_on
{
	my ($self) = @_;

	$self->sql("SELECT rmsync_enable($_)") foreach sort keys %{ $self->{off} };
	$self->{off} = {};
	return;
}

# Lives some seeds through, side by side; answers the seeds that did not end
# well.
sub live
{
	my ($self, $steps, @seeds) = @_;
	my $start = time;
	my @lives;

	$self->{dice} = $seeds[0];
	$self->open_psql unless $self->{shared}{psql};
	$self->notion({ cmd => 'faults', seed => $seeds[0] }, { cmd => 'latency', seconds => 0.001, jitter => 0.015 });
	eval {
		push @lives, $self->begin($_) foreach @seeds;
		foreach my $step (1 .. $steps)
		{
			if ($step % 50 == 1)
			{
				foreach my $life (@lives)
				{
					$life->switch_on;
					push @{ $life->{early} }, $life->quiet, $life->losses;
					$life->add_comments;
				}
			}
			$_->step($step) foreach @lives;
			if ($self->chance(3))
			{
				my $told = $self->process_step;
				push @{ $_->{log} }, "     $told" foreach @lives;
			}
			$self->work_step if $self->chance(40);
		}
	};
	my $trouble = $@;
	my $lived = time;
	eval {
		$self->notion({ cmd => 'clear' });
		$_->switch_on foreach @lives;
	};
	foreach my $life (@lives)
	{
		$life->{first} = [ eval { $life->judge } ];
		push @{ $life->{first} }, "the test itself: $@" if $@;
	}
	my @failed = grep { !$_->judged($steps, $trouble) } @lives;
	note(sprintf('seeds %s: lived %.0f s, judged %.0f s, %d crashes so far', join(' ', @seeds), $lived - $start,
			time - $lived, $self->{shared}{crashes}));
	ok(!$trouble || @lives, 'the lives began') or diag($trouble);
	return map { $_->{seed} } @failed;
}

1;
