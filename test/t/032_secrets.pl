# No secret leaves by a way that is not a request: not by the server log at any
# level, not by errors, statistics, dumps or the tables people may read.  And
# the master key: from the environment, missing, wrong, repaired.
use strict;
use warnings;

use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncLive;
use RmsyncTest;
use Test::More;

my $master = 'yMnKy8zNzs_Q0dLT1NXW19jZ2tvc3d7f4OHi4-Tl5uc=';
my $bearer = 'Bearer rmsync-top-secret-token-0815';
my $old_secret = 'whsec_' . encode_base64('rmsync-old-secret-of-a-webhook', '');

# What must not be found, also in other spellings.
my @secrets = (
	$master, $secret, $old_secret, 'top-secret-token',
	'rmsync-test-secret-number-one', 'rmsync-old-secret-of-a-webhook',
	(map { substr($_, 6) } $secret, $old_secret),
	unpack('H*', 'rmsync-test-secret'), unpack('H*', 'top-secret-token'));
my $secret_re = join('|', map { quotemeta } @secrets);
$secret_re = qr/$secret_re/i;

my $hook = RmsyncFake->start('hook.py', '--secret', $secret);
my $key_file = master_key_file($master);
my $node = live_node(
	conf => {
		'rmsync.master_key_file' => $key_file,
		'rmsync.http_timeout' => '1s',
		'rmsync.max_attempts' => 2,
		'shared_preload_libraries' => 'rmsync, pg_stat_statements',
		'pg_stat_statements.track' => 'all',
		'track_activity_query_size' => '16kB'
	});

sub sql
{
	return $node->safe_psql('postgres', @_);
}

# As an operator encrypts it elsewhere: this session leaves no trace.
sub token_for
{
	my ($user, $config) = @_;
	return sql(qq{
		SET log_min_messages = 'panic';
		SET log_statement = 'none';
		SET pg_stat_statements.track = 'none';
		SET track_activities = off;
		SELECT rmsync.encrypt($user, '$config')});
}

my $config = config_for(
	$hook, 1,
	headers => { Authorization => $bearer },
	secrets => [ $secret, $old_secret ]) =~ s/"secret":"[^"]*",//r;
my $token = token_for(1, $config);
like(sql(qq{SET log_min_messages = 'panic'; SET pg_stat_statements.track = 'none'; SELECT rmsync.decrypt(1, '$token')}),
	$secret_re, 'the token holds the secrets');

# From here on everything that can be logged is.
set_conf($node,
	log_min_messages => 'debug5',
	log_statement => 'all',
	log_min_duration_statement => '0',
	log_error_verbosity => 'verbose',
	log_parameter_max_length => '-1',
	log_parameter_max_length_on_error => '-1',
	debug_print_parse => 'on',
	debug_print_plan => 'on');
sql('CREATE EXTENSION pg_stat_statements');
ok($node->poll_query_until('postgres', q{SELECT current_setting('log_min_messages') = 'debug5'}), 'the log is as verbose as can be');
my $position = log_position($node);
sql('SELECT rmsync_worker_restart()');

# ------------------------------------------------------------------- delivery

my $slow = $node->background_psql('postgres', on_error_die => 1);
rule($hook, 1, '/status/500', 2);
rule($hook, 1, '/status/400', 2);
rule($hook, 1, '/hang', 1);
rule($hook, 1, '/garbage', 1);
sql('SELECT test.add_user(1); SELECT test.add_page(test.add_notebook(1, $$n1$$, $$Notebook$$), n, $$page $$ || n) FROM generate_series(1, 5) n');
$slow->query_safe(qq{SELECT rmsync_connect(1, 'webhook', '"$token"')});
my $connected = $slow->{stdout} // '';
wait_until(sub { $hook->get('/_stats')->{requests} > 0 }, 'deliveries begin');
my $activity = sql('SELECT query FROM pg_stat_activity');
wait_for($node, q{SELECT count(*) FROM rmsync.sync_records WHERE status = 'success'}, 6, 'deliveries end');
rule($hook, 1, '/status/401', 10);
sql('UPDATE pages SET ocr_text = $$changed$$');
wait_for($node, 'SELECT state FROM rmsync.integration_configs', 'auth', 'the credential is refused');
my ($event) = events($hook, 1);
is($event->{headers}{authorization}, $bearer, 'the receiver, and only it, gets what was configured');
$slow->quit;

# --------------------------------------------------------------------- errors

my %errors = (
	'an unknown field' => qq{{"url": "https://example.com", "secret": "$secret", "colour": "red"}},
	'a bad value' => qq{{"url": "https://example.com", "secret": "$secret", "mode": "$bearer"}},
	'a bad secret' => qq{{"url": "https://example.com", "secret": "$bearer"}},
	'a bad header' => qq{{"url": "https://example.com", "secret": "$secret", "headers": {"x": "$bearer\\n"}}},
	'a bad address' => qq{{"url": "https://user:top-secret-token\@example.com", "secret": "$secret"}},
	'no object' => qq{["$secret"]},
	'a bad token' => qq{"$secret"});
