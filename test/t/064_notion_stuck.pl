# A write that Notion never finishes, one that it finishes without ever saying
# so, and a change of one block that always fails: the one item fails, its user
# is told, all others are delivered, and the requests it costs are bounded.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '2s' });
my $node = $t->node;
my $user = 0;

sub new_user
{
	my ($pages, @more) = @_;
	my $n = ++$user;

	$t->add_user($n);
	return $t->add_notebook($n, "Book of $n", [ (map { "page $_ of user $n" } 1 .. $pages), @more ]);
}

sub rule
{
	my ($book, $fault, %match) = @_;
	return $t->notion({ fault => $fault, match => { user => "user$book->{user}", %match } })->{id};
}

sub failed
{
	my ($book) = @_;
	return $t->sql("SELECT coalesce(string_agg(item_type || ' ' || error_code, ', '), '') FROM rmsync.sync_queue
		WHERE user_id = $book->{user} AND status = 'failed'");
}

sub told
{
	my ($book) = @_;
	return $t->sql("SELECT coalesce(string_agg(kind, ' ' ORDER BY id), '') FROM rmsync.notifications WHERE user_id = $book->{user} AND kind <> 'first_success'");
}

# The queue holds nothing but what has failed.
sub at_rest
{
	my ($book, $expected, $name) = @_;
	wait_for($node, "SELECT bool_and(status = 'failed') AND count(*) > 0 FROM rmsync.sync_queue WHERE user_id = $book->{user}", 't', "$name: an end is found");
	is(failed($book), $expected, "$name: that item fails, and says why");
	is(told($book), 'retries_exhausted', "$name: the user is told once");
	is($t->sql("SELECT state || ' ' || fail_streak FROM rmsync.integration_configs WHERE user_id = $book->{user}"), 'active 0', "$name: the lane works");
	return;
}

sub recovered
{
	my ($book, $name, $rule, $other) = @_;
	my $elsewhere = $other ? $t->page_of($other)->{id} : 'nowhere';
	$t->notion({ cmd => 'clear', id => $rule });
	$t->sql("SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE user_id = $book->{user} AND status = 'failed'");
	$t->settled($name, user => $book->{user});
	$t->equal($name, $book->{user});
	$t->no_blind_resend($name, grep { $_->{path} !~ /$elsewhere/ } $t->arrivals(user => "user$book->{user}"));
	is($t->sql("SELECT count(*) FROM rmsync.sync_queue WHERE user_id = $book->{user}"), 0, "$name: nothing is left to do");
	return;
}

my @append = (method => 'PATCH', path => '/children$');

# One page of forty that Notion never finishes.
{
	my $book = new_user(40);
	my $name = 'a page that is never written';
	my $rule = rule($book, 'reject_504', @append, body => "page 31 of user $book->{user}\\b");

	$t->connect($book->{user});
	at_rest($book, 'page_text unconfirmed', $name);
	is(scalar(@{ $t->page_of($book)->{blocks} }), 39, "$name: the others are there");
	my @sent = grep { ($_->{fault} // '') ne '' } $t->arrivals(user => "user$book->{user}");
	cmp_ok(scalar(@sent), '<=', 4 + 4 * 2, "$name: it is sent a few times");
	cmp_ok(scalar($t->arrivals(user => "user$book->{user}")), '<=', 80, "$name: requests in all");
	recovered($book, $name, $rule);
}

# Notion writes it and never says so: looking is enough.
{
	my $book = new_user(40);
	my $name = 'a page that is written without a word';
	my $rule = rule($book, 'commit_504', @append);

	$t->connect($book->{user});
	$t->settled($name, user => $book->{user});
	is(told($book), '', "$name: nobody is told");
	recovered($book, $name, $rule);
}

# What does not fit into one request is deleted and begun anew, but not for ever.
{
	my $lines = join("\n", map { "- line $_" } 1 .. 250);
	my $book = new_user(3, "# long\n$lines");
	my $name = 'a long page whose end is never written';
	my $rule = rule($book, 'reject_504', @append, body => 'line 240');

	$t->connect($book->{user});
	at_rest($book, 'page_text invalid_data', $name);
	is(scalar(@{ $t->page_of($book)->{blocks} }), 3, "$name: the others are there, and nothing of it");
	my @sent = grep { ($_->{fault} // '') ne '' } $t->arrivals(user => "user$book->{user}");
	cmp_ok(scalar(@sent), '<=', 4 + 4 * 2, "$name: it is begun a few times");
	recovered($book, $name, $rule);
}

# A notebook whose page is never created.
{
	my $book = new_user(2);
	my $other = $t->add_notebook($book->{user}, 'The other', [ 'its page' ]);
	my $name = 'a notebook that is never created';
	my $rule = rule($book, 'reject_504', method => 'POST', path => '^/v1/pages$', body => "Book of $book->{user}");

	$t->connect($book->{user});
	wait_for($node, "SELECT bool_and(status = 'failed' AND error_code = 'unconfirmed') AND count(*) = 3 FROM rmsync.sync_queue WHERE user_id = $book->{user}",
		't', "$name: it fails with its pages");
	ok($t->page_of($other), "$name: the other one is there");
	like(told($book), qr/^retries_exhausted( retries_exhausted)*$/, "$name: the user is told");
	my @sent = grep { ($_->{fault} // '') ne '' } $t->arrivals(user => "user$book->{user}");
	cmp_ok(scalar(@sent), '<=', 4 + 4 * 3, "$name: it is sent a few times");
	recovered($book, $name, $rule, $other);
}

# A block whose change always ends in an error, while others succeed.
{
	my $book = new_user(3);
	my $other = $t->add_notebook($book->{user}, 'The other', [ 'its page' ]);
	my $name = 'a block that cannot be changed';

	$t->connect($book->{user});
	$t->settled("$name, before", user => $book->{user});
	my $rule = rule($book, 'reject_500', method => 'PATCH', path => '^/v1/blocks/[^/]+$', body => 'edited');
	$t->edit_page($book->{pages}[1], "page 2 of user $book->{user}, edited");
	foreach my $n (1 .. 60)
	{
		$t->edit_page($other->{pages}[0], "its page\n\nline $n");
		last if wait_for_any($book);
	}
	at_rest($book, 'page_text server_error', $name);
	recovered($book, $name, $rule, $other);
}

# Until the other notebook has arrived; true if the item has failed.
sub wait_for_any
{
	my ($book) = @_;
	wait_for($node, "SELECT count(*) <= 1 FROM rmsync.sync_queue WHERE user_id = $book->{user}", 't', 'the other notebook arrives');
	return failed($book) ne '';
}

log_lacks($node, qr/terminated by signal|PANIC|TRAP/, 0, 'nothing crashed');
$t->stop;
done_testing();
