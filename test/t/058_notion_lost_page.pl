# A notebook's page is gone, or no longer shared.  By default it is made anew;
# with "lost_page": "stop" the notebook waits until somebody decides, the user
# is told once, and other notebooks go on.
# Slow: waits for every kind of loss.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

# An hour's wait is 3.6 s here.
my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.backoff_scale' => '0.001' });
my $node = $t->node;
my $user = 0;

# A user with two notebooks, synchronized.
sub fresh
{
	my (%config) = @_;
	my $n = ++$user;

	$t->add_user($n);
	my @books = map { $t->add_notebook($n, "$_ of $n", [ map { "page $_" } 1 .. 4 ]) } qw(Lost Other);
	$t->connect($n, %config);
	$t->settled("user $n", user => $n);
	return @books;
}

sub told
{
	my ($book) = @_;
	return $t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = 'page_lost'");
}

# The notebook waits: all that is open of it has the reason.
sub parked
{
	my ($book, $name) = @_;
	wait_for($node,
		"SELECT count(*) > 0 AND bool_and(error_code = 'page_lost' AND status = 'pending' AND attempt = 0)
			FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}'", 't', "$name: the notebook waits");
	is($t->sql("SELECT state FROM rmsync.integration_configs WHERE user_id = $book->{user}"), 'active', "$name: the lane goes on");
	is(told($book), 1, "$name: the user is told");
	like($t->sql("SELECT message FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = 'page_lost'"),
		qr/notebook "Lost of $book->{user}" is in the trash, gone or no longer shared.*rmsync_retry\(\).*lost_page/, "$name: of which notebook, and what to do");
	return;
}

sub looks
{
	my ($id, $since) = @_;
	return scalar grep { $_->{method} eq 'GET' && $_->{path} eq "/v1/pages/$id" } $t->arrivals(since => $since);
}

sub creations
{
	my ($book, $since) = @_;
	return scalar grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' } $t->arrivals(since => $since, user => "user$book->{user}");
}

# How a page gets lost and comes back, and what the source does meanwhile.
my %changes = (
	edit => sub { my ($b) = @_; $t->edit_page($b->{pages}[1], 'edited meanwhile') },
	add => sub { my ($b) = @_; $t->sql("SELECT test.add_page($b->{id}, 5, 'added meanwhile')") },
	# it is listed while it is in the trash, where it shows what stands in it
	unanswered => sub {
		my ($b) = @_;
		$t->notion({ fault => 'close_before_read', match => { method => 'PATCH', path => '/children$', user => "user$b->{user}" }, times => 1 });
		$t->sql("SELECT test.add_page($b->{id}, 5, 'added meanwhile')");
	},
	rename => sub { my ($b) = @_; $t->sql("UPDATE notebooks SET visible_name = 'Lost of $b->{user}', full_path = 'Elsewhere/x' WHERE id = $b->{id}") },
	remove => sub { my ($b) = @_; $t->arrange($b, @{ $b->{pages} }[ 0, 1, 3 ]) },
	reorder => sub { my ($b) = @_; $t->arrange($b, @{ $b->{pages} }[ 3, 1, 2, 0 ]) },
	move => sub { my ($b) = @_; $t->arrange($b, @{ $b->{pages} }[ 0, 2, 1, 3 ]) });