foreach my $what (sort keys %errors)
{
	my $error = '';
	my ($loud) = log_position($node);

	# The statement is the caller's own, who can keep it out of the log.
	my $status = $node->psql('postgres',
		"SET log_statement = 'none'; SET log_min_duration_statement = -1; SET debug_print_parse = off;"
		  . "SET debug_print_plan = off; SELECT rmsync_connect(1, 'webhook', \$\$$errors{$what}\$\$)",
		stderr => \$error, on_error_stop => 1);
	isnt($status, 0, "$what is an error");
	unlike($error =~ s/^LINE.*//mgr, $secret_re, 'which does not repeat a secret');
}

# ------------------------------------------------------------------- the rest

log_lacks($node, $secret_re, $position, 'no secret in the log');
log_has($node, qr/\Q$token\E/, $position, 'where a secret would have been seen');
unlike($activity, $secret_re, 'nor in pg_stat_activity');
my $statements = sql('SELECT query FROM pg_stat_statements');
like($statements, qr/integration_configs/, 'pg_stat_statements has our statements');
unlike($statements, $secret_re, 'without secrets');

my ($dump, $dump_error) = run_command([ 'pg_dump', '-d', $node->connstr('postgres') ]);
like($dump, qr/gAAAA/, 'a dump has the encrypted configuration');
unlike($dump, $secret_re, 'and no secret');
foreach my $table (qw(sync_log notifications sync_queue sync_records integration_configs sync_intake))
{
	unlike(sql("SELECT t::text FROM rmsync.$table t"), $secret_re, "none in $table");
}
foreach my $call ('rmsync_health()', 'rmsync_integrations(1)', 'rmsync_queue(1)', q{rmsync_status('webhook')}, 'rmsync_stats(1)')
{
	unlike(sql("SELECT $call"), $secret_re, "none in $call");
}
unlike(sql('SHOW ALL'), qr/\Q$key_file\E/, 'the path of the key file is not shown to all');

# ----------------------------------------------------------- the key is gone

$hook->post('/_reset');
sql("SELECT rmsync_connect(1, 'webhook', '\"$token\"')");
settle($node, undef, 'new credentials were taken up');
set_conf($node, log_min_messages => 'log', log_statement => 'none', log_min_duration_statement => '-1',
	debug_print_parse => 'off', debug_print_plan => 'off');
$position = log_position($node);
rename($key_file, "$key_file.away") or die "rename: $!";
sql('SELECT rmsync_worker_restart()');
log_has($node, qr/rmsync delivers nothing without a master key/, $position, 'without its key file a worker says so');
sql('UPDATE pages SET ocr_text = $$without a key$$');
wait_for($node, 'SELECT count(*) FROM rmsync.sync_queue', 5, 'changes are queued meanwhile');
like(sql(q{SELECT rmsync_health()->>'master_key'}), qr/Could not open the master key file/, 'health says why nothing is sent');
is(sql(q{SELECT rmsync_health()->'targets'->'webhook'->>'status'}), 'stopped', 'and that it is not');
is(lane($node, 1, 'state'), 'active', 'the connection is not to blame');
is(scalar(grep { ($_->{event}{data}{text} // '') eq 'without a key' } events($hook, 1)), 0, 'nothing was sent');
rename("$key_file.away", $key_file) or die "rename: $!";
settle($node, undef, 'with the key back it goes on by itself');
# The worker may have noticed before it was restarted: once each, then.
my @lines = log_since($node, $position) =~ /(delivers nothing without a master key)/g;
cmp_ok(scalar @lines, '<=', 2, 'the log was not filled');

# ---------------------------------------------------------- the key is wrong

rename($key_file, "$key_file.away") or die "rename: $!";
append_to_file($key_file, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n");
chmod(0600, $key_file);
sql('SELECT rmsync_worker_restart(); UPDATE pages SET ocr_text = $$wrong key$$');
wait_for($node, 'SELECT state FROM rmsync.integration_configs', 'auth', 'a key that opens nothing stops the lane');
is(lane($node, 1, 'state_reason'), 'no master key opens the stored configuration', 'which says why');
wait_for($node, q{SELECT count(*) FROM rmsync.notifications WHERE message ~ 'decrypted'}, 1, 'one notification');
rename("$key_file.away", $key_file) or die "rename: $!";
settle($node, undef, 'with the right key it goes on by itself');
is(lane($node, 1, 'state'), 'active', 'the lane is active again');
is((events($hook, 1))[-1]{event}{data}{text}, 'wrong key', 'everything arrived');

# A readable file is refused like a missing one.
chmod(0644, $key_file);
like(sql(q{SELECT rmsync_health()->>'master_key'}), qr/group or world access/, 'a key file for all to read is refused');
chmod(0600, $key_file);
$node->stop;

# ----------------------------------------------------------- the environment

{
	local $ENV{INTEGRATION_MASTER_KEY} = $master;

	$node->append_conf('postgresql.conf', "rmsync.master_key_file = ''\n");
	$node->start;
	is(sql(q{SELECT rmsync_health()->>'master_key'}), 'ok', 'INTEGRATION_MASTER_KEY of the server is a key');
	sql('UPDATE pages SET ocr_text = $$environment$$');
	settle($node, undef, 'which opens the configuration');
	is((events($hook, 1))[-1]{event}{data}{text}, 'environment', 'and the event arrives');
	$node->stop;
}

done_testing();
