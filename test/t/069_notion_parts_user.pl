# A notebook that is split over several pages at Notion, and what its user does
# there: ticks in any of its parts are read back, a part that he throws away is
# noticed, and with "lost_page": "stop" what was in the trash with the
# notebook's page comes back as it was.
use strict;
use warnings;
use utf8;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

# The test says when to look.
my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	conf => { 'rmsync.todo_poll_interval' => '1h', 'rmsync.http_timeout' => '2s' });
my $node = $t->node;
my $true = JSON::PP::true;
my $since;

# ------------------------------------------------------------- helpers

# What the host says of to-dos, and what Notion does: "a:t b:f".
sub host
{
	my ($user) = @_;
	return $t->sql("SELECT coalesce(string_agg(text || ':' || left(completed::text, 1), ' ' ORDER BY id), '') FROM todos WHERE user_id = $user");
}

sub notion
{
	my ($book) = @_;
	return join(' ', map { "$_->{title}:" . ($_->{checked} ? 't' : 'f') } grep { $_->{type} eq 'to_do' } $t->blocks_of($book));
}

sub todo
{
	my ($user, $text) = @_;
	return $t->sql("SELECT r.external_id FROM rmsync.sync_records r JOIN todos t ON t.id::text = r.item_id
		WHERE r.user_id = $user AND r.item_type = 'todo' AND t.text = '$text'");
}

sub tick
{
	my ($user, $text, $checked) = @_;
	return { cmd => 'check', id => todo($user, $text), checked => $checked ? $true : JSON::PP::false };
}

# Looks at all there is to be read.
sub look
{
	my ($user, $name) = @_;
	my $before = $t->sql('SELECT clock_timestamp()');

	$t->sql("UPDATE rmsync.integration_configs SET poll_at = now() WHERE user_id = $user AND two_way; SELECT rmsync.wake()");
	wait_for($node, "SELECT bool_and(polled_at > '$before') FROM rmsync.integration_configs WHERE user_id = $user", 't', "$name: Notion was looked at");
	return $t->settled($name, user => $user);
}

sub requests
{
	my ($user, $since) = @_;
	return RmsyncNotion::summary($t->arrivals(since => $since, user => "user$user"));
}

# What was edited is some minutes old from now on.
sub minutes_pass
{
	return $t->notion({ cmd => 'advance', seconds => shift() * 60 });
}

sub receive
{
	my ($user) = @_;
	my %became;

	foreach my $delivery (@{ $t->notion({ cmd => 'webhooks', user => "user$user" })->{deliveries} })
	{
		my $headers = RmsyncNotion::quote(encode_json($delivery->{headers}));
		my $body = RmsyncNotion::quote($delivery->{body});
		my $reason = $t->sql("SELECT rmsync_webhook_receive('notion', $headers, convert_to($body, 'UTF8')) ->> 'reason'");
		$became{ decode_json($delivery->{body})->{type} . " $reason" }++;
	}
	return join(', ', sort keys %became);
}

# A user with a notebook of seven pages in three parts, and to-dos in the last.
sub split_notebook
{
	my ($user, %config) = @_;

	$t->add_user($user);
	my $book = $t->add_notebook($user, "Journal $user", [ map { "entry $_\n\n- one of $_\n- two of $_" } 1 .. 7 ]);
	$t->sql("SELECT test.add_todo($book->{pages}[0], x) FROM unnest(ARRAY['a', 'b']) x");
	$t->connect($user, requests_per_minute => 600, split_pages => 3, todos => 'blocks', %config);
	$t->settled("user $user", user => $user);
	is(scalar(@{ $t->page_of($book)->{parts} }), 2, "user $user: the notebook has three parts");
	return $book;
}

# --------------------------------------------------- ticks, read at each look

# What has to-dos in it is ten minutes old, so that its minute is over, and not
# what was edited last.
minutes_pass(-10);
my $book = split_notebook(1, two_way => $true);
my $plain = $t->add_notebook(1, 'In one part', ['page']);
$t->sql("SELECT test.add_todo($plain->{pages}[0], 'c')");
$t->settled('with to-dos');
minutes_pass(5);
$t->add_notebook(1, 'Without to-dos', [ map { "page $_" } 1 .. 4 ]);
$t->settled('without');
minutes_pass(5);
look(1, 'first look');
is(host(1), 'a:f b:f c:f', 'nothing is ticked');

$since = $t->arrived;
look(1, 'nothing has changed');
is(requests(1, $since), '1 GET /v1/pages/*, 1 POST /v1/data_sources/*/query', 'nothing has changed: one request for the part with to-dos');
$since = $t->arrived;
$t->notion(tick(1, 'b', 1));
look(1, 'a tick');
is(host(1), 'a:f b:t c:f', 'a tick in the last part: the host has it');
is(requests(1, $since), '1 GET /v1/blocks/*/children, 1 GET /v1/pages/*, 1 POST /v1/data_sources/*/query', 'only that part was listed, and nothing is sent back');
# in the same minute, so that the time of the last edit is what it was
$t->notion(tick(1, 'a', 1), tick(1, 'b', 0));
look(1, 'two ticks');
is(host(1), 'a:t b:f c:f', 'two more in the same minute');
$t->notion(tick(1, 'c', 1));
look(1, 'a tick elsewhere');
is(host(1), 'a:t b:f c:t', 'in a notebook of one part');
$t->equal('ticks', 1);

# Both sides at once, and an edit that meets a tick.
$since = $t->arrived;
$t->notion(tick(1, 'b', 1));
$t->sql("UPDATE todos SET text = 'b, edited' WHERE user_id = 1 AND text = 'b'; UPDATE todos SET completed = false WHERE user_id = 1 AND text = 'a'");
$t->settled('both sides');
is(notion($book), 'a:f b, edited:t', 'both sides: an edit of the text leaves the tick alone');
look(1, 'both sides');
is(host(1), 'a:f b, edited:t c:t', 'both sides: and the host gets it');
$t->equal('both sides', 1);

# The to-dos move on to a new part.
$t->sql(join(";\n", map { "SELECT test.add_page($book->{id}, $_, 'entry $_')" } 8 .. 10));
$t->settled('a new part');
is(scalar(@{ $t->page_of($book)->{parts} }), 3, 'there is a fourth part');
is(notion($book), 'a:f b, edited:t', 'the to-dos are there');
$t->notion(tick(1, 'a', 1));
look(1, 'a new part');
is(host(1), 'a:t b, edited:t c:t', 'a tick in a new part: the host has it');

# With it in the trash nothing is read; what was ticked before is, when it is back.
my $part = $t->page_of($book)->{parts}[-1]{id};
$t->notion(tick(1, 'a', 0), { cmd => 'trash', id => $part });
look(1, 'in the trash');
is(host(1), 'a:t b, edited:t c:t', 'in the trash: nothing is read');
$t->notion({ cmd => 'restore', id => $part });
look(1, 'back');
is(host(1), 'a:f b, edited:t c:t', 'back: the tick before the trash arrives');
$t->equal('back', 1);

# A look ends after ten requests, and goes on in another job.
my @many = map { $t->add_notebook(1, "Many $_", [ map { "page $_" } 1 .. 4 ]) } 1 .. 12;
$t->sql("SELECT test.add_todo(p, 'of ' || p) FROM unnest(ARRAY[" . join(',', map { $_->{pages}[0] } @many) . ']) p');
$t->settled('many');
look(1, 'many');
$t->notion(map { tick(1, "of $_->{pages}[0]", 1) } @many);
look(1, 'many are ticked');
is($t->sql("SELECT count(*) FROM todos WHERE user_id = 1 AND text LIKE 'of %' AND completed"), '12', 'many are ticked: the host has all');
is($t->sql("SELECT poll_state ? 'part' FROM rmsync.integration_configs WHERE user_id = 1"), 'f', 'and the look has come to its end');

# ----------------------------------------------------------------- webhooks

$t->notion({ cmd => 'webhook_subscribe', user => 'user1', token => 'secret_1' });
$t->sql("SELECT rmsync_webhook_verification(1, 'notion', 'secret_1')");
$since = $t->arrived;
$t->notion(tick(1, 'a', 1));
is(receive(1), 'page.content_updated marked', 'a tick is told');
wait_for($node, "SELECT completed FROM todos WHERE user_id = 1 AND text = 'a'", 't', 'after a webhook the host has it');
wait_for($node, 'SELECT count(*) FROM rmsync.remote_changes', '0', 'the mark is gone');
$t->settled('a webhook', user => 1);
is(requests(1, $since), '1 GET /v1/blocks/*/children', 'only the part was read');
$since = $t->arrived;
$part = $t->page_of($book)->{parts}[0]{id};
$t->notion({ cmd => 'user_block', parent => $part, text => 'words of the reader' }, { cmd => 'edit_text', id => $part, text => 'His name (2)' });
is(receive(1), 'page.content_updated marked, page.properties_updated nothing_to_do', 'a part without to-dos is told of');
wait_for($node, 'SELECT count(*) FROM rmsync.remote_changes', '0', 'it is looked at');
is(requests(1, $since), '', 'without a request');
$t->notion({ cmd => 'trash', id => $part });
is(receive(1), 'page.deleted marked', 'a part is thrown away');
wait_until(sub { my $first = $t->page_of($book)->{parts}[0]; $first->{id} ne $part && @{ $first->{blocks} } }, 'it is made anew without waiting for a change');
wait_for($node, 'SELECT count(*) FROM rmsync.remote_changes', '0', 'that is all');
$t->settled('made anew', user => 1);
$t->equal('made anew', 1);

# ------------------------------------ lost_page stop: all comes back as it was

# Ids of what is ours in a notebook, and how many comments are there.
sub ours
{
	my ($book) = @_;
	return join(' ', map { $_->{id} } grep { ($_->{href} // '') =~ /\?rm=/ } $t->blocks_of($book));
}

sub waits
{
	my ($book, $name) = @_;
	return wait_for($node, "SELECT count(*) > 0 AND bool_and(error_code = 'page_lost' AND run_at > now()) FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}'", 't', "$name: the notebook waits");
}

sub comes_back
{
	my ($book, $id, $name) = @_;
	$t->notion({ cmd => 'restore', id => $id });
	$t->sql("SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}' LIMIT 1");
	$t->settled($name, user => $book->{user});
	$t->equal($name, $book->{user});
	return;
}

# An append of which nobody knows whether it was done is looked for in the trash.
foreach my $in (0, 1)
{
	my $name = 'an append to part ' . ($in + 1);
	my $user = 2 + $in;
	$book = split_notebook($user, lost_page => 'stop');
	my $id = $t->page_of($book)->{id};
	my $before = ours($book);
	my @pages = @{ $book->{pages} };
	my $at = $in ? 4 : 1;

	$t->notion({ cmd => 'trash', id => $id },
		{ fault => 'close_before_read', match => { method => 'PATCH', path => '/children$', user => "user$user" }, times => 1 });
	$since = $t->arrived;
	$t->edit_page($pages[$at], "> all other words\n\n> and none of before");
	waits($book, $name);
	like(requests($user, $since), qr{GET /v1/blocks/\*/children}, "$name: it was looked for");
	# another page, which need not wait for that
	$t->edit_page($pages[ $at + 1 ], "> other words\n\n> than there were");
	wait_for($node, 'SELECT count(*) FROM rmsync.sync_intake', 0, "$name: a change comes in");
	waits($book, "$name, again");
	comes_back($book, $id, "$name, back");
	my %now = map { $_ => 1 } split / /, ours($book);
	is(scalar(grep { !$now{$_} } split / /, $before), 2, "$name: two toggles were replaced, all others are what they were");
	$t->no_blind_resend($name, $t->arrivals(since => $since));
}

# The notebook's page goes while a request is under way, the one after so many,
# whose answer says that what was asked for is there.
sub goes_meanwhile
{
	my ($book, $name, $method, $path, $after, $change) = @_;
	my $id = $t->page_of($book)->{id};

	$since = $t->arrived;
	$t->notion({ fault => 'slow:1', match => { method => $method, path => "$path\$", user => "user$book->{user}" }, times => 1, after => $after });
	$change->();
	wait_until(sub { $after < grep { $_->{method} eq $method && $_->{path} =~ m{$path$} } $t->arrivals(since => $since) }, "$name: it is under way");
	$t->notion({ cmd => 'trash', id => $id });
	return $id;
}

sub toggles
{
	my ($part) = @_;
	return map { $_->{id} } grep { ($_->{href} // '') =~ m{/p/} } @{ $part->{blocks} };
}

# A toggle is gone, the page is not, and then the page is: nothing is to be learned
# of the next toggle.
$book = split_notebook(4, lost_page => 'stop');
$part = $t->page_of($book)->{parts}[0];
my @toggles = toggles($part);
$t->notion({ cmd => 'trash', id => $toggles[0] });
my $id = goes_meanwhile($book, 'two pages less', 'GET', "/pages/$part->{id}", 0, sub { $t->arrange($book, @{ $book->{pages} }[ 0 .. 2, 5, 6 ]) });
waits($book, 'two pages less');
is(scalar(grep { $_->{method} eq 'DELETE' && $_->{path} eq "/v1/blocks/$toggles[1]" } $t->arrivals(since => $since)), 1, 'the other toggle was to be deleted');
comes_back($book, $id, 'two pages less, back');

# A line of a page in a part is to be deleted.
$book = split_notebook(5, lost_page => 'stop');
my $before = ours($book);
($part) = $t->page_of($book)->{parts}[0];
my ($toggle) = toggles($part);
$id = goes_meanwhile($book, 'a line less', 'GET', "/blocks/$toggle/children", 0, sub { $t->edit_page($book->{pages}[3], "entry 4\n\n- one of 4") });
waits($book, 'a line less');
comes_back($book, $id, 'a line less, back');
is(ours($book), $before, 'a line less: the toggle is what it was');

# The last toggle of a part is deleted, but the reader has written there.
# Titles without numbers: those of other pages stay as they are.
$book = split_notebook(6, lost_page => 'stop', page_title => 'A page');
$part = $t->page_of($book)->{parts}[0];
$t->notion({ cmd => 'user_block', parent => $part->{id}, text => 'the only copy' });
$id = goes_meanwhile($book, 'a part less', 'DELETE', '/blocks/[0-9a-f-]+', 2, sub { $t->arrange($book, @{ $book->{pages} }[ 0 .. 2, 6 ]) });
wait_until(sub { scalar grep { $_->{path} eq "/v1/blocks/$part->{id}/children" } $t->arrivals(since => $since) }, 'a part less: what is left in it?');
wait_for($node, "SELECT count(*) FROM rmsync.sync_queue WHERE user_id = 6 AND run_at IS NULL", 0, 'a part less: the job has ended');
comes_back($book, $id, 'a part less, back');
is(scalar(@{ $t->notion({ cmd => 'find', text => 'the only copy' })->{ids} }), 1, 'what the reader wrote comes back with it');
is($t->sql("SELECT count(*) FROM rmsync.records_of('$part->{id}')"), '1', 'and the part is one of the notebook still');

is_deeply($t->fake->get('/_stats')->{bugs}, [], 'the stand-in is well');
$t->no_blind_resend('all of it', $t->arrivals);
$t->stop;
done_testing();
