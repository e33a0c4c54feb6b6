# Every answer that Notion documents, at every kind of request it can be given
# to: what becomes of the lane and the items, that nothing is there twice, and
# that nothing is lost once the cause is gone.
#
#	answer							where it is tested
#	400 validation_error			here (one page, a new column type), 044
#	400 "archived" 					041 (page, toggle in the trash), 047
#	400 invalid_grant				050
#	401 unauthorized				041 (between two syncs), 050 (renewed), here
#									(in the middle of a batch)
#	403 restricted_resource			041 (append), here (every request of a first
#									sync), 053 (asked by a person)
#	403 block_limit					041 (append), here (every write)
#	403 of the edge, HTML			041 (all writes), here (discovery)
#	404 object_not_found			041 (page, toggle, anchor, database), 047,
#									here (once, although the object is there)
#	409 conflict_error				041 (once), here (on and on)
#	409 row_limit_exceeded			041 (append), here (page)
#	413								here
#	429 with each reason			041 (a second), here (with every Retry-After)
#	429 request_blocked				041 (append), here (every request)
#	529								041, here (without Retry-After)
#	500, 502, 503, 504				041 (all writes, query, list), here (discovery)
#	503 with committed_* ids		041 (page, append), 045, 046, 053 (database)
#	no answer, half an answer		041, 042
#	nonsense						043
# Slow: every answer that Notion documents.
use strict;
use warnings;

use List::Util qw(max min);
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '2s' });
my $node = $t->node;
my $user = 0;

my %requests = (
	database => { method => 'GET', path => '^/v1/databases/' },
	source => { method => 'GET', path => '^/v1/data_sources/' },
	columns => { method => 'PATCH', path => '^/v1/data_sources/' },
	who => { method => 'GET', path => '^/v1/users/me$' },
	find => { method => 'POST', path => '/query$' },
	create => { method => 'POST', path => '^/v1/pages$' },
	append => { method => 'PATCH', path => '/children$' });
my @first_sync = qw(database source columns find create append);

sub new_user
{
	my ($pages) = @_;
	my $n = ++$user;

	$t->add_user($n);
	return $t->add_notebook($n, "Book of $n", [ map { "page $_ of user $n" } 1 .. $pages ]);
}

sub rule
{
	my ($book, $fault, $kind, %more) = @_;
	return $t->notion({ fault => $fault, match => { user => "user$book->{user}", %{ $requests{$kind} } }, %more })->{id};
}

sub hits
{
	my ($id) = @_;
	return (grep { $_->{id} == $id } @{ $t->fake->get('/_rules')->{rules} })[0]{hits};
}

sub lane
{
	my ($book, $what) = @_;
	return $t->sql("SELECT $what FROM rmsync.integration_configs WHERE user_id = $book->{user}");
}

sub lane_becomes
{
	my ($book, $state, $name) = @_;
	return wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE user_id = $book->{user}", $state, "$name: $state");
}

sub told
{
	my ($book) = @_;
	return $t->sql("SELECT coalesce(string_agg(kind, ' ' ORDER BY id), '') FROM rmsync.notifications WHERE user_id = $book->{user} AND kind <> 'first_success'");
}

sub attempts
{
	my ($book) = @_;
	return $t->sql("SELECT coalesce(max(attempt), 0) FROM rmsync.sync_queue WHERE user_id = $book->{user}");
}

# In the end all is there, once.
sub recovered
{
	my ($name, @books) = @_;
	foreach my $book (@books)
	{
		$t->settled($name, user => $book->{user});
		$t->equal($name, $book->{user});
	}
	return;
}

# ---------------------------------------------- limits: who waits, how long

