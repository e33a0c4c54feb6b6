# Notion fails in every way it can: nothing is lost, nothing is there twice,
# and nothing is sent again before it was looked up.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

# A created page shows in queries late; a lost answer is waited for 2 s.
my $t = RmsyncNotion->new(
	fake => [ '--rate', 0, '--query-lag', 0.3 ],
	conf => { 'rmsync.http_timeout' => '2s' });

# With these, nobody knows whether the request was done ...
my @silent = qw(close_before_read close reset hang commit_close commit_reset
  commit_hang commit_500 commit_503 commit_502_html commit_504 reject_500
  reject_503 reject_503_db reject_504 reject_502_html truncated_json short_body
  empty_200);

# ... and with these it is said.
my @told = (qw(commit_503_guidance 529 409 edge_403_html rate_429),
	'rate_429:public_api_space_request_rate_limit', 'rate_429:public_api_endpoint_rate_limit');

my %requests = (
	create => { method => 'POST', path => '^/v1/pages$' },
	append => { method => 'PATCH', path => '/children$' },
	delete => { method => 'DELETE', path => '^/v1/blocks/' },
	properties => { method => 'PATCH', path => '^/v1/pages/' },
	archive => { method => 'PATCH', path => '^/v1/pages/' },
	retitle => { method => 'PATCH', path => '^/v1/blocks/[^/]+$' },
	find => { method => 'POST', path => '/query$' },
	list => { method => 'GET', path => '/children$' });

# Two users per fault.
my @faults = (@silent, @told);
my @users = (1 .. 2 * @faults);
my (@odd, @even);
push @{ $_ % 2 ? \@odd : \@even }, $_ foreach @users;

