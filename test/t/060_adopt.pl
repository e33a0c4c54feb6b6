# Taking over what the host application's own sync has brought to Notion: what
# is there stays as it is, and nothing comes twice.
use strict;
use warnings;
use utf8;

use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(conf => { 'restart_after_crash' => 'on' });

# The host's database, as its own code creates it.
my %columns = (
	'Name' => { title => {} },
	'UUID' => { rich_text => {} },
	'Path' => { rich_text => {} },
	'Tags' => { multi_select => { options => [] } },
	'Pages' => { number => { format => 'number' } },
	'Last Opened' => { date => {} },
	'Last Modified' => { date => {} },
	'Synced At' => { date => {} },
	'Status' => { select => { options => [ map { { name => $_ } } qw(Synced Pending Error) ] } });

# ------------------------------------------------ what the host's code does

sub api
{
	my ($user, $method, $path, $body) = @_;
	my $response = http_request(
		$method, $t->fake->url("/v1$path"), $body,
		'authorization' => "Bearer $t->{users}{$user}{token}",
		'notion-version' => '2026-03-11');

	die "$method $path: $response->{content}" unless $response->{success};
	return $response->{json};
}

sub rich
{
	my ($text, $bold) = @_;
	return [ { type => 'text', text => { content => $text }, $bold ? (annotations => { bold => JSON::PP::true }) : () } ];
}

# The page of a notebook, with its heading.
sub host_page
{
	my ($book, $name) = @_;
	my $user = $book->{user};
	my $page = api(
		$user, 'POST', '/pages',
		{
			parent => { type => 'data_source_id', data_source_id => $t->{users}{$user}{source} },
			properties => {
				'Name' => { title => rich($name) },
				'UUID' => { rich_text => rich($book->{uuid}) },
				'Tags' => { multi_select => [ { name => $name } ] },
				'Status' => { select => { name => 'Synced' } } } });

	api($user, 'PATCH', "/blocks/$page->{id}/children",
		{ children => [ { type => 'heading_2', heading_2 => { rich_text => rich('Notebook Content') } } ] });
	return $book->{at} = $page->{id};
}