foreach my $how ([ 'trash', 'restore' ], [ 'unshare', 'share' ])
{
	my ($lose, $find) = @$how;
	foreach my $change (sort keys %changes)
	{
		# what is not shared cannot be listed
		next if $change eq 'unanswered' && $lose eq 'unshare';
		my $name = "$lose, $change";
		my ($book, $other) = fresh(lost_page => 'stop');
		my $id = $t->page_of($book)->{id};
		my $third = ($t->blocks_of($book))[2]{id};
		my $since = $t->arrived;

		$t->notion({ cmd => $lose, id => $id });
		$changes{$change}->($book);
		parked($book, $name);
		$t->edit_page($other->{pages}[0], 'the other one goes on');
		wait_for($node, "SELECT count(*) FROM rmsync.sync_queue WHERE notebook_uuid = '$other->{uuid}'", 0, "$name: the other notebook goes on");

		# it is looked at again, by itself and after every change
		my $so_far = looks($id, $since);
		wait_until(sub { looks($id, $since) > $so_far }, "$name: it is looked at again");
		$t->edit_page($book->{pages}[0], 'and once more');
		wait_for($node, "SELECT count(*) FROM rmsync.sync_intake", 0, "$name: a change comes in");
		$t->sql("SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}' LIMIT 1");
		parked($book, "$name, again");
		is(creations($book, $since), 0, "$name: nothing is made anew");

		$t->notion({ cmd => $find, id => $id });
		$t->settled("$name, $find", user => $book->{user});
		$t->equal("$name, $find", $book->{user});
		is($t->page_of($book)->{id}, $id, "$name: it is the same page");
		ok((grep { $_->{id} eq $third } $t->blocks_of($book)), "$name: with the same toggles") unless $change =~ /remove|move|reorder/;
		is(creations($book, $since), 0, "$name: and no other was made");
	}
}

# lost a second time: told a second time
my ($book, $other) = fresh(lost_page => 'stop');
foreach my $n (1, 2)
{
	my $id = $t->page_of($book)->{id};
	$t->notion({ cmd => 'trash', id => $id });
	$t->edit_page($book->{pages}[1], "edit $n");
	wait_for($node, "SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = 'page_lost'", $n, "lost $n times, told $n times");
	$t->notion({ cmd => 'restore', id => $id });
	$t->settled("restored $n", user => $book->{user});
}
$t->equal('lost and restored twice', $book->{user});

# rmsync_retry() takes the whole notebook up again, without waiting for its hour
set_conf($node, 'rmsync.backoff_scale' => '1');
wait_for($node, 'SHOW rmsync.backoff_scale', '1', 'waits are long now');
$node->safe_psql('postgres', 'SELECT rmsync_worker_restart()');
my $id = $t->page_of($book)->{id};
$t->notion({ cmd => 'trash', id => $id });
$t->edit_page($_, 'edited for a retry') foreach @{ $book->{pages} };
parked_again($book, 4);
$t->notion({ cmd => 'restore', id => $id });
$t->sql("SELECT rmsync_retry((SELECT min(id) FROM rmsync.sync_queue WHERE user_id = $book->{user}))");
$t->settled('retry', user => $book->{user});
$t->equal('retry', $book->{user});

# the policy is changed
$t->notion({ cmd => 'trash', id => $id });
$t->edit_page($book->{pages}[0], 'edited for a change of mind');
parked_again($book, 1);
$t->connect($book->{user}, lost_page => 'recreate');
$t->settled('recreate', user => $book->{user});
$t->equal('recreate', $book->{user});
isnt($t->page_of($book)->{id}, $id, 'now it was made anew');
is($t->sql("SELECT config_epoch FROM rmsync.integration_configs WHERE user_id = $book->{user}"), 1, 'and the other notebooks were left alone');

sub parked_again
{
	my ($book, $n) = @_;
	return wait_for($node,
		"SELECT count(*) FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}' AND error_code = 'page_lost' AND run_at > now() + interval '50 minutes'",
		$n, 'the notebook waits for an hour');
}

# A toggle that is thrown away is no lost page.
($book, $other) = fresh(lost_page => 'stop');
my @toggles = $t->blocks_of($book);
$t->notion({ cmd => 'trash', id => $toggles[1]{id} }, { cmd => 'trash', id => $toggles[2]{id} });
$t->arrange($book, @{ $book->{pages} }[ 0, 1, 3 ]);
$t->edit_page($book->{pages}[1], 'its toggle is gone');
$t->settled('toggles are gone', user => $book->{user});
$t->equal('toggles are gone', $book->{user});
is(told($book), 0, 'toggles are gone: nothing to tell');

# A notebook that is deleted meanwhile needs no page.
$id = $t->page_of($book)->{id};
$t->notion({ cmd => 'purge', id => $id });
$t->sql("UPDATE notebooks SET deleted = true WHERE id = $book->{id}");
$t->settled('deleted', user => $book->{user});
$t->equal('deleted', $book->{user});

# ------------------------------------------------------------- made anew

sub notices
{
	my ($book, $kind) = @_;
	return $t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = '$kind'");
}