$t->add_users(\@users);
my $list = join(',', @users);
$t->sql("SELECT test.add_notebook(u, format('cccccccc-0000-4000-8000-%s', lpad(u::text, 12, '0')), 'Book of ' || u)
	FROM unnest(ARRAY[$list]) u;
	SELECT test.add_page(n.id, i, format('text %s of user %s', i, n.user_id)) FROM notebooks n, generate_series(1, 3) i");

# One rule per user of a list: the n-th gets the n-th fault.
sub inject
{
	my ($users, $kind, %more) = @_;
	my @rules;

	foreach my $i (0 .. $#$users)
	{
		# a read has nothing to guide to
		my $fault = $kind eq 'list' && $faults[$i] eq 'commit_503_guidance' ? 'reject_503' : $faults[$i];
		push @rules,
		  {
			fault => $fault,
			match => { %{ $requests{$kind} }, user => "user$users->[$i]" },
			times => 1,
			%more };
	}
	$t->notion(@rules);
	return;
}

# A change, with a fault for each user: odd ones at one kind of request, even
# ones at another.
sub scenario
{
	my ($name, $odd_kind, $even_kind, $change, %more) = @_;
	my $edited = delete $more{edited};
	my $since = $t->arrived;

	$t->notion({ cmd => 'clear' });
	inject(\@odd, $odd_kind, %more) if $odd_kind;
	inject(\@even, $even_kind, %more) if $even_kind;
	$change->();
	$t->settled($name);

	my @idle = map { "$_->{fault} at $_->{path}" } grep { $_->{hits} == 0 } @{ $t->fake->get('/_rules') ->{rules} };
	is("@idle", '', "$name: every fault has happened");
	$t->equal($name);
	my @arrivals = $t->arrivals(since => $since);
	$t->no_blind_resend($name, @arrivals);
	if ($edited)
	{
		my %last = map { $_->{user} => $_->{path} } grep { $_->{committed} } @arrivals;
		my @without = grep { $last{"user$_"} !~ m{^/v1/pages/} } @users;
		is("@without", '', "$name: and the notebook's page says when");
	}
	return;
}

scenario('first sync', 'create', 'append', sub { $t->connect(\@users) });
# The second page's text is changed in place: a line is changed, lines come, one
# of them goes.
sub edit
{
	my ($to) = @_;
	return $t->sql("UPDATE pages SET ocr_text = $to WHERE page_uuid = test.page_uuid(notebook_id, 2)");
}
scenario('edit', 'list', 'retitle', sub { edit("ocr_text || ', edited'") }, edited => 1);
scenario('lines are added', 'append', 'list', sub { edit("ocr_text || E'\\n\\n- one\\n- two\\n- three\\n- four'") }, edited => 1);
scenario('a line goes', 'delete', 'properties', sub { edit("replace(ocr_text, E'\\n- two', '')") }, edited => 1);

# Nothing is left of the old text: a new toggle.
scenario('all other words', 'append', 'delete', sub { edit("format(E'# title %s\\n\\n> quote\\n\\n1. one\\n2. two', notebook_id)") }, edited => 1);
scenario(
	'a page in front', 'retitle', 'append',
	sub {
		$t->sql("BEGIN; UPDATE notebook_pages SET page_number = page_number + 100;
			UPDATE notebook_pages SET page_number = page_number - 99;
			SELECT test.add_page(n.id, 1001, 'a new beginning of user ' || n.user_id) FROM notebooks n;
			UPDATE notebook_pages SET page_number = 1 WHERE page_number = 1001; COMMIT");
	});
scenario('rename', 'properties', undef, sub { $t->sql("UPDATE notebooks SET visible_name = visible_name || ', renamed'") });

# More than one request can take: the rest of the page follows in others.
scenario(
	'a long page', 'append', 'append',
	sub {
		$t->sql("UPDATE pages SET ocr_text = (SELECT string_agg('- line ' || i, E'\n') FROM generate_series(1, 250) i)
			WHERE page_uuid = test.page_uuid(notebook_id, 3)");
	},
	after => 1, edited => 1);

# Looking up fails, too: an answer is lost, then that of the look-up.
$t->notion({ cmd => 'clear' });
{
	my $since = $t->arrived;
	my @rules = map { { fault => 'commit_close', match => { %{ $requests{append} }, user => "user$_" }, times => 1 } } @users;
	$t->notion(@rules);
	inject(\@odd, 'list');
	inject(\@even, 'list');
	$t->sql("UPDATE pages SET ocr_text = 'looked up' WHERE page_uuid = test.page_uuid(notebook_id, 2)");
	$t->settled('lost twice');
	my @idle = map { $_->{fault} } grep { $_->{hits} == 0 && $_->{fault} !~ /^commit_503_guidance/ } @{ $t->fake->get('/_rules')->{rules} };
	is("@idle", '', 'lost twice: every fault has happened');
	$t->equal('lost twice');
	$t->no_blind_resend('lost twice', $t->arrivals(since => $since));
}
scenario('deleted', 'archive', undef, sub { $t->sql('UPDATE notebooks SET deleted = true') });
is(scalar($t->pages), 0, 'deleted: no page is left');

# The pages they had are in the trash and carry the same markers: they must not
# be taken for those whose creation has an unknown outcome.
scenario('restored', 'create', 'create', sub { $t->sql('UPDATE notebooks SET deleted = false') });

# ------------------------------------- what the user in front of Notion does
$t->notion({ cmd => 'clear' });

my $user = 1000;

# A user with a notebook of n pages, synchronized.
sub fresh
{
	my ($pages, %config) = @_;
	my $n = ++$user;

	$t->add_user($n);
	my $book = $t->add_notebook($n, "Book of $n", [ map { "page $_ of user $n" } 1 .. $pages ]);
	$t->connect($n, %config);
	$t->settled("user $n", user => $n);
	return $book;
}

sub lane_is
{
	my ($book, $state, $reason, $name) = @_;
	return wait_for(
		$t->node,
		"SELECT state, state_reason ~ '$reason' FROM rmsync.integration_configs WHERE user_id = $book->{user}",
		"$state|t", $name);
}

sub told_once
{
	my ($book, $kind, $name) = @_;
	return is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = $book->{user} AND kind = '$kind'"),
		'1', "$name: the user is told, once");
}

my $book = fresh(3);
$t->notion({ cmd => 'revoke_token', user => "user$book->{user}" });
$t->edit_page($book->{pages}[1], 'edited without a token');
lane_is($book, 'auth', 'token', 'a token is revoked: the lane waits for another');
told_once($book, 'auth_failure', 'token');
is($t->sql("SELECT max(attempt) FROM rmsync.sync_queue WHERE user_id = $book->{user}"), '0', 'and no attempt is spent');
$t->notion({ cmd => 'add_token', token => 'ntn_another', user => "user$book->{user}" });
$t->{users}{ $book->{user} }{token} = 'ntn_another';
$t->connect($book->{user});
$t->settled('a new token', user => $book->{user});
$t->equal('a new token', $book->{user});

# The backup credential takes over.
$book = fresh(2);
$t->notion({ cmd => 'add_token', token => 'ntn_backup', user => "user$book->{user}" });
$t->sql("SELECT rmsync_connect($book->{user}, 'notion', jsonb_build_object('api_token', 'ntn_backup', 'database_id', '$t->{users}{$book->{user}}{database}'), true)");
$t->notion({ cmd => 'revoke_token', token => "ntn_user$book->{user}" });
$t->edit_page($book->{pages}[1], 'edited with the backup');
$t->settled('the backup credential', user => $book->{user});
$t->equal('the backup credential', $book->{user});

foreach my $case (
	[ '403_block_limit', 'quota', 'block', 'quota_exceeded' ],
	[ '403', 'held', 'permission', 'held' ],
	[ 'rate_429:public_api_request_blocked', 'held', 'blocked', 'held' ],
	[ 'row_limit', 'quota', 'row limit', 'quota_exceeded' ])
{
	my ($fault, $state, $reason, $kind) = @$case;
	$book = fresh(2);
	my $rule = $t->notion({ fault => $fault, match => { user => "user$book->{user}", %{ $requests{append} } } });
	$t->edit_page($book->{pages}[0], "page 1 of user $book->{user}\n\nadded in spite of $fault");
	lane_is($book, $state, $reason, "$fault: $state, with the reason");
	told_once($book, $kind, $fault);
	$t->notion({ cmd => 'clear', id => $rule->{id} });
	$t->sql("SELECT rmsync_enable($book->{user}, 'notion')");
	$t->settled($fault, user => $book->{user});
	$t->equal("$fault, lifted", $book->{user});
}

# The database is gone, or no longer shared.
$book = fresh(2);
my $at = $t->{users}{ $book->{user} };
$t->notion({ cmd => 'unshare', id => $at->{database} });
$t->sql("SELECT test.add_page($book->{id}, 3, 'added meanwhile')");
lane_is($book, 'held', 'no longer shared', 'the database is not shared any more: held');
told_once($book, 'held', 'unshared');
$t->notion({ cmd => 'share', id => $at->{database} });
$t->sql("SELECT rmsync_enable($book->{user}, 'notion')");
$t->settled('shared again', user => $book->{user});
$t->equal('shared again', $book->{user});

# A page moves to another notebook while answers are lost, on and on; and to
# one that is deleted before it got there.
sub move_page
{
	my ($page, $to) = @_;
	$t->sql("BEGIN; DELETE FROM notebook_pages WHERE page_id = $page; UPDATE pages SET notebook_id = $to->{id} WHERE id = $page;
		INSERT INTO notebook_pages (notebook_id, page_id, page_number)
		SELECT $to->{id}, $page, coalesce(max(page_number), 0) + 1 FROM notebook_pages WHERE notebook_id = $to->{id}; COMMIT");
	return;
}
foreach my $fault (qw(commit_close commit_503 truncated_json close))
{
	$book = fresh(3);
	my $to = $t->add_notebook($book->{user}, 'Another', ['its own']);
	$t->settled("two notebooks, $fault", user => $book->{user});
	my $rule = $t->notion({ fault => $fault, times => 2, match => { user => "user$book->{user}", %{ $requests{append} } } });
	my $look = $t->notion({ fault => 'reject_503', times => 1, match => { user => "user$book->{user}", %{ $requests{list} } } });
	move_page($book->{pages}[1], $to);
	$t->settled("a page moves, $fault", user => $book->{user});
	$t->equal("a page moves, $fault", $book->{user});
	$t->notion({ cmd => 'clear', id => $_->{id} }) foreach $rule, $look;
	$rule = $t->notion({ fault => 'rate_429', retry_after => 1, times => 1, match => { user => "user$book->{user}", %{ $requests{append} } } });
	move_page($book->{pages}[0], $to);
	wait_until(sub { (grep { $_->{id} == $rule->{id} } @{ $t->fake->get('/_rules')->{rules} })[0]{hits} }, 'another one is about to');
	$t->sql("UPDATE notebooks SET deleted = true WHERE id = $to->{id}");
	$t->settled("deleted with a page that moved in, $fault", user => $book->{user});
	$t->equal("deleted with a page that moved in, $fault", $book->{user});
}

# The page is thrown away: what the source has comes back.
foreach my $purge (0, 1)
{
	$book = fresh(4);
	my $id = $t->page_of($book)->{id};
	$t->notion({ cmd => 'trash', id => $id });
	$t->notion({ cmd => 'purge', id => $id }) if $purge;
	$t->edit_page($book->{pages}[2], 'edited, and its page is gone');
	$t->settled("page in the trash ($purge)", user => $book->{user});
	$t->equal("page in the trash ($purge)", $book->{user});
	is(scalar(grep { $_->{type} eq 'toggle' } $t->blocks_of($book)), 4, 'and all its toggles are back');
}

# A toggle is thrown away.
$book = fresh(4);
$t->notion({ cmd => 'trash', id => ($t->blocks_of($book))[1]{id} });
$t->edit_page($book->{pages}[1], 'edited, and its toggle is gone');
$t->settled('toggle in the trash', user => $book->{user});
$t->equal('toggle in the trash', $book->{user});

# The one before it is thrown away: it is the anchor of the next append.
$t->notion({ cmd => 'purge', id => ($t->blocks_of($book))[1]{id} });
$t->arrange($book, @{ $book->{pages} }[ 0, 1 ], $t->sql("SELECT test.add_page($book->{id}, 50, 'behind the gap')"), @{ $book->{pages} }[ 2, 3 ]);
$t->settled('anchor is gone', user => $book->{user});
$t->equal('anchor is gone', $book->{user});

# The user renames toggles and writes between them.
$book = fresh(3);
my @toggles = $t->blocks_of($book);
$t->notion(
	{ cmd => 'user_block', parent => $t->page_of($book)->{id}, text => 'mine', position => { after => $toggles[0]{id} } },
	{ cmd => 'edit_text', id => $toggles[1]{id}, text => 'a nicer title 2' });
$t->edit_page($book->{pages}[0], 'edited');
$t->settled('foreign blocks', user => $book->{user});
$t->equal('foreign blocks', $book->{user});
is(join(' ', map { $_->{type} } $t->blocks_of($book)), 'toggle paragraph toggle toggle', 'the user\'s own paragraph is still there');

# The anchor goes while the sync is under way: the second append waits for
# Notion, and meanwhile the last toggle of the first one is thrown away.
$t->notion({ fault => 'rate_429', retry_after => 2, times => 1, after => 1,
		match => { user => "user$book->{user}", %{ $requests{append} } } });
my $long = $t->add_notebook($book->{user}, 'Long', [ map { "entry $_" } 1 .. 150 ]);
wait_until(sub { my @b = $t->blocks_of($long); @b >= 100 }, 'the first append is there');
$t->notion({ cmd => 'trash', id => ($t->blocks_of($long))[99]{id} });
$t->settled('anchor is gone under way', user => $book->{user});
$t->equal('anchor is gone under way', $book->{user});

$t->stop;
done_testing();
