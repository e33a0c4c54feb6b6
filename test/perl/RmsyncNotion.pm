# A server with rmsync, the host application's tables and a stand-in for
# Notion; and the judge: what the source says against what Notion holds.
#
#	use RmsyncNotion;
#	my $t = RmsyncNotion->new(conf => {...}, fake => ['--rate', 0]);
#	$t->add_user(1);
#	my $book = $t->add_notebook(1, 'Journal', \@texts);
#	$t->connect(1);
#	$t->settled('first sync');
#	$t->equal('first sync');
#
# equal() reads the host's own tables and the stand-in, nothing of
# rmsync's: exactly one live object per notebook and page, with our marker,
# equal text, in the right order.
package RmsyncNotion;

use strict;
use warnings;

use Carp qw(croak);
use Encode qw(encode_utf8 decode_utf8);
use JSON::PP;
use Test::More;

use RmsyncFake;
use RmsyncTest;

# Back-offs are a hundredth of what they are.
my %conf = (
	'rmsync.backoff_scale' => '0.01',
	'rmsync.recheck_interval' => '1s',
	'max_connections' => 30);

# Options: name, conf (settings), fake (arguments), node (of another one).
sub new
{
	my ($class, %opt) = @_;
	my $fake = RmsyncFake->start('notion.py', @{ $opt{fake} // [] });
	my $node = $opt{node} // new_node(
		name => $opt{name} // 'main',
		conf => {
			%conf,
			'rmsync.notion_base_url' => $fake->url('/v1'),
			%{ $opt{conf} // {} } });
	my $self =
	  bless { fake => $fake, node => $node, users => {}, plain => {} }, $class;

	$self->sql('CREATE EXTENSION IF NOT EXISTS pg_trgm');
	load_host($node);
	load_host($node, schema => 'sample');
	$self->sql('SELECT rmsync_attach()');
	return $self;
}

sub node
{
	return shift->{node};
}

sub fake
{
	return shift->{fake};
}

sub stop
{
	my ($self) = @_;
	$self->{node}->stop;
	$self->{fake}->stop;
	return;
}

# ------------------------------------------------------------------- SQL

# Runs SQL; text in and out is characters, not bytes.
sub sql
{
	my ($self, $sql) = @_;
	return decode_utf8($self->{node}->safe_psql('postgres', encode_utf8($sql)));
}

sub quote
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	$text =~ s/'/''/g;
	return $text =~ s/\\/\\\\/g ? "E'$text'" : "'$text'";
}

sub rows
{
	my ($self, $sql) = @_;
	my $out = $self->{node}->safe_psql('postgres',
		encode_utf8("SELECT coalesce(json_agg(q), '[]') FROM ($sql) q"));
	return decode_json($out);
}

# --------------------------------------------------------- the two sides

# One or more commands for the stand-in.
sub notion
{
	my ($self, @commands) = @_;
	return $self->{fake}->post('/_control', @commands > 1 ? \@commands : $commands[0]);
}

# A user at both sides, with a database at Notion.  Options are those of the
# command create_database.
sub add_user
{
	my ($self, $user, %opt) = @_;
	return $self->add_users([$user], %opt)->{$user};
}

# The same for many.
sub add_users
{
	my ($self, $users, %opt) = @_;
	my @commands = map {
		(
			{ cmd => 'add_token', token => "ntn_user$_", user => "user$_" },
			{ cmd => 'create_database', user => "user$_", preset => 'notebooks', %opt })
	} @$users;
	my $answers = $self->{fake}->post('/_control', \@commands);

	$self->sql('SELECT test.add_user(u) FROM unnest(ARRAY[' . join(',', @$users) . ']) u');
	foreach my $i (0 .. $#$users)
	{
		my $made = $answers->[ 2 * $i + 1 ];
		$self->{users}{ $users->[$i] } = {
			token => "ntn_user$users->[$i]",
			database => $made->{id},
			source => $made->{data_source_id} };
	}
	return $self->{users};
}

# Connects users (one, or a list); more fields of the configuration as named.
sub connect
{
	my ($self, $users, %config) = @_;
	my @calls;

	foreach my $user (ref $users ? @$users : $users)
	{
		my $at = $self->{users}{$user};
		my $json = JSON::PP->new->canonical->encode(
			{ api_token => $at->{token}, database_id => $at->{database}, %config });

		$at->{newest_first} = ($config{page_order} // '') eq 'newest_first';
		$at->{highlights} = $config{highlights} // 'callout';
		$at->{todos} = $config{todos} // 'off';
		push @calls, "SELECT rmsync_connect($user, 'notion', " . quote($json) . ')';
	}
	$self->sql(join(";\n", @calls));
	return;
}

my $books = 0;

sub uuid_of
{
	my ($n) = @_;
	return sprintf('bbbbbbbb-0000-4000-8000-%012d', $n);
}

# A notebook with a page per text, in one transaction; an undefined text is
# one that is not recognized yet.  Answers { id, uuid, pages => [row ids] }.
sub add_notebook
{
	my ($self, $user, $name, $texts, %opt) = @_;
	my $uuid = $opt{uuid} // uuid_of(++$books);
	my $n = 0;
	my $list = join(",\n", map { '(' . ++$n . ', ' . quote($_) . '::text)' } @$texts);
	my $out;

	$list = '(NULL::int, NULL::text)' if $list eq '';
	$out = $self->sql("WITH b AS MATERIALIZED (SELECT test.add_notebook($user, '$uuid', "
		  . quote($name) . ', ' . quote($opt{path}) . ") AS id)
		SELECT b.id, (SELECT string_agg(test.add_page(b.id, v.n, v.t)::text, ' ' ORDER BY v.n)
			FROM (VALUES $list) v (n, t) WHERE v.n IS NOT NULL) FROM b");
	my ($id, $pages) = split /\|/, $out;
	return { id => $id, uuid => $uuid, user => $user, pages => [ split / /, $pages // '' ] };
}

# The text of a page is read anew.
sub edit_page
{
	my ($self, $page, $text) = @_;
	$self->sql("SELECT test.complete_page($page, " . quote($text) . ')');
	return;
}

# The pages of a notebook in another order, or fewer, by row id.
sub arrange
{
	my ($self, $book, @pages) = @_;
	$self->sql("SELECT test.upload_content('$book->{uuid}',
		ARRAY(SELECT p.page_uuid::text FROM unnest('{" . join(',', @pages)
		  . "}'::int[]) WITH ORDINALITY u (id, n) JOIN pages p ON p.id = u.id ORDER BY u.n))");
	return;
}

# ------------------------------------------------------------- waiting

# Waits until nothing is left to be done for a user (all, if none is named).
# Items that have failed for good count as done.
sub settled
{
	my ($self, $name, %opt) = @_;
	my $where = defined $opt{user} ? "AND user_id = $opt{user}" : '';

	return wait_for(
		$self->{node},
		"SELECT NOT EXISTS (SELECT FROM rmsync.sync_intake WHERE true $where)
			AND NOT EXISTS (SELECT FROM rmsync.sync_queue WHERE status <> 'failed' $where)
			AND NOT EXISTS (SELECT FROM rmsync.integration_configs WHERE reconcile_wanted AND is_enabled AND state = 'active' $where)",
		't',
		"$name: all is done",
		%opt);
}

# The pages of a user (of all, if none is named) at Notion that carry a
# marker, as the stand-in's /_notebooks tells them.
sub pages
{
	my ($self, $user) = @_;
	my @pages = @{ $self->{fake}->get('/_notebooks' . (defined $user ? "?user=user$user" : '')) };

	foreach my $page (@pages)
	{
		# "Name (2)", "Name (3)" ... go on where the page ends
		my @parts = sort { $a->{number} <=> $b->{number} }
		  map { $_->{title} =~ /\((\d+)\)$/ ? { %$_, number => $1 } : () } @{ $page->{parts} };

		$page->{parts} = \@parts;
		$page->{own} = $page->{blocks};
		$page->{blocks} = [ @{ $page->{blocks} }, map { @{ $_->{blocks} } } @parts ];
	}
	return @pages;
}

# The live page of a notebook, undef if there is none; and its blocks.
sub page_of
{
	my ($self, $book) = @_;
	my ($page) = grep { $_->{marker} eq "$book->{user}:notebook:$book->{uuid}" } $self->pages($book->{user});
	return $page;
}

sub blocks_of
{
	my ($self, $book) = @_;
	my $page = $self->page_of($book);
	return $page ? @{ $page->{blocks} } : ();
}

# What arrived at the stand-in, since an arrival's number.
sub arrivals
{
	my ($self, %query) = @_;
	return @{ $self->{fake}
		  ->get('/_arrivals?' . join('&', map { "$_=$query{$_}" } sort keys %query)) };
}

sub arrived
{
	my ($self) = @_;
	return $self->{fake}->get('/_stats')->{arrived};
}

# "3 POST /pages, 1 PATCH ..." for messages
sub summary
{
	my (@arrivals) = @_;
	my %count;

	foreach my $entry (@arrivals)
	{
		my $path = $entry->{path};
		$path =~ s{[0-9a-f]{8}-?[0-9a-f-]{20,}}{*}g;
		$count{"$entry->{method} $path"}++;
	}
	return join(', ', map { "$count{$_} $_" } sort keys %count);
}

# At most so many requests have been made since.
sub at_most
{
	my ($self, $limit, $since, $name) = @_;
	my @arrivals = $self->arrivals(since => $since);

	note("$name: " . scalar(@arrivals) . ' requests: ' . summary(@arrivals));
	return ok(@arrivals <= $limit, "$name: at most $limit requests")
	  || diag(summary(@arrivals));
}

# ----------------------------------------------------------- the judge

# What a reader sees of a Markdown text that uses nothing but headings, lists,
# boxes, quotes, rules and bold, line by line.  A text that says more is given
# to expect_text() together with what it becomes.
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
	return $self->{plain}{ encode_utf8($text) } // lines_of($text);
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

# The toggles of a page of Notion against the pages of a notebook.
sub page_problems
{
	my ($self, $book, $page, $newest_first, $failed) = @_;
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
	@wanted = reverse @wanted if $newest_first;
	foreach my $source (@wanted)
	{
		my $found = delete $toggles{ $source->{uuid} } // [];
		my $what = "page $source->{number}";

		next if !$source->{ready} && @$found <= 1;
		next if $failed->{ $source->{uuid} } && @$found <= 1;
		if (@$found != 1)
		{
			push @problems, "$what: " . scalar(@$found) . ' live toggles';
			next;
		}
		push @problems, "$what: its title is \"$found->[0]{text}\""
		  unless $found->[0]{title} =~ /\b$source->{number}$/;
		my $text = $found->[0]{text};
		my $expected = $self->expected_text($source->{text});
		push @problems, "$what: text differs\n  source: " . _excerpt($expected, $text)
		  . "\n  Notion: " . _excerpt($text, $expected)
		  if $text ne $expected;
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
		push @blocks, ["p/$page->{uuid}", 'toggle'] if $page->{ready};
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
	my ($self, $book, $page, $at, $failed) = @_;
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

		next if $failed->{ $key =~ s{.*/}{}r };
		push @problems, "$key: " . scalar(@$found) . ' live blocks' if @$found != 1;
		next unless $block && defined $text;
		push @problems, "$key: is a $block->{type}" if $block->{type} ne $type;
		push @problems, "$key: text differs\n  source: " . _excerpt($text, $block->{title})
		  . "\n  Notion: " . _excerpt($block->{title}, $text)
		  if $block->{title} ne $text;
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

# All that is wrong at Notion for users.
sub problems_of
{
	my ($self, @users) = @_;
	my $list = join(',', @users);
	my %wanted = map { $_ => 1 } @users;
	my %failed = map { $_->{item_id} => 1 } @{
		$self->rows("SELECT item_id FROM rmsync.sync_queue WHERE user_id IN ($list) AND status = 'failed'") };
	my %pages;
	my @problems;

	push @{ $pages{ $_->{marker} } }, $_ foreach $self->pages(@users == 1 ? @users : ());
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
		push @problems, map { "$name: $_" }
		  $self->page_problems($book, $page, $at->{newest_first}, \%failed);
		push @problems, map { "$name: $_" }
		  $self->block_problems($book, $page, $at, \%failed);
	}
	push @problems, "a live page with the marker $_, which is not in the source"
	  foreach grep { /^(\d+):notebook:/ && $wanted{$1} } sort keys %pages;
	return @problems;
}

# All that is wrong at Notion, in the ledger and in the stand-in itself for users
# (all, if none is named).
sub all_problems_of
{
	my ($self, @users) = @_;

	@users = sort { $a <=> $b } keys %{ $self->{users} } unless @users;
	my $list = join(',', @users);
	return (
		$self->problems_of(@users),
		(map { "ledger: user $_->{user_id}, $_->{item_type} $_->{item_id}: $_->{status}" } @{
			$self->rows("SELECT r.user_id, r.item_type, r.item_id, r.status FROM rmsync.sync_records r
				WHERE r.user_id IN ($list) AND (r.status <> 'success' OR r.intent IS NOT NULL)
				AND NOT EXISTS (SELECT FROM rmsync.sync_queue q WHERE q.user_id = r.user_id AND q.item_id = r.item_id)
				AND (r.intent IS NOT NULL OR NOT EXISTS (SELECT FROM pages p WHERE p.page_uuid = r.item_id
					AND (p.ocr_status <> 'completed' OR p.ocr_text IS NULL)))") }),
		(map { "the stand-in failed: $_" } @{ $self->{fake}->get('/_stats')->{bugs} }));
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

# What an answer that never came, or said nothing, leaves unknown.
my %silent = map { $_ => 1 } qw(close_before_read close reset hang
  commit_close commit_reset commit_hang commit_500 commit_503 commit_502_html
  commit_504 reject_500 reject_503 reject_503_db reject_504 reject_502_html
  truncated_json short_body empty_200);

# Writes that must happen once.
sub _adds
{
	my ($entry) = @_;
	return $entry->{method} eq 'POST' && $entry->{path} =~ m{/v1/pages$}
	  || $entry->{method} eq 'PATCH' && $entry->{path} =~ m{/children$};
}

# Passes if after every write whose outcome was unknown Notion was looked at
# before the next such write of that user, or the block it went to was deleted.
# For users with one notebook.
sub no_blind_resend
{
	my ($self, $name, @arrivals) = @_;
	my %open;
	my %parent;
	my %unknown;
	my @problems;

	foreach my $entry (@arrivals)
	{
		my $user = $entry->{user} // '?';
		if (_adds($entry))
		{
			push @problems, "$entry->{method} $entry->{path} of $user after $open{$user}"
			  if $open{$user};
			delete $open{$user};
			next unless $silent{ $entry->{fault} // '' };
			$open{$user} = "$entry->{fault} of arrival $entry->{n}";
			($parent{$user}) = $entry->{path} =~ m{^(.*)/children$};
			$unknown{$user}++;
		}
		elsif ($entry->{method} eq 'GET' || $entry->{path} =~ m{/query$})
		{
			delete $open{$user} if ($entry->{status} // 0) == 200;
		}
		elsif ($entry->{method} eq 'DELETE' && $entry->{path} eq ($parent{$user} // ''))
		{
			delete $open{$user} if defined $entry->{status};
		}
	}
	ok(!@problems, "$name: nothing was sent again before Notion was looked at");
	diag($_) foreach @problems[ 0 .. ($#problems > 9 ? 9 : $#problems) ];
	return scalar keys %unknown;
}

1;
