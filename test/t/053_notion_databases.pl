# What a person asks while waiting: does a connection work, what can its token
# see, make a database.  Nothing is made twice, no transaction is open during
# a request, and nobody needs more than EXECUTE.
use strict;
use warnings;
use utf8;

use JSON::PP;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $client_secret = 'cs_5e0c91b7aa';
my $secret_file = PostgreSQL::Test::Utils::tempdir() . '/client.secret';
{
	umask 0077;
	open(my $file, '>', $secret_file) or die "$secret_file: $!";
	print $file "$client_secret\n";
	close($file);
}
my $t = RmsyncNotion->new(
	fake => [ '--rate', 0, '--oauth-client', "rmirror:$client_secret" ],
	conf => {
		'rmsync.http_timeout' => '2s',
		'rmsync.notion_oauth_client_id' => 'rmirror',
		'rmsync.notion_oauth_client_secret_file' => $secret_file });
my $node = $t->node;
my $position = log_position($node);

# ------------------------------------------------------------- helpers

sub ask
{
	my ($call, $before) = @_;
	my $out = $t->sql(($before // '') . "CALL $call");
	return JSON::PP->new->decode($out);
}

sub test
{
	my ($user, $target) = @_;
	return ask("rmsync_test_connection('" . ($target // 'notion') . "', $user)");
}

sub refused
{
	my ($result, $code, $message, $name) = @_;
	ok(!$result->{ok}, "$name: it does not work");
	is($result->{code}, $code, "$name: $code") or diag(explain($result));
	like($result->{message}, $message, "$name: and why");
	return;
}

sub fault
{
	my ($user, $fault, $path, %more) = @_;
	return $t->notion({ fault => $fault, match => { user => "user$user", path => $path }, %more });
}

sub clear
{
	$t->notion({ cmd => 'clear' });
	return;
}

sub requests
{
	my ($user, $since) = @_;
	return map { $_->{path} =~ s{^/v1}{}r =~ s{\?.*}{}r =~ s{[0-9a-f-]{36}}{ID}gr =~ s{^}{$_->{method} }r }
	  $t->arrivals(since => $since, user => "user$user");
}

sub row
{
	my ($what, $user) = @_;
	return $t->sql("SELECT $what FROM rmsync.integration_configs WHERE user_id = $user AND target_name = 'notion'");
}

# Every live database of a user that has this title.
sub databases
{
	my ($user, $title) = @_;
	return grep { $_->{object} eq 'database' && ($_->{title} // '') eq $title } @{ $t->fake->get("/_dump?user=user$user")->{databases} };
}

sub top_page
{
	my ($user) = @_;
	return $t->notion({ cmd => 'workspace', user => "user$user" })->{page};
}

# ----------------------------------------------- does the connection work?

$t->add_user(1);
$t->connect(1);
$t->settled('connected');
my $since = $t->arrived;
my $result = test(1);
ok($result->{ok}, 'a good connection works') or diag(explain($result));
is("$result->{target} $result->{user_id}", 'notion 1', 'it says which');
like($result->{account}, qr/\S/, 'the account is told');
is_deeply($result->{columns_to_add}, ['Last Opened'], 'and which columns would be added');
like($result->{message}, qr/works as ".*; its database can be used, 1 missing column will be added/, 'in words');
is(join(', ', requests(1, $since)), 'GET /users/me, GET /databases/ID, GET /data_sources/ID', 'nothing is written');
is($result->{requests}, 3, 'the number of requests is told');
is(ask("rmsync_test_connection('notion')", 'SET rmsync.user_id = 1; ')->{user_id}, 1, 'the user may be the session\'s');

$t->sql("SELECT rmsync_disable(1, 'notion')");
ok(test(1)->{ok}, 'one that is switched off is tested, too');
is(row('is_enabled', 1), 'f', 'and stays off');
$t->sql("SELECT rmsync_enable(1, 'notion')");

$t->notion({ cmd => 'unshare', id => $t->{users}{1}{database} });
refused(test(1), 'database_missing', qr/no longer shared/, 'unshared');
$t->notion({ cmd => 'share', id => $t->{users}{1}{database} });
$t->notion({ cmd => 'trash', id => $t->{users}{1}{database} });
$result = test(1);
refused($result, 'database_missing', qr/in the trash/, 'in the trash');
like($result->{hint}, qr/rmsync_notion_databases/, 'with a hint');
$t->notion({ cmd => 'restore', id => $t->{users}{1}{database} });
my $second = $t->notion({ cmd => 'add_data_source', database => $t->{users}{1}{database}, title => 'Zweite' })->{id};
refused(test(1), 'ambiguous_data_source', qr/"Notebooks" \($t->{users}{1}{source}\), "Zweite" \($second\)\. .*"data_source_id"/,
	'several data sources');
$t->connect(1, data_source_id => $t->{users}{1}{source});
$result = test(1);
is($result->{data_source_id}, $t->{users}{1}{source}, 'one of them is chosen');
$t->notion({ cmd => 'trash', id => $second });
$t->connect(1);

# ---------------------------------------------- limits, outages, time-outs

fault(1, 'rate_429', '/users/me', times => 1, retry_after => 1);
fault(1, 'reject_503', '/databases/', times => 2);
$since = $t->arrived;
ok(test(1)->{ok}, 'a limit is waited for, and what was not done is asked again');
is(scalar(requests(1, $since)), 6, 'as often as that takes');
clear();
fault(1, 'rate_429', '/users/me', retry_after => 3000);
$result = test(1);
refused($result, 'rate_limit', qr/./, 'a long limit');
is($result->{retry_after}, 3000, 'nobody waits that long, but is told');
clear();
$since = $t->arrived;
$result = test(1);
refused($result, 'rate_limit', qr/asked to wait/, 'nor is Notion asked again');
cmp_ok($result->{retry_after}, '>', 2900, 'which says how long');
is(scalar(requests(1, $since)), 0, 'without a request');
$t->sql("SELECT rmsync_enable(1, 'notion')");
fault(1, 'reject_502_html', '/users/me');
$since = $t->arrived;
refused(test(1), 'server_error', qr/502/, 'an outage');
is(scalar(requests(1, $since)), 3, 'two more tries are enough');
clear();
fault(1, 'hang', '/users/me');
refused(test(1), 'network_error', qr/./, 'no answer');
clear();
fault(1, 'edge_403_html', '/users/me');
refused(test(1), 'blocked_by_edge', qr/blocked/, 'a firewall');
clear();
fault(1, '403', '/databases/');
$result = test(1);
refused($result, 'restricted_resource', qr/permission/i, 'a missing permission');
like($result->{hint}, qr/In Notion, let the connection/, 'with a hint');
clear();
fault(1, "body:$_", '/users/me') && ok(!test(1)->{ok}, "body $_: no good connection") && clear()
  foreach qw(garbage deep huge null array nul bad_utf8);

# ------------------------------------- no transaction during the requests

my $application = 'asks_slowly';
fault(1, 'slow:1.5', '/users/me', times => 1);
my $session = $node->background_psql('postgres');
$session->query_safe("SET application_name = '$application'");
my $busy = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name=${application}_2", '-c', "CALL rmsync_test_connection('notion', 1)" ],
	'<', \undef, '>', \my $answer);
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '${application}_2' AND wait_event_type = 'Extension'",
	1, 'the call waits for Notion');
is($t->sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = '${application}_2' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)"),
	0, 'and holds no snapshot meanwhile');
is( $t->sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE a.application_name = '${application}_2' AND l.locktype = 'relation' AND l.relation::regclass::text LIKE 'rmsync.%'"),
	0, 'nor a lock on a table');
$busy->finish;
like($answer, qr/"ok": true/, 'then it answers');
$session->quit;
clear();

my ($status, $out, $err) = $node->psql('postgres', "BEGIN; CALL rmsync_test_connection('notion', 1); COMMIT");
like($err, qr/rmsync_test_connection\(\) cannot be called in a transaction block\n.*HINT/, 'in a transaction block: an error');
($status, $out, $err) = $node->psql('postgres', 'BEGIN; CALL rmsync_notion_refresh(1); COMMIT');
like($err, qr/rmsync_notion_refresh\(\) cannot be called in a transaction block/, 'also for the refresh');
($status, $out, $err) = $node->psql('postgres',
	"CREATE FUNCTION test.indirectly() RETURNS void LANGUAGE plpgsql AS \$\$ DECLARE r jsonb; BEGIN CALL rmsync_notion_create_database('" . ('a' x 32)
	  . "', user_id => 1, result => r); END \$\$; SELECT test.indirectly()");
like($err, qr/cannot be called in a transaction block/, 'and in a function');
is($t->sql("DO \$\$ DECLARE r jsonb; BEGIN CALL rmsync_test_connection('notion', 1, r);
	IF NOT (r ->> 'ok')::bool THEN RAISE EXCEPTION '%', r; END IF; END \$\$; SELECT 'fine'"), 'fine', 'in a DO block it works');

# ------------------------------------------------- tokens that OAuth gave

sub grant
{
	my ($user) = @_;
	my $tokens = $t->exchange($client_secret, grant_type => 'authorization_code', code => $t->notion({ cmd => 'oauth_code', user => "user$user" })->{code});
	$t->sql("SELECT rmsync_oauth_store($user, 'notion', " . RmsyncNotion::quote(JSON::PP->new->encode($tokens)) . ')');
	return;
}

sub live_pair
{
	my ($user) = @_;
	return join(' ', map { "$_->{token} $_->{refresh}" } @{ $t->notion({ cmd => 'oauth_tokens', user => "user$user" })->{tokens} });
}

sub stored_pair
{
	my ($user, $target) = @_;
	$target //= 'notion';
	return $t->sql("SELECT concat_ws(' ', rmsync.decrypt(c.user_id, g.access_token_encrypted), rmsync.decrypt(c.user_id, g.refresh_token_encrypted))
		FROM rmsync.integration_configs c LEFT JOIN rmsync.oauth_grants g ON g.id = c.grant_id
		WHERE c.user_id = $user AND target_name = '$target'");
}

$t->add_user(2);
$t->connect(2);
grant(2);
$t->settled('granted');
foreach my $off (0, 1)
{
	my $before = stored_pair(2);
	$t->sql("SELECT rmsync_disable(2, 'notion')") if $off;
	$t->notion({ cmd => 'revoke_token', user => 'user2' });
	ok(test(2)->{ok}, "a token that has ended is renewed (off: $off)");
	is(stored_pair(2), live_pair(2), 'both new tokens are stored');
	isnt(stored_pair(2), $before, 'and new');
}
$t->notion({ cmd => 'revoke_token', user => 'user2', refresh_too => JSON::PP::true });
$result = test(2);
refused($result, 'unauthorized', qr/./, 'the grant has ended');
like($result->{hint}, qr/granted again/, 'with a hint');
grant(2);
$t->sql("SELECT rmsync_enable(2, 'notion')");
ok(test(2)->{ok}, 'granted again');

$t->add_user(3);
$t->connect(3);
$t->settled('user 3');
$t->notion({ cmd => 'revoke_token', user => 'user3' });
refused(test(3), 'unauthorized', qr/token/i, 'a token that cannot be renewed');
is(row('state', 3), 'active', 'a test does not stop the lane');

# -------------------------------------------------- what the token can see

sub listed
{
	my ($user) = @_;
	return $t->rows("SELECT id, title, notebooks, todos, parent_type, data_sources FROM rmsync_notion_databases($user)");
}

$t->add_user(4);
$t->connect(4);
is_deeply(listed(4), [], 'nothing was looked at yet');
my $top = top_page(4);
$t->notion(
	{ cmd => 'create_database', user => 'user4', preset => 'todos', title => 'Aufgaben' },
	{ cmd => 'create_database', user => 'user4', title => 'Books', properties => { Name => { title => {} }, Pages => { checkbox => {} } } },
	{ cmd => 'create_page', user => 'user4', title => "A page, \"quoted\" \x{1F600}" },
	{ cmd => 'create_page', user => 'user4', title => 'Below', parent => $top },
	{ cmd => 'create_page', user => 'user4', title => 'Thrown away' },
	{ cmd => 'create_row', user => 'user4', data_source => $t->{users}{4}{source}, title => 'A row' });
$t->notion({ cmd => 'trash', id => $t->notion({ cmd => 'find', title => 'Thrown away' })->{ids}[0] });
my $several = (databases(4, 'Books'))[0]{id};
$t->notion({ cmd => 'add_data_source', database => $several, title => 'More books' });
$result = ask('rmsync_notion_refresh(4)');
ok($result->{ok} && $result->{complete}, 'Notion is asked') or diag(explain($result));
is_deeply($result->{found}, { databases => 3, data_sources => 4, pages => 3 }, 'and what there is counted');
is(join(', ', map { $_->{title} } @{ listed(4) }), 'Aufgaben, Books, Notebooks', 'the databases');
is_deeply([ map { $_->{name} } @{ (grep { $_->{title} eq 'Books' } @{ listed(4) })[0]{data_sources} } ], [ 'Books', 'More books' ], 'with their data sources');
is($t->sql('SELECT string_agg(title, $$|$$ ORDER BY title) FROM rmsync_notion_pages(4)'), "A page, \"quoted\" \x{1F600}|Below|rmirror", 'the pages, without rows and without the trash');
is($t->sql("SELECT parent_type || ' ' || parent_id FROM rmsync_notion_pages(4) WHERE title = 'Below'"), "page $top", 'and where they are');
is($t->sql("SELECT bool_and(url LIKE 'https://%' AND last_edited > now() - interval '1 day') FROM rmsync_notion_databases(4)"), 't', 'with address and time');
$t->settled('user 4');
my $book4 = $t->add_notebook(4, 'First', ['one']);
$t->settled('columns are added', user => 4);
ask('rmsync_notion_refresh(4)');
is(join(' ', map { "$_->{title}:" . ($_->{notebooks} ? 'n' : '-') . ($_->{todos} ? 't' : '-') } @{ listed(4) }), 'Aufgaben:-- Books:-- Notebooks:n-', 'which of them have every column');
is($t->sql('SELECT count(*) FROM rmsync.notion_objects WHERE user_id <> 4'), 0, 'other users were not asked about');

fault(4, 'reject_500', '/search', after => 1);
refused(ask('rmsync_notion_refresh(4)'), 'server_error', qr/Unexpected error/, 'half an answer');
is(scalar @{ listed(4) }, 3, 'what was known stays');
clear();
foreach my $kind (qw(garbage deep null array empty_object nul wrong_types wrong_elements no_ids null_ids evil_ids long_ids no_cursor))
{
	fault(4, "body:$kind", '/search', times => 3);
	ask('rmsync_notion_refresh(4)');
	is($t->sql("SELECT count(*) FROM rmsync.notion_objects WHERE user_id = 4 AND id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\$'"), 0, "body $kind: no evil ids");
	clear();
}
$t->notion({ cmd => 'unshare', id => $several });
ask('rmsync_notion_refresh(4)');
is(join(', ', map { $_->{title} } @{ listed(4) }), 'Aufgaben, Notebooks', 'what is gone is gone here, too');
$t->notion(map { { cmd => 'create_page', user => 'user4', title => "Page $_" } } 1 .. 230);
$result = ask('rmsync_notion_refresh(4)');
is($result->{found}{pages}, 233, 'more than one page of results');

# ------------------------------------------------------- making a database

sub create
{
	my ($user, $title, $more, $before) = @_;
	return ask("rmsync_notion_create_database('" . top_page($user) . "', " . RmsyncNotion::quote($title) . ', user_id => ' . $user . ($more // '') . ')', $before);
}

# connected without a database: chosen later
$t->add_user(5);
$t->sql("SELECT rmsync_connect(5, 'notion', '{\"api_token\": \"ntn_user5\", \"database_id\": null}')");
my $book5 = $t->add_notebook(5, 'Early', [ 'one', 'two' ]);
wait_for($node, "SELECT state || ' ' || state_reason FROM rmsync.integration_configs WHERE user_id = 5",
	'held No Notion database is chosen yet; name one in rmsync_connect(), or make one with rmsync_notion_create_database().', 'without a database it waits');
refused(test(5), 'no_database', qr/token is good/, 'the token can be tested');
ok(ask('rmsync_notion_refresh(5)')->{ok}, 'and used to look around');
$since = $t->arrived;
$result = create(5, 'Journals');
ok($result->{ok} && $result->{connected}, 'a database is made and connected') or diag(explain($result));
is(join(', ', grep { /^POST|children/ && !/pages|query/ } requests(5, $since)), 'GET /blocks/ID/children, POST /databases', 'one request, after a look');
is(scalar databases(5, 'Journals'), 1, 'it is there');
$t->{users}{5}{database} = $result->{database_id};
$t->settled('the new database', user => 5);
is(scalar($t->pages(5)), 1, 'what had waited is in it');
is_deeply(test(5)->{columns_to_add}, [], 'it has every column');
is(row('config_epoch', 5), 2, 'a new destination');
is($t->sql("SELECT notebooks FROM rmsync_notion_databases(5) WHERE title = 'Journals'"), 'f', 'it is in the list at once');
ask('rmsync_notion_refresh(5)');
is($t->sql("SELECT notebooks FROM rmsync_notion_databases(5) WHERE title = 'Journals'"), 't', 'and with its columns after the next look');
$result = create(5, 'Elsewhere', ', connect => false');
ok($result->{ok} && !$result->{connected}, 'without connecting');
like($t->sql("SELECT rmsync.decrypt(5, config_encrypted) FROM rmsync.integration_configs WHERE user_id = 5"), qr/$t->{users}{5}{database}/, 'the connection stays as it is');

# refused
$result = ask("rmsync_notion_create_database('" . ('0' x 32) . "', user_id => 5)");
refused($result, 'parent_missing', qr/Could not find/, 'no such page');
fault(5, '403_block_limit', '/v1/databases');
refused(create(5, 'Too much'), 'quota_exceeded', qr/./, 'the plan is full');
clear();
is($t->sql('SELECT count(*) FROM rmsync.notion_intents'), 0, 'what was refused leaves no intent');

# Answers are lost: it is found, at once or by the next call; one of the user's
# own that has the same title was there before and is not taken for it.
my $n = 0;
foreach my $fault (qw(commit_close commit_reset commit_500 commit_502_html commit_503 commit_503_guidance commit_504 truncated_json empty_200 commit_hang))
{
	my $title = 'Lost ' . ++$n;
	$t->notion({ cmd => 'create_database', user => 'user5', title => $title, properties => { Name => { title => {} } } });
	my $own = (databases(5, $title))[0]{id};
	fault(5, $fault, '/v1/databases$', times => 1);
	$result = create(5, $title, ', connect => false');
	ok($result->{ok}, "$fault: made") or diag(explain($result));
	isnt($result->{database_id}, $own, "$fault: not the user's own");
	is(scalar databases(5, $title), 2, "$fault: once");
	clear();
}
# As long as Notion may still make it, nothing is sent: 15 s here.
my $slowly = 'SET rmsync.backoff_scale = 0.2; ';

sub no_longer
{
	my ($title) = @_;
	return $t->sql('UPDATE rmsync.notion_intents SET until = now() WHERE title = ' . RmsyncNotion::quote($title));
}
foreach my $fault (qw(close reject_500 reject_503 hang))
{
	my $title = 'Never made ' . ++$n;
	fault(5, $fault, '/v1/databases$', times => 1);
	refused(create(5, $title, ', connect => false', $slowly), 'unknown_outcome', qr/did not say/, $fault);
	is(scalar databases(5, $title), 0, "$fault: not there");
	$result = create(5, $title, ', connect => false', $slowly);
	refused($result, 'unknown_outcome', qr/not there yet/, "$fault, again");
	ok($result->{retry_after} > 0 && $result->{retry_after} <= 15, "$fault: it tells how long to wait") or diag(explain($result));
	like($result->{hint}, qr/again in $result->{retry_after} seconds/, "$fault: and what for");
	is(scalar databases(5, $title), 0, "$fault: nothing is made meanwhile");
	no_longer($title);
	$result = create(5, $title, ', connect => false');
	ok($result->{ok}, "$fault: the next call makes it");
	is(scalar databases(5, $title), 1, "$fault: once");
	clear();
}
is($t->sql('SELECT count(*) FROM rmsync.notion_intents'), 0, 'no intent is left');

# Notion makes it when nobody looks any more
foreach my $again (0, 1)
{
	my $title = 'Late ' . ++$n;
	fault(5, 'late_close', '/v1/databases$', times => 1, seconds => 3);
	refused(create(5, $title, ', connect => false', $slowly), 'unknown_outcome', qr/not there yet/, "late ($again)");
	refused(create(5, $title, ', connect => false', $slowly), 'unknown_outcome', qr/not there yet/, 'still on its way') if $again;
	wait_until(sub { scalar databases(5, $title) }, "late ($again): it comes into being");
	$result = create(5, $title, ', connect => false');
	ok($result->{ok} && $result->{found}, "late ($again): the next call finds it") or diag(explain($result));
	is(scalar databases(5, $title), 1, "late ($again): once");
	clear();
}

# the look after a lost answer fails, too: the next call finds it
fault(5, 'commit_close', '/v1/databases$', times => 1);
fault(5, 'reject_503', '/children', after => 1, times => 3);
ok(!create(5, 'Lost and not found')->{ok}, 'the look fails');
clear();
$result = create(5, 'Lost and not found');
ok($result->{ok} && $result->{found}, 'the next call finds it') or diag(explain($result));
is(scalar databases(5, 'Lost and not found'), 1, 'once');

# so it does after the session was killed before the answer
fault(5, 'commit_hang', '/v1/databases$', times => 1);
my $top5 = top_page(5);
$busy = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=killed', '-c',
		"CALL rmsync_notion_create_database('$top5', 'Killed', user_id => 5, connect => false)" ],
	'<', \undef, '>', \$answer, '2>', \my $error);
wait_until(sub { scalar databases(5, 'Killed') }, 'it is made, without an answer');
$t->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'killed'");
$busy->finish;
is($t->sql("SELECT title FROM rmsync.notion_intents"), 'Killed', 'the intent is there');
clear();
$result = create(5, 'Killed', ', connect => false');
ok($result->{found}, 'and settled by the next call');
is(scalar databases(5, 'Killed'), 1, 'once');

# two at once
fault(5, 'slow:1.5', '/children', times => 1);
$busy = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=first', '-c',
		"CALL rmsync_notion_create_database('$top5', 'Twins', user_id => 5, connect => false)" ],
	'<', \undef, '>', \$answer, '2>', \$error);
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'first' AND wait_event_type = 'Extension'", 1, 'one is under way');
($status, $out, $err) = $node->psql('postgres', "CALL rmsync_notion_create_database('$top5', 'Twins', user_id => 5)");
like($err, qr/is being made for user 5 by another session/, 'another call is refused meanwhile');
$busy->finish;
is(scalar databases(5, 'Twins'), 1, 'there is one');
clear();

# For to-dos, with the grant of the notebooks' connection.
my $book2 = $t->add_notebook(2, 'Two', ['page']);
$t->settled('user 2', user => 2);
$result = ask("rmsync_notion_create_database('" . top_page(2) . "', 'Tasks', 'todos', 2)");
ok($result->{ok} && $result->{connected}, 'to-dos are connected with it') or diag(explain($result));
is($result->{target}, 'notion-todos', 'as their own target');
is(stored_pair(2, 'notion-todos'), stored_pair(2), 'with the tokens of the same grant');
$result = test(2, 'notion-todos');
ok($result->{ok}, 'which works') or diag(explain($result));
is_deeply($result->{columns_to_add}, [], 'and has every column');

# either of the two renews the tokens, for both
$t->settled('to-dos', user => 2);
$t->notion({ cmd => 'revoke_token', user => 'user2' });
ok(test(2, 'notion-todos')->{ok}, 'the to-dos\' connection renews the token');
is(stored_pair(2), live_pair(2), 'for the notebooks, too');
$t->notion({ cmd => 'revoke_token', user => 'user2' });
$t->sql("SELECT test.add_todo($book2->{pages}[0], 'with a token that has ended')");
$t->settled('renewed by the to-dos', user => 2);
is(stored_pair(2, 'notion-todos'), live_pair(2), 'also when a worker meets its end');
is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id = 2 AND target_name = 'notion-todos' AND status = 'success'"), 1, 'and the to-do is there');
is($t->sql("SELECT count(*) FROM rmsync.notifications WHERE user_id = 2 AND kind = 'auth_failure'"), 1, 'nobody was told but of the grant that had ended');

# ------------------------------------------------ who may, and what is seen

$t->sql("CREATE ROLE app LOGIN; GRANT EXECUTE ON PROCEDURE rmsync_test_connection, rmsync_notion_refresh TO app;
	GRANT EXECUTE ON FUNCTION rmsync_notion_databases TO app;
	CREATE SCHEMA evil AUTHORIZATION app; ALTER ROLE app SET search_path = evil, public, pg_catalog;
	CREATE FUNCTION evil.hijack(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'hijacked'; END \$\$;
	CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.hijack); GRANT EXECUTE ON FUNCTION evil.hijack TO app");

sub as_app
{
	my ($sql) = @_;
	($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'app' ]);
	return $out;
}

$node->append_conf('pg_hba.conf', 'local all app trust');
like(as_app("SET rmsync.user_id = 1; CALL rmsync_test_connection('notion')"), qr/"ok": true/, 'EXECUTE is enough') or diag($err);
like(as_app("SET rmsync.user_id = 1; CALL rmsync_notion_refresh(); SELECT count(*) > 0 FROM rmsync_notion_databases()"), qr/\nt$/, 'also to look around') or diag($err);
as_app("SET rmsync.user_id = 1; CALL rmsync_test_connection('notion', 4)");
like($err, qr/permission denied for user 4/, 'not for another user');
as_app("SET rmsync.user_id = 1; CALL rmsync_notion_create_database('$top', user_id => 1)");
like($err, qr/permission denied for procedure rmsync_notion_create_database/, 'nor what was not granted');
as_app("CALL rmsync_test_connection('notion', 1); SELECT count(*) FROM rmsync.integration_configs");
like($err, qr/permission denied for (schema|table)/, 'afterwards the caller has its own rights again');
like(as_app("CALL rmsync_test_connection('notion', 1); SHOW search_path"), qr/evil, public, pg_catalog$/, 'and its own search path');
is($t->sql("SET rmsync.user_id = 4; SELECT count(*) FROM rmsync_notion_databases(NULL) WHERE connection_user <> 4"), 0, 'a session sees its user\'s objects');

# A copy of the database asks nothing: it could end the original's tokens.
$t->sql('CREATE TEMP TABLE t AS SELECT 1; UPDATE rmsync.instance SET system_identifier = 1');
($status, $out, $err) = $node->psql('postgres', "CALL rmsync_test_connection('notion', 1)");
like($err, qr/sends nothing from this database/, 'a copy asks nothing');
$t->sql('SELECT rmsync_adopt_instance()');

# what is gone with its user
$t->sql('SELECT rmsync.forget_user(4)');
is($t->sql('SELECT count(*) FROM rmsync.notion_objects WHERE user_id = 4'), 0, 'a user\'s objects go with the user');

# ----------------------------------------------------------------- webhooks

my $secret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=';
my $hook = RmsyncFake->start('hook.py', '--secret', $secret);
set_conf($node, 'rmsync.allow_http' => 'on', 'rmsync.allowed_networks' => '127.0.0.1');
$t->sql("SELECT rmsync_connect(6, 'webhook', '{\"url\": \"" . $hook->url('/u6') . "\", \"secret\": \"$secret\"}')");
$result = test(6, 'webhook');
ok($result->{ok}, 'a receiver is tested') or diag(explain($result));
my ($ping) = grep { $_->{body} =~ /ping/ } @{ $hook->get('/_deliveries') };
is(decode_json($ping->{body})->{type}, 'rmsync.ping', 'with an event that tells nothing');
is($ping->{signature}, $hook->get('/_deliveries')->[0]{signature}, 'signed') if defined $ping->{signature};
is($hook->get('/_stats')->{bad_signatures}, 0, 'with a good signature');
foreach my $case ([ '/status/401', 'unauthorized' ], [ '/status/404', 'rejected' ], [ '/status/410', 'endpoint_gone' ],
	[ '/redirect', 'redirect' ], [ '/status/500', 'server_error' ], [ '/close', 'network_error' ], [ '/status/429?retry-after=600', 'rate_limit' ])
{
	$hook->post('/_reset');
	$hook->post('/_control', { rules => [ { path => '/u6', mode => $case->[0] } ] });
	refused(test(6, 'webhook'), $case->[1], qr/./, $case->[0]);
}
$t->sql("SELECT rmsync_enable(6, 'webhook')");
$hook->stop;
refused(test(6, 'webhook'), 'network_error', qr/./, 'nobody listens');

# -------------------------------------------------------------- no secrets

log_lacks($node, qr/ntn_|nrt_|\Q$client_secret\E|whsec_/, $position, 'no token is in the log');
log_lacks($node, qr/terminated by signal 1?[1-9]\b|PANIC|TRAP/, $position, 'nothing crashed');

$t->stop;
done_testing();
