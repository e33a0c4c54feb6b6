# Tokens that OAuth gave: renewed when refused, once, for all that share them;
# and what happens if that fails.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $client_secret = 'cs_8f2b7c0d51';
my $secret_file = PostgreSQL::Test::Utils::tempdir() . '/client.secret';

sub write_secret
{
	my ($text) = @_;
	unlink $secret_file;
	umask 0077;
	open(my $file, '>', $secret_file) or die "$secret_file: $!";
	print $file "$text\n";
	close($file);
	return;
}

write_secret($client_secret);
my $t = RmsyncNotion->new(
	fake => [ '--rate', 0, '--oauth-client', "rmirror:$client_secret" ],
	conf => {
		'restart_after_crash' => 'on',
		'rmsync.notion_oauth_client_id' => 'rmirror',
		'rmsync.notion_oauth_client_secret_file' => $secret_file });
my $node = $t->node;

# ------------------------------------------------------------- helpers

sub grant
{
	my ($user) = @_;
	my $code = $t->notion({ cmd => 'oauth_code', user => "user$user" })->{code};
	return $t->exchange($client_secret, grant_type => 'authorization_code', code => $code);
}

sub store
{
	my ($user, $tokens, $target) = @_;
	my $json = RmsyncNotion::quote(JSON::PP->new->canonical->encode($tokens));
	return $t->sql("SELECT rmsync_oauth_store($user, '" . ($target // 'notion') . "', $json)");
}

# The access token ends; the refresh token too, if asked for.
sub expire
{
	my ($user, %opt) = @_;
	$t->notion({ cmd => 'revoke_token', user => "user$user",
			refresh_too => $opt{refresh_too} ? JSON::PP::true : JSON::PP::false });
	return;
}

sub refreshes
{
	my ($since) = @_;
	return scalar grep { $_->{path} eq '/v1/oauth/token' } $t->arrivals(since => $since);
}

sub count
{
	my ($what) = @_;
	return $t->sql("SELECT count(*) FROM $what");
}

sub notices
{
	my ($user) = @_;
	return count("rmsync.notifications WHERE kind = 'auth_failure' AND user_id = $user");
}

# The pairs at Notion and in the lane.
sub live_pair
{
	my ($user) = @_;
	my $tokens = $t->notion({ cmd => 'oauth_tokens', user => "user$user" })->{tokens};
	return join(' ', sort map { "$_->{token} $_->{refresh}" } @$tokens);
}

sub stored_pair
{
	my ($user, $target) = @_;
	$target //= 'notion';
	return $t->sql("SELECT concat_ws(' ', rmsync.decrypt(c.user_id, g.access_token_encrypted),
			rmsync.decrypt(c.user_id, g.refresh_token_encrypted))
		FROM rmsync.integration_configs c LEFT JOIN rmsync.oauth_grants g ON g.id = c.grant_id
		WHERE c.user_id = $user AND target_name = '$target'");
}

# Where a token stands, in plain or encrypted, whatever else is in there.
sub places
{
	my ($token) = @_;
	return $t->sql("SELECT coalesce(string_agg(place, ' ' ORDER BY place), '') FROM (
		SELECT CASE WHEN r ? 'target_name' THEN 'lane' ELSE 'grant' END || '.' || f.key AS place
		FROM (SELECT to_jsonb(c) AS r FROM rmsync.integration_configs c UNION ALL SELECT to_jsonb(g) FROM rmsync.oauth_grants g) x,
			jsonb_each_text(r) f
		WHERE strpos(f.value, '$token') > 0
		   OR strpos(rmsync.decrypt((r ->> 'user_id')::bigint, CASE WHEN f.value LIKE 'gAAAA%' THEN f.value END), '$token') > 0) p");
}

sub grants
{
	my ($user) = @_;
	return count("rmsync.oauth_grants WHERE user_id = $user");
}

# Every write of credentials, by whomever.
$t->sql(q{CREATE TABLE test.writes (user_id bigint, what text);
	CREATE FUNCTION test.note_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	BEGIN
		INSERT INTO test.writes SELECT NEW.user_id, CASE WHEN TG_TABLE_NAME <> 'oauth_grants' THEN 'lane'
			WHEN o ->> 'access_token_encrypted' <> n ->> 'access_token_encrypted' AND o ->> 'refresh_token_encrypted' <> n ->> 'refresh_token_encrypted'
				THEN 'both tokens' ELSE 'something else' END
		FROM to_jsonb(OLD) o, to_jsonb(NEW) n;
		RETURN NULL;
	END $$;
	CREATE TRIGGER note_write AFTER UPDATE ON rmsync.oauth_grants FOR EACH ROW EXECUTE FUNCTION test.note_write();
	CREATE TRIGGER note_write AFTER UPDATE OF config_encrypted, backup_config_encrypted, grant_id, state ON rmsync.integration_configs
		FOR EACH ROW EXECUTE FUNCTION test.note_write()});

sub writes
{
	my ($user) = @_;
	return $t->sql("SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM test.writes WHERE user_id = $user");
}

# --------------------------------------------------- the first connection

$t->add_user(1);
my @books = map { $t->add_notebook(1, "Book $_", [ "page 1 of $_", "page 2 of $_" ]) } 1 .. 4;
my $first = grant(1);
my ($status, $out, $err) = $node->psql('postgres',
	"SELECT rmsync_oauth_store(1, 'notion', '{\"access_token\": \"$first->{access_token}\"}')");
like($err, qr/not connected.*\n.*HINT:.*rmsync_connect/s, 'without a connection there is a hint');

# the connection is made with a token that is not good (any more)
my $position = log_position($node);
$t->sql("BEGIN; SELECT rmsync_connect(1, 'notion', '{\"api_token\": \"ntn_stale\", \"database_id\": \"$t->{users}{1}{database}\"}');
	SELECT rmsync_oauth_store(1, 'notion', " . RmsyncNotion::quote(JSON::PP->new->encode($first)) . '); COMMIT');
$t->settled('first sync with the stored token');
$t->equal('first sync with the stored token', 1);
is(notices(1), 0, 'the stored token was used, not the one of the configuration');
is(places('ntn_stale'), '', 'which is gone from there');
is(places($first->{access_token}), 'grant.access_token_encrypted', 'the one that was granted stands in the grant');
is(places($first->{refresh_token}), 'grant.refresh_token_encrypted', 'as does what renews it');

# a second lane of the same grant, which no worker serves
$t->sql("INSERT INTO rmsync.integration_configs (user_id, target_name, is_enabled, config_encrypted, item_types, granularity)
	SELECT user_id, 'notion-later', false, config_encrypted, 4, 'i' FROM rmsync.integration_configs WHERE user_id = 1");
$t->sql("UPDATE rmsync.integration_configs SET grant_id = (SELECT grant_id FROM rmsync.integration_configs WHERE target_name = 'notion')
	WHERE target_name = 'notion-later'");
store(1, $first);
is(stored_pair(1, 'notion-later'), "$first->{access_token} $first->{refresh_token}", 'lanes of one grant get its tokens together');

# ------------------------------------------------ renewed once, for many jobs

my $since = $t->arrived;
expire(1);
$t->edit_page($_->{pages}[0], 'edited after the end of the token') foreach @books;
$t->settled('renewed');
$t->equal('renewed', 1);
is(refreshes($since), 1, 'the token was renewed once');
is(stored_pair(1), live_pair(1), 'both new tokens are stored');
isnt(live_pair(1), "$first->{access_token} $first->{refresh_token}", 'and they are new');
is(stored_pair(1, 'notion-later'), live_pair(1), 'for the other lane of the grant, too');
is(count("rmsync.sync_log WHERE error_code = 'token_renewed'"), 1, 'which the log tells');
is(count("rmsync.sync_log WHERE status IN ('retry', 'failed')"), 0, 'no item lost an attempt');
is(notices(1), 0, 'nobody is told');

# the application names its old token when it changes something else
$t->sql("SELECT rmsync_connect(1, 'notion', '{\"api_token\": \"ntn_stale\", \"database_id\": \"$t->{users}{1}{database}\", \"app_url\": \"https://rmirror.io\"}')");
is(stored_pair(1), live_pair(1), 'the renewed token stays when the connection is made again with its old one');

# ------------------------------------------ another process renews the tokens

my $lock = '1919775610, grant_id::int';
my $session = $node->background_psql('postgres');
$session->query_safe("SELECT pg_advisory_lock($lock) FROM rmsync.integration_configs WHERE target_name = 'notion'");
$since = $t->arrived;
my (undef, $refresh) = split / /, stored_pair(1);
expire(1);
$t->edit_page($books[0]{pages}[1], 'edited while another process renews');
wait_until(
	sub { grep { ($_->{status} // 0) == 401 } $t->arrivals(since => $since) },
	'the end of the token is noticed');
wait_for($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type ~ 'rmsync.*worker'}, 't', 'a worker is there');
is(refreshes($since), 0, 'it is not renewed while another process does that');
store(1, $t->exchange($client_secret, grant_type => 'refresh_token', refresh_token => $refresh));
$session->query_safe("SELECT pg_advisory_unlock($lock) FROM rmsync.integration_configs WHERE target_name = 'notion'");
$session->quit;
$t->settled('renewed elsewhere');
$t->equal('renewed elsewhere', 1);
is(refreshes($since), 1, 'and not again afterwards');
is(stored_pair(1), live_pair(1), 'its tokens are used');

# --------------------------------------------- the request was lost on its way

$since = $t->arrived;
$t->notion({ fault => 'close_before_read', match => { path => '^/v1/oauth/token' }, times => 1 });
expire(1);
$t->edit_page($books[1]{pages}[1], 'edited, and the request is lost');
$t->settled('request lost');
$t->equal('request lost', 1);
is(refreshes($since), 2, 'it was sent again');
is(count("rmsync.sync_log WHERE error_code = 'oauth_unknown'"), 1, 'after a pause');
is(notices(1), 0, 'nobody is told');

# --------------------------------------------------- the answer was lost

$since = $t->arrived;
$t->notion({ fault => 'commit_close', match => { path => '^/v1/oauth/token' }, times => 1 });
expire(1);
$t->edit_page($books[2]{pages}[1], 'edited, and the answer is lost');
wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE target_name = 'notion'", 'auth', 'the lane stops');
is(refreshes($since), 2, 'the old refresh token was tried once more');
my @tries = map { $_->{n} } grep { $_->{path} eq '/v1/oauth/token' } $t->arrivals(since => $since);
is(scalar(grep { $_->{n} > $tries[0] && $_->{n} < $tries[1] && ($_->{status} // 0) == 401 } $t->arrivals(since => $since)),
	1, 'after a look whether the access token is refused');
is(notices(1), 1, 'the user is told once');
is(count("rmsync.sync_queue WHERE attempt = 0 AND status = 'pending'"), count('rmsync.sync_queue'), 'what is open waits');
isnt(count('rmsync.sync_queue'), 0, 'and it is there');
store(1, grant(1));
$t->settled('granted again');
$t->equal('granted again', 1);

# -------------------------------------- the grant has ended, in either form

foreach my $form (qw(notion rfc))
{
	my $told = notices(1);

	$t->notion({ cmd => 'set', oauth_error => $form });
	$since = $t->arrived;
	expire(1, refresh_too => 1);
	$t->edit_page($_->{pages}[0], "edited after the end of the grant, $form") foreach @books;
	wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE target_name = 'notion'", 'auth', "$form: the lane stops");
	is(refreshes($since), 1, "$form: one try");
	is(notices(1), $told + 1, "$form: the user is told once");
	is(count("rmsync.sync_log WHERE status IN ('retry', 'failed')"), 0, "$form: no item lost an attempt");
	store(1, grant(1));
	$t->settled("$form: granted again");
	$t->equal("$form: granted again", 1);
}

# ------------------------- the application's own credentials: nobody's fault

my $told = notices(1);
write_secret('wrong');
$since = $t->arrived;
expire(1);
$t->edit_page($books[3]{pages}[0], 'edited while the application has a wrong secret');
wait_for($node, "SELECT count(*) > 1 FROM rmsync.sync_log WHERE error_code = 'oauth_client'", 't', 'the refusal is logged');
is($t->sql("SELECT state FROM rmsync.integration_configs WHERE target_name = 'notion'"), 'active', 'the lane is not stopped');
write_secret($client_secret);
$t->settled('the secret is right again');
$t->equal('the secret is right again', 1);
is(notices(1), $told, 'and nobody was told');

# ------------------------------------------- the server stops meanwhile

$since = $t->arrived;
$t->notion({ fault => 'slow:1.5', match => { path => '^/v1/oauth/token' }, times => 1 });
expire(1);
$t->edit_page($books[3]{pages}[1], 'edited before the server stops');
wait_until(sub { refreshes($since) }, 'the token is being renewed');
$node->restart;
is(stored_pair(1), live_pair(1), 'the new tokens are stored before the server stops');
$t->settled('after the restart');
$t->equal('after the restart', 1);
is(refreshes($since), 1, 'they are not renewed again');

# ---------- the worker is told to end in the middle of a transaction meanwhile

# Tells the worker to end while it waits for a lock, then gives the lock back.
sub end_while_locked
{
	my ($locker, $name) = @_;
	my $pid = '';

	wait_until(
		sub {
			# the signal is sent to none but those found: a second one would kill
			$pid = $t->sql("SELECT rmsync.wake(); WITH w AS MATERIALIZED (SELECT pid FROM pg_stat_activity
				WHERE backend_type ~ 'rmsync.*worker' AND wait_event_type = 'Lock') SELECT pid FROM w WHERE pg_terminate_backend(pid)");
			return $pid =~ /(\d+)/;
		},
		"$name: the worker is told to end");
	($pid) = $pid =~ /(\d+)/;
	$locker->query_safe('COMMIT');
	$locker->quit;
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', "$name: and ends");
	return;
}

foreach my $how ('the answer is under way', 'the answer is there')
{
	my $answered = $how =~ /there/;
	my $locker = $node->background_psql('postgres');

	$since = $t->arrived;
	$t->notion({ fault => 'slow:' . ($answered ? 1 : 3), match => { path => '^/v1/oauth/token' }, times => 1 });
	expire(1);
	$t->edit_page($books[2]{pages}[1], "edited, $how");
	wait_until(sub { refreshes($since) }, "$how: the token is being renewed");
	$locker->query_safe('BEGIN; ' . ($answered ? 'SELECT FROM rmsync.oauth_grants FOR UPDATE' : 'LOCK TABLE rmsync.sync_intake'));
	end_while_locked($locker, $how);
	is(stored_pair(1), live_pair(1), "$how: the new tokens are stored before the worker ends");
	$t->settled($how);
	$t->equal($how, 1);
	is(refreshes($since), 1, "$how: they are not renewed again");
	is(notices(1), $told, "$how: nobody was told");
}

# Nothing helps when the process is killed: the old tokens are dead, the new
# ones are nowhere.  The user is told, once.
$since = $t->arrived;
$t->notion({ fault => 'slow:1.5', match => { path => '^/v1/oauth/token' }, times => 1 });
expire(1);
$t->edit_page($books[2]{pages}[1], 'edited, and the worker is killed');
wait_until(sub { refreshes($since) }, 'killed: the token is being renewed');
signal_worker('KILL', (worker_pids($node))[0]);
wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE target_name = 'notion'", 'auth', 'killed: the lane stops');
is(notices(1), $told + 1, 'killed: the user is told once');
is(refreshes($since), 2, 'killed: after one more try');
store(1, grant(1));
$t->settled('killed, and granted again');
$t->equal('killed, and granted again', 1);
$told = notices(1);

# ------------------------- granted again while the old token is being renewed

# Notion may give the same grant back: what it answers to the renewal is older.
my $renewals = count("rmsync.sync_log WHERE error_code = 'token_renewed'");
expire(1);
$since = $t->arrived;
$t->notion({ fault => 'slow:1.5', match => { path => '^/v1/oauth/token' }, times => 1 });
$t->edit_page($books[2]{pages}[1], 'edited while both happens');
wait_until(sub { refreshes($since) }, 'granted meanwhile: the token is being renewed');
my $granted = grant(1);
$granted->{bot_id} = $t->sql("SELECT g.external_id FROM rmsync.oauth_grants g JOIN rmsync.integration_configs c ON c.grant_id = g.id WHERE target_name = 'notion'");
store(1, $granted);
$t->settled('granted meanwhile');
$t->equal('granted meanwhile', 1);
is(stored_pair(1), "$granted->{access_token} $granted->{refresh_token}", 'granted meanwhile: the newer tokens stay');
is(count("rmsync.sync_log WHERE error_code = 'token_renewed'"), $renewals, 'granted meanwhile: nothing was renewed');

# ------------------------------------- without a client, and with a backup

set_conf($node, 'rmsync.notion_oauth_client_id' => '');
$t->notion({ cmd => 'add_token', token => 'ntn_backup1', user => 'user1' });
$t->sql("SELECT rmsync_connect(1, 'notion', '{\"api_token\": \"ntn_backup1\", \"database_id\": \"$t->{users}{1}{database}\"}', true)");
$since = $t->arrived;
$t->notion({ cmd => 'revoke_token', token => (split / /, stored_pair(1))[0] });
$t->edit_page($books[0]{pages}[0], 'edited for the backup');
$t->settled('backup');
$t->equal('backup', 1);
is(refreshes($since), 0, 'without an OAuth client nothing is renewed');
is(stored_pair(1), '', 'the backup credential has no OAuth tokens');
is(notices(1), $told, 'and nobody was told');

# what the backup took the place of was the grant's, there is nothing behind it
$t->notion({ cmd => 'revoke_token', token => 'ntn_backup1' });
$t->edit_page($books[0]{pages}[0], 'edited for nobody');
wait_for($node, "SELECT state FROM rmsync.integration_configs WHERE target_name = 'notion'", 'auth', 'the backup is refused: the lane stops');
is(notices(1), $told + 1, 'and the user is told');
is(places('ntn_backup1'), 'lane.config_encrypted', 'it has not changed places with nothing');

# a new token of another kind ends the use of OAuth's
store(1, grant(1));
isnt(stored_pair(1), '', 'granted again');
is(places('ntn_backup1'), '', 'and the token of before is gone');
$t->settled('granted after the backup');
$t->equal('granted after the backup', 1);
$t->sql("SELECT rmsync_connect(1, 'notion', '{\"api_token\": \"ntn_other\", \"database_id\": \"$t->{users}{1}{database}\"}')");
is(stored_pair(1), '', 'another token takes the place of that which was granted');

# --------------------------- one grant for notebooks and to-dos, two workers

set_conf($node, 'rmsync.notion_oauth_client_id' => 'rmirror');
my $todos;

sub connect_todos
{
	my ($user, $token) = @_;
	$todos = $t->notion({ cmd => 'create_database', user => "user$user", preset => 'todos' });
	$token = defined $token ? "\"api_token\": \"$token\", " : '';
	return "SELECT rmsync_connect($user, 'notion-todos', '{$token\"database_id\": \"$todos->{id}\"}')";
}

# A page and its to-do change after the end of the token.
sub renewed_once
{
	my ($user, $book, $name) = @_;

	$told = notices($user);
	$since = $t->arrived;
	$t->sql('TRUNCATE test.writes');
	expire($user);
	$t->sql("SELECT test.complete_page($book->{pages}[0], '$name'); UPDATE todos SET completed = NOT completed WHERE user_id = $user");
	$t->settled($name);
	$t->equal($name, $user);
	is(count("rmsync.sync_records WHERE user_id = $user AND target_name = 'notion-todos' AND status = 'success'"), 1, "$name: the to-do is there");
	is(refreshes($since), 1, "$name: once");
	is(stored_pair($user, $_), live_pair($user), "$name: the new tokens are those of $_") foreach qw(notion notion-todos);
	is(notices($user), $told, "$name: nobody is told");
	is(grants($user), 1, "$name: there is one grant");
	is(writes($user), 'both tokens', "$name: one row was written, once");
	my ($access, $refresh) = split / /, stored_pair($user);
	is(places($access), 'grant.access_token_encrypted', "$name: the access token stands in it only");
	is(places($refresh), 'grant.refresh_token_encrypted', "$name: so does the refresh token");
	return;
}

# as the application does: each connection has a copy of the token
$t->add_user(2);
$t->{users}{2}{todos} = 'off';
my $shared = $t->add_notebook(2, 'Shared', ['page with a to-do']);
$t->sql("SELECT test.add_todo($shared->{pages}[0], 'to-do')");
my $tokens = grant(2);
$t->sql("BEGIN; SELECT rmsync_connect(2, 'notion', '{\"api_token\": \"ntn_stale\", \"database_id\": \"$t->{users}{2}{database}\"}');"
	  . connect_todos(2, 'ntn_stale') . "; SELECT rmsync_disable(2, 'notion'); SELECT rmsync_disable(2, 'notion-todos'); COMMIT");
like(store(2, $tokens), qr/"targets": \["notion", "notion-todos"\]/, 'stored for one it serves both');
$t->sql("SELECT rmsync_enable(2, 'notion'); SELECT rmsync_enable(2, 'notion-todos')");
$t->settled('both connections');
is(stored_pair(2, $_), "$tokens->{access_token} $tokens->{refresh_token}", "$_ has them") foreach qw(notion notion-todos);
wait_for($node, 'SELECT count(*) FROM rmsync.stat_worker WHERE requests > 0', 2, 'each has its worker');
renewed_once(2, $shared, "renewed for both, $_") foreach 1 .. 3;

# It ends for both, by itself or because a worker was killed in the middle; and
# what is granted instead, for one of them, is for both.
foreach my $how ('ended', 'killed')
{
	$told = notices(2);
	if ($how eq 'killed')
	{
		$t->notion({ fault => 'slow:1.5', match => { path => '^/v1/oauth/token' }, times => 1 });
		expire(2);
	}
	else
	{
		expire(2, refresh_too => 1);
	}
	$since = $t->arrived;
	$t->sql("SELECT test.complete_page($shared->{pages}[0], 'for both, $how'); UPDATE todos SET completed = NOT completed WHERE user_id = 2");
	if ($how eq 'killed')
	{
		wait_until(sub { refreshes($since) }, 'killed for both: the token is being renewed');
		signal_worker('KILL', (worker_pids($node))[0]);
	}
	wait_for($node, "SELECT string_agg(state, ' ') FROM rmsync.integration_configs WHERE user_id = 2", 'auth auth', "$how: both connections stop");
	is(notices(2), $told + 1, "$how: the user is told once");
	is($t->sql("SELECT bool_and(i #>> '{oauth,ended_at}' IS NOT NULL) FROM jsonb_array_elements(rmsync_integrations(2)) i"), 't', "$how: and sees why");
	is(refreshes($since), $how eq 'killed' ? 2 : 1, "$how: neither asks again");
	$tokens = grant(2);
	like(store(2, $tokens, $how eq 'killed' ? 'notion-todos' : 'notion'), qr/"targets": \["notion", "notion-todos"\]/, "$how: granted again, for both");
	is(grants(2), 1, "$how: the old grant is gone");
	$t->settled("$how: both go on");
	$t->equal("$how: both go on", 2);
	is(stored_pair(2, $_), "$tokens->{access_token} $tokens->{refresh_token}", "$how: with the new tokens, $_") foreach qw(notion notion-todos);
}

# the second connection is made later, with the token of the first
$t->add_user(3);
$t->{users}{3}{todos} = 'off';
$shared = $t->add_notebook(3, 'Shared later', ['page with a to-do']);
$t->sql("SELECT test.add_todo($shared->{pages}[0], 'to-do')");
$tokens = grant(3);
$t->sql("BEGIN; SELECT rmsync_connect(3, 'notion', '{\"api_token\": \"$tokens->{access_token}\", \"database_id\": \"$t->{users}{3}{database}\"}'); SELECT rmsync_oauth_store(3, 'notion', "
	  . RmsyncNotion::quote(JSON::PP->new->encode($tokens)) . '); COMMIT');
$t->sql(connect_todos(3, $tokens->{access_token}));
$t->settled('the second connection');
is(stored_pair(3, 'notion-todos'), stored_pair(3), 'a connection made with the token of a grant has the grant');
renewed_once(3, $shared, 'renewed for both, connected one after the other');
$t->sql(connect_todos(3, 'ntn_user3'));
is(stored_pair(3, 'notion-todos'), '', 'and with another token it has not');
isnt(stored_pair(3), '', 'while the first one keeps it');
is(places('ntn_user3'), 'lane.config_encrypted', 'its own token is its own');

# It comes back without naming any token; either may go.
$t->sql(connect_todos(3));
$t->settled('connected without a token');
is(places('ntn_user3'), '', 'connected without a token: its own is gone');
renewed_once(3, $shared, 'renewed for both, connected without a token');
$t->sql("SELECT rmsync_disconnect(3, 'notion')");
$since = $t->arrived;
expire(3);
$t->sql('UPDATE todos SET completed = NOT completed WHERE user_id = 3');
$t->settled('one is left');
is(refreshes($since), 1, 'the one that is left renews the token');
is(stored_pair(3, 'notion-todos'), live_pair(3), 'and has the new ones');
is(notices(3), $told, 'nobody is told');
my @left = split / /, stored_pair(3, 'notion-todos');
$t->sql("SELECT rmsync_disconnect(3, 'notion-todos')");
is(grants(3), 0, 'the grant goes with the last one');
is(join('', map { places($_) } @left), '', 'and its tokens are nowhere');

# ------------------------------------------------------------ no secrets

foreach my $bad (
	"1, 'notion', '{\"access_token\": \"ntn_mysecret x\"}'",
	"1, 'webhook', '{\"access_token\": \"ntn_mysecret\"}'",
	"77, 'notion', '{\"access_token\": \"ntn_mysecret\"}'")
{
	($status, $out, $err) = $node->psql('postgres', "SELECT rmsync_oauth_store($bad)");
	isnt($status, 0, "refused: $err");
}
log_has($node, qr/user 77 is not connected/, $position, 'errors are logged');
log_lacks($node, qr/ntn_[0-9a-m]|nrt_|\Q$client_secret\E/, $position, 'no token and no secret is in the log');

$t->stop;
done_testing();
