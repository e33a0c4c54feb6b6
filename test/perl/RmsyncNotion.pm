# A server with rmsync, the host application's tables and a stand-in for
# Notion; and the judge (RmsyncNotionJudge.pm): what the source says against what
# Notion holds.
#
#	use RmsyncNotion;
#	my $t = RmsyncNotion->new(conf => {...}, fake => ['--rate', 0]);
#	$t->add_user(1);
#	my $book = $t->add_notebook(1, 'Journal', \@texts);
#	$t->connect(1);
#	$t->settled('first sync');
#	$t->equal('first sync');
package RmsyncNotion;

use strict;
use warnings;
use utf8;
use parent 'RmsyncNotionJudge';

use Carp qw(croak);
use Encode qw(encode_utf8 decode_utf8);
use JSON::PP;
use MIME::Base64 ();
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

# A database of to-dos for a user; options are those of create_database.
sub add_todo_database
{
	my ($self, $user, %opt) = @_;
	my $made = $self->notion({ cmd => 'create_database', user => "user$user", preset => 'todos', %opt });

	$self->{users}{$user}{todo_database} = $made->{id};
	$self->{users}{$user}{todo_source} = $made->{data_source_id};
	return $made;
}

# Connects a user's to-dos; more fields of the configuration as named.
sub connect_todos
{
	my ($self, $user, %config) = @_;
	my $at = $self->{users}{$user};
	my $json = JSON::PP->new->canonical->encode({ api_token => $at->{token}, database_id => $at->{todo_database}, %config });

	$self->sql("SELECT rmsync_connect($user, 'notion-todos', " . quote($json) . ')');
	return;
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
		$at->{layout} = $config{layout} // 'full';
		$at->{page_title} = $config{page_title} // '📄 Page {n}';
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

# What the application does: exchanges a code, or a refresh token.
sub exchange
{
	my ($self, $client_secret, %body) = @_;
	my $basic = MIME::Base64::encode_base64("rmirror:$client_secret", '');

	return http_post_json($self->fake->url('/v1/oauth/token'),
		\%body, Authorization => "Basic $basic", 'Notion-Version' => '2026-03-11');
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
# marker, as the stand-in's /_notebooks tells them; with "lines", all that is in
# their toggles, too, with "shallow" nothing of it.
sub pages
{
	my ($self, $user, %opt) = @_;
	my $query = join('&', defined $user ? "user=user$user" : (), map { "$_=1" } grep { $opt{$_} } qw(lines shallow));
	my @pages = @{ $self->{fake}->get("/_notebooks?$query") };

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

1;