# For how long an answer says, and the shortest time until the next request.
my $date = sub { strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + shift)) };
my @waits = (
	(map { [ "rate_429:public_api_$_", 1, 1 ] } qw(request_rate_limit space_request_rate_limit endpoint_rate_limit reason_of_next_year)),
	[ '529', 1, 1 ], [ '529', undef, 0.008 ], [ 'rate_429', undef, 0.008 ], [ 'rate_429', 0, 0 ], [ 'rate_429', -5, 0 ],
	[ 'rate_429', -9999999999, 0 ], [ 'rate_429', 'soon', 0 ], [ 'rate_429', '', 0 ], [ 'rate_429', $date->(-100_000_000), 0 ],
	[ 'rate_429', $date->(10), 1, 1 ]);
my @cases;

foreach my $wait (@waits)
{
	my ($fault, $retry_after, $least, $times) = @$wait;
	my $kind = $first_sync[ @cases % @first_sync ];
	my $book = new_user(3);
	my $name = "$fault, Retry-After " . ($retry_after // 'missing') . ", at $kind";

	push @cases, { book => $book, name => $name, kind => $kind, least => $least,
		times => $times // 3, rule => rule($book, $fault, $kind, retry_after => $retry_after, times => $times // 3) };
}
$t->connect([ map { $_->{book}{user} } @cases ]);
foreach my $case (@cases)
{
	my ($book, $name) = @$case{qw(book name)};
	my @mine;

	recovered($name, $book);
	is(hits($case->{rule}), $case->{times}, "$name: as often as planned");
	@mine = $t->arrivals(user => "user$book->{user}");
	my @gaps = map { $mine[ $_ + 1 ]{at} - $mine[$_]{at} } grep { ($mine[$_]{fault} // '') ne '' } 0 .. $#mine - 1;
	cmp_ok(min(@gaps), '>=', $case->{least}, "$name: no request of the lane before the time") or diag("@gaps");
	is(lane($book, 'state'), 'active', "$name: the lane goes on");
	is(told($book), '', "$name: nobody is told");
	is($t->sql("SELECT count(*) FROM rmsync.sync_log WHERE user_id = $book->{user} AND status IN ('retry', 'failed')"), 0, "$name: no attempt is spent");
	$t->no_blind_resend($name, @mine);
}

# An absurd time is cut to an hour, and lifted by hand.
foreach my $absurd (4000, 86401, '999999999999999999999', $date->(1_000_000_000))
{
	my $book = new_user(2);
	my $rule = rule($book, 'rate_429', 'create', retry_after => $absurd);

	$t->connect($book->{user});
	wait_for($node, "SELECT blocked_until BETWEEN now() + interval '55 minutes' AND now() + interval '61 minutes' FROM rmsync.integration_configs WHERE user_id = $book->{user}",
		't', "Retry-After $absurd: an hour");
	is(hits($rule), 1, "Retry-After $absurd: asked once");
	$t->notion({ cmd => 'clear', id => $rule });
	$t->sql("SELECT rmsync_enable($book->{user}, 'notion')");
	recovered("Retry-After $absurd", $book);
}

# ------------------------------------ answers that stop the lane, anywhere

foreach my $answer (
	[ '403', 'held', 'held', @first_sync ],
	[ 'rate_429:public_api_request_blocked', 'held', 'held', @first_sync, 'who' ],
	[ '401', 'auth', 'auth_failure', @first_sync, 'who' ],
	[ '403_block_limit', 'quota', 'quota_exceeded', 'create', 'append' ],
	[ 'row_limit', 'quota', 'quota_exceeded', 'create' ],
	[ '404', 'held', 'held', 'database', 'source', 'create' ])
{
	my ($fault, $state, $kind, @where) = @$answer;
	my @mine = map { { at => $_, book => new_user(3) } } @where;

	$_->{rule} = rule($_->{book}, $fault, $_->{at}) foreach @mine;
	$t->connect([ map { $_->{book}{user} } @mine ]);
	foreach my $case (@mine)
	{
		my ($book, $name) = ($case->{book}, "$fault at $case->{at}");

		lane_becomes($book, $state, $name);
		is(told($book), $kind, "$name: the user is told, once");
		isnt(lane($book, 'state_reason'), '', "$name: with a reason");
		is(attempts($book), 0, "$name: no attempt is spent");
		is(hits($case->{rule}), 1, "$name: and not asked again");
		$t->notion({ cmd => 'clear', id => $case->{rule} });
		$t->sql("SELECT rmsync_enable($book->{user}, 'notion')");
		recovered("$name, lifted", $book);
		$t->no_blind_resend($name, $t->arrivals(user => "user$book->{user}"));
	}
}

# Nobody needs to know who the connection is.
{
	my @nameless = map { { fault => $_, book => new_user(1) } } qw(400 403 404 body:garbage body:empty_object body:wrong_types);

	$_->{rule} = rule($_->{book}, $_->{fault}, 'who') foreach @nameless;
	$t->connect([ map { $_->{book}{user} } @nameless ]);
	foreach my $case (@nameless)
	{
		recovered("$case->{fault} instead of a name", $case->{book});
		is(hits($case->{rule}), 1, "$case->{fault} instead of a name: asked once");
		$t->notion({ cmd => 'clear', id => $case->{rule} });
	}
}

# A token is revoked in the middle of a batch, with and without an answer lost
# just before.
foreach my $lost (0, 1)
{
	my $book = new_user(250);
	my $name = "revoked in the middle, $lost lost";
	my $pause = rule($book, 'rate_429', 'append', retry_after => 2, times => 1, after => 1);
	my $close = $lost ? rule($book, 'commit_close', 'append', times => 1, after => 1) : undef;

	$t->connect($book->{user});
	wait_until(sub { hits($pause) }, "$name: the first hundred pages are there");
	if ($lost)
	{
		# the next append is done, its answer is lost, and so is the token
		wait_until(sub { hits($close) }, "$name: an answer is lost");
	}
	$t->notion({ cmd => 'revoke_token', user => "user$book->{user}" });
	lane_becomes($book, 'auth', $name);
	is(told($book), 'auth_failure', "$name: the user is told, once");
	is(attempts($book), 0, "$name: no attempt is spent");
	$t->notion({ cmd => 'add_token', token => "ntn_again$book->{user}", user => "user$book->{user}" });
	$t->{users}{ $book->{user} }{token} = "ntn_again$book->{user}";
	$t->connect($book->{user});
	recovered("$name, connected again", $book);
	$t->no_blind_resend($name, $t->arrivals(user => "user$book->{user}"));
}

# ------------------------------------------- the service is down, or behind

my @outages = qw(reject_500 reject_502_html reject_503 reject_503_db reject_504 edge_403_html close reset hang 409);
my @down;
foreach my $fault (@outages)
{
	foreach my $kind (qw(database source columns))
	{
		my $book = new_user(2);
		push @down, { name => "$fault at $kind", book => $book, rule => rule($book, $fault, $kind, times => 3) };
	}
}
$t->connect([ map { $_->{book}{user} } @down ]);
foreach my $case (@down)
{
	recovered($case->{name}, $case->{book});
	is(hits($case->{rule}), 3, "$case->{name}: three times");
	is(lane($case->{book}, "state || ' ' || fail_streak"), 'active 0', "$case->{name}: over");
	is(told($case->{book}), '', "$case->{name}: nobody is told");
}

# -------------------------------------------------- the fault of one item

# What is refused for good fails, visibly; the rest of the notebook is there.
foreach my $answer ([ '400', 'invalid_data' ], [ '413', 'invalid_data' ])
{
	my ($fault, $code) = @$answer;
	my $book = new_user(5);
	my $rule = $t->notion({ fault => $fault,
			match => { user => "user$book->{user}", %{ $requests{append} }, body => "page 3 of user $book->{user}" } })->{id};

	$t->connect($book->{user});
	wait_for($node, "SELECT count(*) FROM rmsync.sync_queue WHERE user_id = $book->{user} AND status = 'failed'", 1, "$fault: one page has failed");
	$t->settled("$fault: the others", user => $book->{user});
	is($t->sql("SELECT error_code || ' ' || attempt FROM rmsync.sync_queue WHERE user_id = $book->{user}"), "$code 5", "$fault: after five attempts");
	is(told($book), 'retries_exhausted', "$fault: the user is told, once");
	is(scalar(grep { $_->{type} eq 'toggle' } $t->blocks_of($book)), 4, "$fault: the other pages are there");
	is(lane($book, 'state'), 'active', "$fault: the lane goes on");
	$t->notion({ cmd => 'clear', id => $rule });
	$t->sql("SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE user_id = $book->{user}");
	recovered("$fault, tried again", $book);
}

# A conflict that does not end is the item's fault, too.
{
	my $book = new_user(2);
	my $rule = rule($book, '409', 'create');

	$t->connect($book->{user});
	wait_for($node, "SELECT bool_and(status = 'failed' AND error_code = 'conflict_error') FROM rmsync.sync_queue WHERE user_id = $book->{user}",
		't', '409 on and on: failed');
	cmp_ok(hits($rule), '<=', 3 * 5 * 4, '409 on and on: four requests in each attempt of each item');
	like(told($book), qr/^retries_exhausted( retries_exhausted)*$/, '409 on and on: the user is told');
	$t->notion({ cmd => 'clear', id => $rule });
	$t->sql("SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE user_id = $book->{user}");
	recovered('409 on and on, tried again', $book);
}

# A 404 that is not true: nothing is made anew.
foreach my $where (
	[ 'append', { method => 'PATCH', path => '/children$' } ],
	[ 'properties', { method => 'PATCH', path => '^/v1/pages/' } ],
	[ 'list', { method => 'GET', path => '/children' } ])
{
	my ($name, $match) = @$where;
	my $book = new_user(3);

	$t->connect($book->{user});
	$t->settled("a false 404 at $name, before", user => $book->{user});
	my $id = $t->page_of($book)->{id};
	my $since = $t->arrived;
	my $rule = $t->notion({ fault => '404', times => 1, match => { user => "user$book->{user}", %$match } })->{id};
	$t->sql("SELECT rmsync_trigger('notion', user_id => $book->{user}, force => true)") if $name eq 'list';
	$t->notion({ fault => 'commit_close', times => 1, match => { user => "user$book->{user}", %{ $requests{append} } } }) if $name eq 'list';
	$t->sql("SELECT test.add_page($book->{id}, 9, 'added for a false 404')") if $name eq 'append';
	$t->edit_page($book->{pages}[1], "edited for a false 404 at $name");
	recovered("a false 404 at $name", $book);
	is(hits($rule), 1, "a false 404 at $name: given");
	is($t->page_of($book)->{id}, $id, "a false 404 at $name: the page is the same");
	is(scalar(grep { $_->{method} eq 'POST' && $_->{path} eq '/v1/pages' } $t->arrivals(since => $since, user => "user$book->{user}")), 0, "a false 404 at $name: no other is made");
}

# The user has made a column another type: its values are left out from then on.
{
	my $book = new_user(2);
	$t->connect($book->{user});
	$t->settled('column, before', user => $book->{user});
	my $source = $t->{users}{ $book->{user} }{source};
	$t->notion({ cmd => 'delete_column', data_source => $source, column => 'Pages' },
		{ cmd => 'add_column', data_source => $source, name => 'Pages', type => 'checkbox' });
	$t->sql("SELECT test.add_page($book->{id}, 3, 'a page more')");
	recovered('a column of another type', $book);
	is(told($book), '', 'a column of another type: nobody needs to know');
}

log_lacks($node, qr/terminated by signal|PANIC|TRAP/, 0, 'nothing crashed');
$t->stop;
done_testing();