sub live
{
	my ($id, $user) = @_;
	my $dump = $t->fake->get("/_dump?user=user$user");
	return scalar grep { $_->{id} eq $id } @{ $dump->{pages} }, @{ $dump->{blocks} };
}

# Edits, which is when lost pages are looked for, until something is so.
my $edits = 0;

sub edit_until
{
	my ($book, $name, $check) = @_;
	wait_until(sub {
		return 1 if $check->();
		$edits++;
		$t->edit_page($book->{pages}[0], "edit $edits\n\nof page 1");
		$t->settled("$name, edit $edits", user => $book->{user});
		return $check->();
	}, $name);
	return;
}

# The page, or a part of it, that the ledger knows.
sub current
{
	my ($book, $what) = @_;
	return $t->sql('SELECT ' . ($what // 'external_id') . " FROM rmsync.sync_records WHERE user_id = $book->{user} AND item_id = '$book->{uuid}'");
}

my @quick = (resolve_delays_ms => [ 50, 100 ]);
foreach my $how ([ 'trash', 'restore' ], [ 'unshare', 'share' ])
{
	my ($lose, $find) = @$how;
	my ($book) = fresh(@quick);
	my $id = current($book);

	$t->notion({ cmd => $lose, id => $id });
	$t->edit_page($book->{pages}[1], "edited after $lose");
	$t->settled("$lose, made anew", user => $book->{user});
	# one that is not shared is live, for its user
	$t->equal("$lose, made anew", $book->{user}) if $lose eq 'trash';
	is(notices($book, 'page_recreated'), 1, "$lose: the user is told that it was made anew");
	like($t->sql("SELECT message FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = 'page_recreated'"),
		qr/notebook "Lost of $book->{user}" .* was made anew/, "$lose: and which notebook that is");
	my $new = current($book);
	isnt($new, $id, "$lose: it is another page");

	# a second time, and both come back
	$t->notion({ cmd => $lose, id => $new });
	$t->edit_page($book->{pages}[1], "edited after $lose, again");
	$t->settled("$lose twice", user => $book->{user});
	is(notices($book, 'page_recreated'), 2, "$lose twice: told twice");
	my $third = current($book);
	$t->notion({ cmd => $find, id => $id }, { cmd => $find, id => $new });
	edit_until($book, "$find: those that came back go", sub { !live($id, $book->{user}) && !live($new, $book->{user}) });
	$t->equal("$find, made anew", $book->{user});
	is($t->page_of($book)->{id}, $third, "$find: the new one stays");
	is(notices($book, 'page_returned'), 0, "$find: which is nothing to tell");
	edit_until($book, "$find: and are forgotten", sub { current($book, "metadata_json ? 'lost'") eq 'f' });
	my $since = $t->arrived;
	$t->edit_page($book->{pages}[0], 'edited when all is well');
	$t->settled("$find, all is well", user => $book->{user});
	is(looks($id, $since) + looks($new, $since), 0, "$find: nobody asks for them any more");

	# one in which the user has written stays, and they are told
	my $note = $t->notion({ cmd => 'user_block', parent => ($t->blocks_of($book))[1]{id}, text => 'notes of the user' })->{id};
	$t->notion({ cmd => $lose, id => $third });
	$t->edit_page($book->{pages}[1], "edited after $lose, with notes");
	$t->settled("$lose, with notes", user => $book->{user});
	$t->notion({ cmd => $find, id => $third });
	edit_until($book, "$find, with notes: the user is told", sub { notices($book, 'page_returned') > 0 });
	ok(live($note, $book->{user}), "$find, with notes: they are there");
	edit_until($book, "$find, with notes: and forgotten", sub { current($book, "metadata_json ? 'lost'") eq 'f' });
	is(notices($book, 'page_returned'), 1, "$find, with notes: told once");

	# a part of a large notebook
	($book) = fresh(@quick, split_pages => 2);
	my $which = "metadata_json -> 'parts' -> 1 ->> 'id'";
	my $part = current($book, $which);
	$t->notion({ cmd => $lose, id => $part });
	$t->edit_page($book->{pages}[2], "edited after $lose of a part");
	$t->settled("$lose of a part", user => $book->{user});
	$t->equal("$lose of a part", $book->{user}) if $lose eq 'trash';
	isnt(current($book, $which), $part, "$lose of a part: it was made anew");
	is(notices($book, 'page_recreated'), 1, "$lose of a part: the user is told");
	$t->notion({ cmd => $find, id => $part });
	edit_until($book, "$find of a part: it goes", sub { !live($part, $book->{user}) });
	$t->equal("$find of a part", $book->{user});
}

# ------------------------------------------------------------- archived

# That is not the trash: the page counts, whether it takes changes or not.
foreach my $policy (qw(stop recreate))
{
	my ($book, $other) = fresh(lost_page => $policy);
	my $id = $t->page_of($book)->{id};
	my $since = $t->arrived;

	$t->notion({ cmd => 'archive', id => $id });
	$t->edit_page($book->{pages}[1], 'edited in the archive');
	$t->settled("archived, $policy", user => $book->{user});
	$t->equal("archived, $policy", $book->{user});
	$t->sql("DELETE FROM rmsync.sync_records WHERE user_id = $book->{user} AND notebook_uuid = '$book->{uuid}';
		UPDATE rmsync.integration_configs SET reconcile_wanted = true WHERE user_id = $book->{user}");
	$t->settled("archived, the ledger is lost, $policy", user => $book->{user});
	is($t->page_of($book)->{id}, $id, "archived, the ledger is lost, $policy: it is the same page");
	is(creations($book, $since), 0, "archived, $policy: no other was made");
	is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind <> 'first_success'"), 0, "archived, $policy: nothing to tell");

	$t->notion({ cmd => 'archive', id => $id, writes => 'refuse' });
	$changes{$_}->($book) foreach qw(edit reorder rename);
	wait_for($node, "SELECT count(*) > 0 AND bool_and(error_code = 'page_archived' AND status = 'pending' AND attempt = 0)
		FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}'", 't', "archived and closed, $policy: the notebook waits");
	$t->edit_page($other->{pages}[0], 'the other one goes on');
	wait_for($node, "SELECT count(*) FROM rmsync.sync_queue WHERE notebook_uuid = '$other->{uuid}'", 0, "archived and closed, $policy: the other notebook goes on");
	my $so_far = looks($id, $since);
	my $retry = "SELECT rmsync_retry((SELECT min(id) FROM rmsync.sync_queue WHERE user_id = $book->{user}))";
	$t->sql($retry);
	wait_until(sub { looks($id, $since) > $so_far }, "archived and closed, $policy: it is looked at again");
	wait_for($node, "SELECT bool_and(error_code = 'page_archived' AND run_at > now()) FROM rmsync.sync_queue WHERE notebook_uuid = '$book->{uuid}'", 't', "archived and closed, $policy: and waits again");
	is(notices($book, 'page_archived'), 1, "archived and closed, $policy: the user is told once");
	is(creations($book, $since), 0, "archived and closed, $policy: nothing is made");
	$t->notion({ cmd => 'unarchive', id => $id });
	$t->sql($retry);
	$t->settled("unarchived, $policy", user => $book->{user});
	$t->equal("unarchived, $policy", $book->{user});
	is($t->page_of($book)->{id}, $id, "unarchived, $policy: it is the same page");
}

# ------------------------------------------------ the database, not the page

# An ancestor is in the trash: that is nobody's notebook, the lane is held.
foreach my $policy (qw(stop recreate))
{
	($book, $other) = fresh(lost_page => $policy);
	my $top = $t->notion({ cmd => 'create_page', user => "user$book->{user}", title => 'Above' })->{id};
	my $database = $t->notion({ cmd => 'create_database', user => "user$book->{user}", preset => 'notebooks', parent => $top });
	$t->notion({ cmd => 'trash', id => $t->{users}{ $book->{user} }{database} });
	@{ $t->{users}{ $book->{user} } }{ 'database', 'source' } = @$database{ 'id', 'data_source_id' };
	$t->connect($book->{user}, lost_page => $policy);
	$t->settled("below a page, $policy", user => $book->{user});
	my $since = $t->arrived;
	$t->notion({ cmd => 'trash', id => $top });
	$t->edit_page($_->{pages}[0], 'edited below the trash') foreach $book, $other;
	wait_for($node, "SELECT state, state_reason ~ 'in the trash' FROM rmsync.integration_configs WHERE user_id = $book->{user}", 'held|t',
		"$policy: an ancestor is in the trash, the lane is held");
	is($t->sql("SELECT string_agg(kind, ' ' ORDER BY id) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind <> 'first_success'"),
		'held', "$policy: the user is told once");
	is(creations($book, $since), 0, "$policy: nothing is made");
	$t->notion({ cmd => 'restore', id => $top });
	$t->sql("SELECT rmsync_enable($book->{user}, 'notion')");
	$t->settled("ancestor restored, $policy", user => $book->{user});
	$t->equal("ancestor restored, $policy", $book->{user});
}

# The database gets a second data source, and the connection is made anew: which
# one is meant is for the user to say.
($book, $other) = fresh();
my $at = $t->{users}{ $book->{user} };
my $second = $t->notion({ cmd => 'add_data_source', database => $at->{database}, title => 'Archive' })->{id};
$t->edit_page($book->{pages}[0], 'goes to the data source it knows');
$t->settled('a second data source', user => $book->{user});
$t->equal('a second data source', $book->{user});
$t->notion({ cmd => 'delete_column', data_source => $at->{source}, column => 'rmirror ID' });
$t->sql("UPDATE notebooks SET visible_name = 'still here' WHERE id = $book->{id}");
$t->settled('... which is looked at again', user => $book->{user});
is($t->page_of($book)->{title}, 'still here', 'a database that is looked at again: it keeps to the data source it knows');
my $third = $t->notion({ cmd => 'create_database', user => "user$book->{user}", preset => 'notebooks', title => 'Two' });
my $fourth = $t->notion({ cmd => 'add_data_source', database => $third->{id}, title => 'Archive' })->{id};
$at->{database} = $third->{id};
$t->connect($book->{user});
wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE user_id = $book->{user}", 'held', 'none of two is chosen: held');
like($t->sql("SELECT state_reason FROM rmsync.integration_configs WHERE user_id = $book->{user}"),
	qr/several data sources: "Two" \($third->{data_source_id}\), "Archive" \($fourth\)\. Connect again .*"data_source_id"/, 'the reason names them, and says how to choose');
is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = 'held'"), 1, 'the user is told, once');
$t->connect($book->{user}, data_source_id => $third->{data_source_id});
$t->settled('chosen', user => $book->{user});
is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id = $book->{user} AND status = 'success'"), 10, 'and it goes on');

# A notebook is deleted and comes back while a query still shows its page.
($book, $other) = fresh(lost_page => 'stop');
$t->notion({ cmd => 'set', query_lag => 600 });
$t->sql("UPDATE notebooks SET deleted = true WHERE id = $book->{id}");
$t->settled('deleted', user => $book->{user});
$t->sql("UPDATE notebooks SET deleted = false WHERE id = $book->{id}");
$t->settled('deleted, and back at once', user => $book->{user});
is(told($book), 0, 'deleted, and back at once: its page is nothing that was lost');
$t->notion({ cmd => 'set', query_lag => 0 });
$t->equal('deleted, and back at once', $book->{user});

# The database itself: in the trash, unshared, gone.
foreach my $lose (qw(trash unshare purge))
{
	($book, $other) = fresh();
	$at = $t->{users}{ $book->{user} };
	$t->notion({ cmd => $lose, id => $at->{database} });
	$t->edit_page($book->{pages}[0], "edited after $lose");
	wait_for($node, "SELECT state, state_reason ~ 'no longer shared' FROM rmsync.integration_configs WHERE user_id = $book->{user}", 'held|t',
		"database: $lose: held");
	is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = 'held'"), 1, "database: $lose: told once");
	next if $lose eq 'purge';
	$t->notion({ cmd => $lose eq 'trash' ? 'restore' : 'share', id => $at->{database} });
	$t->sql("SELECT rmsync_enable($book->{user}, 'notion')");
	$t->settled("database: $lose, undone", user => $book->{user});
	$t->equal("database: $lose, undone", $book->{user});
}

$t->stop;
done_testing();
