# What users copy and move at Notion carries our marker and is theirs all the
# same; what we have made twice ourselves is put away.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '2s' });
my $user = 0;

sub fresh
{
	my (%config) = @_;
	my $n = ++$user;

	$t->add_user($n);
	my $book = $t->add_notebook($n, "Book of $n", [ map { "page $_\n\n- one of $_\n- two of $_" } 1 .. 4 ]);
	$t->connect($n, resolve_delays_ms => [ 50, 100 ], %config);
	$t->settled("user $n", user => $n);
	return $book;
}

# A request as our connection makes it.
sub api
{
	my ($who, $method, $path, $body) = @_;
	my $response = http_request(
		$method, $t->fake->url("/v1$path"), $body,
		'authorization' => "Bearer ntn_user$who",
		'notion-version' => '2026-03-11');
	die "$method $path: $response->{content}" unless $response->{success};
	return $response->{json};
}

# A toggle as ours, made by our connection; answers its id.
sub our_double
{
	my ($page, $block) = @_;
	return api($user, 'PATCH', "/blocks/$page/children",
		{ children => [ {
				type => 'toggle',
				toggle => {
					rich_text => [ { type => 'text', text => { content => $block->{title}, link => { url => $block->{href} } }, annotations => { bold => JSON::PP::true } } ],
					children => [ { type => 'paragraph', paragraph => { rich_text => [ { type => 'text', text => { content => 'ours' } } ] } } ] } } ]
		})->{results}[0]{id};
}

sub live
{
	my ($id) = @_;
	return scalar grep { $_ eq $id } live_ids();
}

sub live_ids
{
	my $dump = $t->fake->get("/_dump?user=user$user");
	return map { $_->{id} } @{ $dump->{pages} }, @{ $dump->{blocks} };
}