# A toggle at the end of it, one paragraph per line; answers its id.
sub host_toggle
{
	my ($book, $n, $text, $suffix) = @_;
	my @lines = grep { $_ ne '' } split /\n/, $text;

	return api(
		$book->{user}, 'PATCH', "/blocks/$book->{at}/children",
		{
			children => [
				{
					type => 'toggle',
					toggle => {
						rich_text => rich("📄 Page $n" . ($suffix // ''), 1),
						children => [ map { { type => 'paragraph', paragraph => { rich_text => rich($_) } } } @lines ] } }
			] })->{results}[0]{id};
}

# The host's records.
sub record
{
	my ($book, $type, $item, $page, $number, $external, $hash) = @_;

	$t->sql('INSERT INTO sync_records (user_id, content_hash, target_name, external_id, item_type, item_id, status, synced_at, page_uuid, notebook_uuid, page_number)
		VALUES (' . join(', ', $book->{user}, $hash, "'notion'", RmsyncNotion::quote($external), "'$type'", RmsyncNotion::quote($item),
		"'success'", 'now()', defined $page ? "(SELECT page_uuid FROM pages WHERE id = $page)" : 'NULL',
		$type eq 'page_text' || $item ne $book->{uuid} ? "'$book->{uuid}'" : 'NULL', $number // 'NULL') . ')');
	return;
}

sub record_notebook
{
	my ($book) = @_;
	record($book, 'notebook', $book->{id}, undef, undef, $book->{at}, "'notebook'");
	return;
}

# Page n as the worker records it: by the hash of OCR, or of connecting.
sub record_page
{
	my ($book, $n, $toggle, $text) = @_;
	my $page = $book->{pages}[ $n - 1 ];
	my $quoted = RmsyncNotion::quote($text);

	record($book, 'page_text', $page, $page, $n, $toggle, $n % 2
		? "rmsync_fingerprint_host_page('$book->{uuid}', $n, (SELECT page_uuid FROM pages WHERE id = $page), $quoted)"
		: "rmsync_fingerprint_host_initial($quoted)");
	return;
}

# A notebook delivered by the worker, its toggles in the order given.
sub delivered
{
	my ($book, $name, $texts, @order) = @_;

	host_page($book, $name);
	record_notebook($book);
	foreach my $n (@order)
	{
		my $text = $texts->[ $n - 1 ];
		record_page($book, $n, $book->{toggles}{$n} = host_toggle($book, $n, $text), $text);
	}
	return $book;
}

sub host_user
{
	my ($user, $enabled) = @_;
	my $at = $t->add_user($user, preset => undef, title => 'rMirror Notebooks', properties => \%columns);
	my $config = JSON::PP->new->canonical->encode(
		{
			access_token => $at->{token}, workspace_id => 'w', workspace_name => 'W',
			database_id => $at->{database}, database_title => 'rMirror Notebooks', available_properties => [] });

	$t->sql("INSERT INTO integration_configs (user_id, target_name, config_encrypted, is_enabled)
		VALUES ($user, 'notion', " . RmsyncNotion::quote($config) . ', ' . ($enabled // 'true') . ')');
	return;
}

# --------------------------------------------------------- what is at Notion

# The toggles of a notebook's page: [number, id, text] in order.
sub toggles
{
	my ($book) = @_;
	return map { [ $_->{title} =~ /(\d+)/ ? $1 : '?', $_->{id}, $_->{text} ] }
	  grep { $_->{type} eq 'toggle' } @{ $t->fake->get("/_text?page=$book->{at}")->{blocks} };
}

sub numbers
{
	return join(' ', map { $_->[0] } toggles(@_));
}

# Every page of the notebook once, with the source's text.
sub same_text
{
	my ($name, $book) = @_;
	my %text = map { $_->{number} => RmsyncNotionJudge::lines_of($_->{text}) } @{
		$t->rows("SELECT m.page_number AS number, p.ocr_text AS text FROM notebook_pages m JOIN pages p ON p.id = m.page_id
			WHERE m.notebook_id = $book->{id} AND p.ocr_status = 'completed'") };
	my %found;

	push @{ $found{ $_->[0] } }, $_->[2] foreach toggles($book);
	return is_deeply(\%found, { map { $_ => [ $text{$_} ] } keys %text }, "$name: every page once, with its text");
}

sub ids
{
	return { map { $_->[0] => $_->[1] } toggles(@_) };
}

# Requests since then that write, but for properties and columns.
sub writes
{
	my ($since) = @_;
	return grep {
		$_->{method} eq 'DELETE' || $_->{path} =~ m{/children$} && $_->{method} eq 'PATCH'
		  || $_->{path} =~ m{/v1/pages$} || $_->{method} eq 'PATCH' && $_->{path} =~ m{/v1/blocks/}
	} $t->arrivals(since => $since);
}

sub live_pages
{
	my ($user) = @_;
	my $dump = $t->fake->get("/_dump?user=user$user");
	return scalar(@{ $dump->{pages} });
}

sub no_writes
{
	my ($name, $since) = @_;
	my @writes = writes($since);
	return is(RmsyncNotion::summary(@writes), '', "$name: nothing is written");
}

# ------------------------------------------------------------ the take-over

host_user(1);
my %book;
my @texts = map { "line one of page $_\n\nline two of page $_" } 1 .. 8;

# as after connecting: the highest number first
$book{down} = delivered($t->add_notebook(1, 'Down', [ @texts[ 0 .. 4 ] ]), 'Down', \@texts, 5, 4, 3, 2, 1);
# grown since then: new pages, and updates of the first one, come to the end
$book{up} = delivered($t->add_notebook(1, 'Up', \@texts), 'Up', \@texts, 2, 1, 4, 5, 6, 7, 8, 3);
# by the older code, which records no pages: a hash is in the title
$book{old} = $t->add_notebook(1, 'Old', [ @texts[ 0 .. 2 ] ]);
host_page($book{old}, 'Old');
record($book{old}, 'notebook', $book{old}{uuid}, undef, undef, $book{old}{at}, "'f10'");
foreach my $n (3, 2, 1)
{
	my $text = $n == 2 ? 'what it was' : $texts[ $n - 1 ];
	my $json = JSON::PP->new->ascii->encode([$text]);
	$json =~ s/^\[|\]$//g;
	host_toggle($book{old}, $n, $text, ' [' . substr(sha256_hex("{\"page_number\": $n, \"text\": $json}"), 0, 8) . ']');
}
# whose records are lost: the notebook's, or all
$book{half} = delivered($t->add_notebook(1, 'Half', [ @texts[ 0 .. 1 ] ]), 'Half', \@texts, 2, 1);
$book{lost} = delivered($t->add_notebook(1, 'Lost', [ @texts[ 0 .. 1 ] ]), 'Lost', \@texts, 2, 1);
$t->sql("DELETE FROM sync_records WHERE item_type = 'notebook' AND notebook_uuid IN ('$book{half}{uuid}', '$book{lost}{uuid}')");
$t->sql("DELETE FROM sync_records WHERE notebook_uuid = '$book{lost}{uuid}'");
# never delivered
my $new = $t->add_notebook(1, 'New', ['new']);
my %order = map { $_ => numbers($book{$_}) } keys %book;
my %ids = map { $_ => ids($book{$_}) } keys %book;
is($order{up}, '2 1 4 5 6 7 8 3', 'the stand-in holds what the host has made');
is(live_pages(1), 6, 'that is five pages and the one that holds the database');

my $since = $t->arrived;
my $preview = decode_json($t->sql("SELECT rmsync_adopt('notion', preview => true)"));
is_deeply(
	$preview->{items},
	{ notebook_metadata => { adopted => 4, create => 2 }, page_text => { unchanged => 15, create => 6 } },
	'the preview says what is to be done');
is($preview->{host_sync}{at_work}, JSON::PP::true, 'and that the host is still at work');
is($t->arrived, $since, 'and asks nobody');
is($t->sql('SELECT count(*) FROM rmsync.integration_configs'), '0', 'and writes nothing');

my ($out, $err);
$t->node->psql('postgres', "BEGIN; SELECT rmsync_adopt('notion', 1); $preview->{host_sync}{disable}; COMMIT", stdout => \$out, stderr => \$err);
like($err, qr/NOTICE:  the host's own sync to "notion" is still at work: 1 enabled/, 'the host\'s sync is spoken of');
is($t->sql("SELECT count(*) FROM integration_configs WHERE is_enabled"), '0', 'and switched off by the statement offered');
$t->settled('take-over');
note('take-over: ' . RmsyncNotion::summary($t->arrivals(since => $since)));

foreach my $name (sort keys %book)
{
	is(numbers($book{$name}), $order{$name}, "$name: the order is kept");
	same_text($name, $book{$name});
	next if $name eq 'old' || $name eq 'lost';
	is_deeply(ids($book{$name}), $ids{$name}, "$name: the toggles are the host's");
}
is(ids($book{old})->{$_}, $ids{old}{$_}, "old: toggle $_ is the host's") foreach 1, 3;
isnt(ids($book{old})->{2}, $ids{old}{2}, 'old: the one with another text was replaced');
is(live_pages(1), 7, 'one page was created');
is(scalar(grep { $_->{path} =~ m{/v1/pages$} } $t->arrivals(since => $since)), 1, 'for the notebook that was not there');
ok($t->page_of($new), 'the new notebook');
is($t->page_of($_)->{id}, $_->{at}, 'the pages carry our marker') foreach @book{ sort keys %book };
my %creates = map { $_->{path} => 1 } grep { $_->{method} eq 'PATCH' && $_->{path} =~ /children$/ } writes($since);
is(join(' ', sort keys %creates),
	join(' ', sort map { "/v1/blocks/$_/children" } $book{old}{at}, $book{lost}{at}, $t->page_of($new)->{id}),
	'texts went to the notebooks that lacked one');
is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE status <> 'success' OR intent IS NOT NULL"), '0', 'nothing is open');

$since = $t->arrived;
$t->sql("SELECT rmsync_adopt('notion')");
$t->settled('take-over again');
is($t->arrived, $since, 'a second take-over sends nothing');
$t->sql("SELECT rmsync_trigger('notion')");
$t->settled('all notebooks again');
is($t->arrived, $since, 'nor does a look at everything');

# ------------------------------------------------------------- and from now on

$since = $t->arrived;
$t->edit_page($book{down}{pages}[2], $texts[2] = 'page 3, edited');
$t->settled('edit');
is(numbers($book{down}), '5 4 3 2 1', 'an edited page stays at its place');
same_text('edit', $book{down});
is(scalar(writes($since)), 2, 'with one append and one deletion');
my %after = %{ ids($book{down}) };
isnt($after{3}, $ids{down}{3}, 'its toggle was replaced');
is($after{$_}, $ids{down}{$_}, "that of page $_ was not") foreach 1, 2, 4, 5;

$t->sql("SELECT test.add_page($book{down}{id}, 6, 'page 6')");
$t->sql("SELECT test.add_page($book{up}{id}, 9, 'page 9')");
$t->settled('new pages');
is(numbers($book{down}), '6 5 4 3 2 1', 'a new page comes first where the highest number is first');
is(($t->blocks_of($book{down}))[0]{type}, 'heading_2', 'below the heading');
like(numbers($book{up}), qr/^2 1 4 5 6 7 8 (?:9 3|3 9)$/, 'and to the end elsewhere');
same_text('new pages', $book{$_}) foreach qw(down up);

# A stray is put right when it is written for another reason.
$t->edit_page($book{up}{pages}[2], 'page 3, edited');
$t->settled('edit of a page out of line');
unlike(numbers($book{up}), qr/8 (?:9 )?3/, 'an edited page that stood out of line goes where it belongs');
same_text('edit of a page out of line', $book{up});

# A page moves: only numbers change.
$since = $t->arrived;
my @pages = @{ $book{half}{pages} };
$t->arrange($book{half}, reverse @pages);
$t->settled('pages change places');
same_text('pages change places', $book{half});

# A user deletes a toggle and edits its page.
$t->notion({ cmd => 'delete_block', id => $after{2} });
$t->edit_page($book{down}{pages}[1], 'page 2, edited');
$t->settled('a deleted toggle');
same_text('a deleted toggle', $book{down});

# Another look of the pages: all are written anew, the host's toggles go.
$t->connect(1, page_order => 'newest_first', page_title => '📖 Page {n}', workspace_id => 'w', workspace_name => 'W', database_title => 'rMirror Notebooks');
$t->settled('another title');
$t->equal('another title', 1);
foreach my $name (sort keys %book)
{
	same_text("another title, $name", $book{$name});
	is(join('', grep { $_->{title} =~ /📄/ } $t->blocks_of($book{$name})), '', "another title, $name: none of the host's is left");
}

# ----------------------------------------- what was deleted before the take-over

host_user(2, 'false');
my $gone = delivered($t->add_notebook(2, 'Gone', \@texts), 'Gone', \@texts, reverse 1 .. 8);
my $trashed = delivered($t->add_notebook(2, 'Trashed', [ @texts[ 0 .. 1 ] ]), 'Trashed', \@texts, 2, 1);
$t->notion({ cmd => 'delete_block', id => $gone->{toggles}{4} }, { cmd => 'trash', id => $trashed->{at} });
$since = $t->arrived;
$t->sql("SELECT rmsync_adopt('notion', 2)");
is($t->sql('SELECT is_enabled FROM rmsync.integration_configs WHERE user_id = 2'), 'f', 'off at the host is off here');
is($t->arrived, $since, 'and nothing is sent');
$t->sql("SELECT rmsync_enable(2, 'notion')");
$t->settled('deleted before', user => 2);
is(numbers($gone), '8 7 6 5 4 3 2 1', 'a toggle that was deleted comes back at its place');
same_text('deleted before', $gone);
is(ids($gone)->{$_}, $gone->{toggles}{$_}, "that of page $_ is the host's") foreach 1 .. 3, 5 .. 8;
isnt($t->page_of($trashed)->{id}, $trashed->{at}, 'a page in the trash is created anew');
is(scalar($t->blocks_of($trashed)), 2, 'with its pages');
my @appends = grep { $_->{path} eq "/v1/blocks/$gone->{at}/children" && $_->{method} eq 'PATCH' } $t->arrivals(since => $since);
is(scalar(@appends), 1, 'once');

# ------------------------------------------------------------- interruptions

# Killed while it lists, appends, deletes, marks: each with a user of its own.
my %moments = (
	3 => { method => 'GET', path => '/blocks/.*/children' },
	4 => { method => 'PATCH', path => '/blocks/.*/children' },
	5 => { method => 'DELETE' },
	6 => { method => 'PATCH', path => '/pages/' });
foreach my $user (sort keys %moments)
{
	my $kind = $moments{$user};
	host_user($user);
	my @books = map {
		delivered($t->add_notebook($user, "Book $_", [ @texts[ 0 .. 3 ] ]), "Book $_", \@texts, 4, 3, 2, 1)
	} 1 .. 2;
	$_->{before} = ids($_) foreach @books;
	$t->edit_page($_->{pages}[1], 'edited before the take-over') foreach @books;
	$since = $t->arrived;

	$t->notion({ fault => $kind->{method} eq 'GET' ? 'hang' : 'commit_hang', match => { %$kind, user => "user$user" }, times => 1 });
	$t->sql("SELECT rmsync_adopt('notion', $user)");
	wait_until(sub { grep { ($_->{fault} // '') =~ /hang/ } $t->arrivals(since => $since, user => "user$user") },
		"$kind->{method}: a request is under way");
	my ($pid) = worker_pids($t->node);
	signal_worker('KILL', $pid);
	ok($t->node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)"), 'the server is back');
	$t->settled('interrupted', user => $user);
	foreach my $book (@books)
	{
		is(numbers($book), '4 3 2 1', 'the order is kept');
		same_text('interrupted', $book);
		is_deeply([ @{ ids($book) }{ 1, 3, 4 } ], [ @{ $book->{before} }{ 1, 3, 4 } ], 'the toggles of the others are the host\'s');
	}
	is(scalar(grep { $_->{path} =~ m{/v1/pages$} } $t->arrivals(since => $since)), 0, 'no page was created');
}
is_deeply($t->fake->get('/_dump')->{duplicates}, [], 'nothing is there twice');

$t->stop;
done_testing();