# Every page of the source has one toggle that we have made in a page at Notion,
# with its text, in order; "beside" are blocks that are not to be counted.
sub judge
{
	my ($name, $book, $page, @beside) = @_;
	my %beside = map { $_ => 1 } @beside;
	my @blocks = grep { !$_->{created_by_user} && !$beside{ $_->{id} } && ($_->{href} // '') =~ m{/p/} }
	  @{ $t->fake->get("/_text?page=$page")->{blocks} };
	my @texts = map { $_->{text} } @{ $t->rows("SELECT p.ocr_text AS text FROM notebook_pages m JOIN pages p ON p.id = m.page_id
		WHERE m.notebook_id = $book->{id} ORDER BY m.page_number") };

	is_deeply([ map { $_->{text} } @blocks ], [ map { RmsyncNotionJudge::lines_of($_) } @texts ], "$name: every page once, by us");
	is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id = $user AND (status <> 'success' OR intent IS NOT NULL)"), '0', "$name: nothing is open");
	is_deeply($t->fake->get('/_stats')->{bugs}, [], "$name: the stand-in is well");
	return;
}

# An append gets no answer: the page is listed.
sub look
{
	my ($name, $book, $n, $text) = @_;
	my $since = $t->arrived;
	$t->notion({ fault => 'commit_close', match => { method => 'PATCH', path => '/children$', user => "user$user" }, times => 1 });
	$t->edit_page($book->{pages}[ $n - 1 ], $text);
	$t->settled($name, user => $user);
	ok((grep { ($_->{fault} // '') eq 'commit_close' } $t->arrivals(since => $since)), "$name: the page was looked at");
	return;
}

my $completely = "completely other\n\nwords\n\nstand here\n\nby now";

# ---------------------------------------------------------- copies of toggles

my $book = fresh();
my $page = $t->page_of($book)->{id};
my @toggles = $t->blocks_of($book);
my $copy = $t->notion({ cmd => 'duplicate', id => $toggles[1]{id} })->{id};
my $note = $t->notion({ cmd => 'user_block', parent => $copy, text => 'notes of the user' })->{id};
my $pasted = $t->notion({ cmd => 'user_block', parent => $page, block => {
			paragraph => { rich_text => [ { text => { content => $toggles[1]{title}, link => { url => $toggles[1]{href} } }, annotations => { bold => JSON::PP::true } } ] } } })->{id};
look('a copy', $book, 2, $completely);
ok(live($_), 'a copy: what the user made is there') foreach $copy, $note, $pasted;
judge('a copy', $book, $page);
ok(!live($toggles[1]{id}), 'a copy: the old toggle was replaced');

# The page that was copied goes, and another comes: its copy is not taken for it.
$t->notion({ cmd => 'trash', id => ($t->blocks_of($book))[0]{id} });
my $second = $t->notion({ cmd => 'duplicate', id => $toggles[2]{id} })->{id};
$t->notion({ cmd => 'trash', id => $toggles[2]{id} });
look('the original is gone', $book, 3, "other\n\n$completely");
ok(live($_), 'the original is gone: what the user made is there') foreach $copy, $note, $pasted, $second;

# ------------------------------------------------------------- our own doubles

$book = fresh();
$page = $t->page_of($book)->{id};
@toggles = $t->blocks_of($book);
my $double = our_double($page, $toggles[1]);
my $written_in = our_double($page, $toggles[2]);
$note = $t->notion({ cmd => 'user_block', parent => $written_in, text => 'notes in a double' })->{id};
look('doubles of ours', $book, 2, $completely);
ok(!live($double), 'a double of ours is deleted');
ok(live($written_in), 'not of a page that was not due');
look('a double in which the user wrote', $book, 3, "other\n\n$completely");
ok(live($note), 'nor one in which the user wrote');
judge('doubles of ours', $book, $page, $written_in);

# Deeper down, and behind a hundred blocks.
$double = our_double($page, $toggles[3]);
my $list = api($user, 'PATCH', "/blocks/$double/children", { children => [ map { { type => 'bulleted_list_item', bulleted_list_item => { rich_text => [ { type => 'text', text => { content => "item $_" } } ] } } } 1 .. 100 ] });
my $item = api($user, 'PATCH', "/blocks/$double/children", { children => [ { type => 'toggle', toggle => { rich_text => [ { type => 'text', text => { content => 'deep' } } ] } } ] })->{results}[0]{id};
$note = $t->notion({ cmd => 'user_block', parent => $item, text => 'deep notes' })->{id};
look('deep notes', $book, 4, "deep\n\n$completely");
ok(live($note), 'notes that stand deep in a double are kept');
$t->notion({ cmd => 'trash', id => $note });
look('no deep notes', $book, 4, "nothing\n\nof all this\n\nwas there before");
ok(!live($double), 'without them it is deleted');
judge('deep notes', $book, $page, $written_in);

# Nobody has told who we are: those who made what the ledger knows.
$double = our_double($page, $toggles[3]);
$t->sql("UPDATE rmsync.integration_configs SET remote = remote - 'bots' WHERE user_id = $user; SELECT rmsync_worker_restart()");
look('nameless', $book, 4, "nameless\n\n$completely");
ok(!live($double), 'nameless: a double of ours is known all the same');
judge('nameless', $book, $page, $written_in);

# --------------------------------------------------------- the ledger is lost

$book = fresh();
$page = $t->page_of($book)->{id};
@toggles = $t->blocks_of($book);
$copy = $t->notion({ cmd => 'duplicate', id => $toggles[1]{id} })->{id};
# times are told to the minute
$t->notion({ cmd => 'advance', seconds => 120 });
$t->notion({ cmd => 'move', id => $copy, index => 0 });
my $page_copy = $t->notion({ cmd => 'duplicate', id => $page })->{id};
$note = $t->notion({ cmd => 'user_block', parent => $page_copy, text => 'notes in a copy' })->{id};
my $marker = $t->page_of($book)->{marker};
my $made = sub {
	return api($user, 'POST', '/pages', { parent => { type => 'data_source_id', data_source_id => $t->{users}{$user}{source} },
			properties => { 'rmirror ID' => { rich_text => [ { text => { content => $marker } } ] } } })->{id};
};
my ($empty, $noted) = ($made->(), $made->());
$t->notion({ cmd => 'user_block', parent => $noted, text => 'notes in a double' });
$t->sql("DELETE FROM rmsync.sync_records WHERE user_id = $user");
my $since = $t->arrived;
$t->sql("SELECT rmsync_reconcile('notion', $user)");
$t->settled('the ledger is lost', user => $user);
is($t->sql("SELECT external_id FROM rmsync.sync_records WHERE user_id = $user AND item_type = 'notebook_metadata'"), $page, 'the ledger is lost: the page is ours, not the copy');
ok(live($_), 'the ledger is lost: what the user made is there') foreach $copy, $page_copy, $note, $noted;
ok(!live($empty), 'the ledger is lost: an empty double of ours is in the trash');
judge('the ledger is lost', $book, $page);
is(scalar(grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' } $t->arrivals(since => $since)), 0, 'the ledger is lost: no page was created');
# the copy of the page is as it was: nothing is written to it
is(scalar(grep { $_->{path} =~ /$page_copy/ && $_->{method} ne 'GET' } $t->arrivals(since => $since)), 0, 'and the copy was left alone');

# ------------------------------------------------------------- what is moved

$book = fresh();
$page = $t->page_of($book)->{id};
@toggles = $t->blocks_of($book);
my $elsewhere = $t->notion({ cmd => 'create_page', user => "user$user", title => 'Elsewhere' })->{id};
$t->notion({ cmd => 'move', id => $toggles[0]{id}, to => $elsewhere });
$t->edit_page($book->{pages}[0], "page 1\n\n- one of 1, edited\n- two of 1");
$t->settled('moved away', user => $user);
is(($t->fake->get("/_text?page=$elsewhere")->{blocks})->[0]{id}, $toggles[0]{id}, 'a toggle that was moved away stays where the user wants it');
is(($t->fake->get("/_text?page=$elsewhere")->{blocks})->[0]{text}, "page 1\none of 1, edited\ntwo of 1", 'and is kept up there');
look('moved away', $book, 2, $completely);
ok(live($toggles[0]{id}), 'when it is missed it stays, too');
$t->settled('missed', user => $user);
judge('moved away', $book, $page);
# into another notebook's page
my $other = $t->add_notebook($user, 'Other', [ 'other 1', 'other 2' ]);
$t->settled('another notebook', user => $user);
my $other_page = $t->page_of($other)->{id};
my ($moved) = $t->blocks_of($book);
$t->notion({ cmd => 'move', id => $moved->{id}, to => $other_page });
look('into another notebook', $other, 2, $completely);
ok(live($moved->{id}), 'a toggle that was moved into another notebook stays there');
# back and forth within the page
$t->notion({ cmd => 'move', id => ($t->blocks_of($book))[2]{id}, index => 0 });
look('moved up', $book, 4, "up\n\n$completely");
judge('moved up', $book, $page);

# ------------------------------------------------------------- copies of rows

my $database = $t->notion({ cmd => 'create_database', user => "user$user", preset => 'todos' });
my $todo = $t->sql("SELECT test.add_todo($book->{pages}[0], 'a to-do')");
my $config = encode_json({ api_token => "ntn_user$user", database_id => $database->{id} });
$t->sql("SELECT rmsync_connect($user, 'notion-todos', '$config')");
$t->settled('to-dos', user => $user);
my $row = $t->sql("SELECT external_id FROM rmsync.sync_records WHERE user_id = $user AND item_type = 'todo'");
$copy = $t->notion({ cmd => 'duplicate', id => $row })->{id};
$t->notion({ cmd => 'edit_text', id => $copy, text => 'another to-do of the user' });
$t->sql("DELETE FROM rmsync.sync_records WHERE user_id = $user AND item_type = 'todo'; SELECT rmsync_reconcile('notion-todos', $user)");
$t->settled('to-dos, the ledger is lost', user => $user);
is($t->sql("SELECT external_id FROM rmsync.sync_records WHERE user_id = $user AND item_type = 'todo'"), $row, 'a row that was duplicated: ours is the first');
ok(live($copy), 'and the copy is the user\'s');

$t->stop;
done_testing();
