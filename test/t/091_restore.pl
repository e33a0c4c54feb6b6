# A dump restored on another server: all is there, nothing is sent until
# somebody says so, and nothing is sent twice then.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncTest;
use Test::More;

my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr';
my $hook = RmsyncFake->start('hook.py', '--secret', $secret);
my $old = new_node(name => 'old');
my $new = new_node(name => 'new', extension => 0);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

sub settled
{
	my ($node, $name) = @_;
	return wait_for($node,
		"SELECT NOT EXISTS (SELECT FROM rmsync.sync_intake) AND NOT EXISTS (SELECT FROM rmsync.sync_queue)
			AND NOT EXISTS (SELECT FROM rmsync.integration_configs WHERE reconcile_wanted)", 't', $name);
}

load_host($old, schema => 'document');
$old->safe_psql('postgres', 'SELECT rmsync_attach()');
$old->safe_psql('postgres', q{
	INSERT INTO users (email) VALUES ('a@example.org');
	INSERT INTO notebooks (user_id, notebook_uuid, visible_name) VALUES (1, 'a', 'A');
	INSERT INTO pages (notebook_id, page_number, ocr_status, ocr_text) SELECT 1, i, 'completed', 'page ' || i FROM generate_series(1, 30) i});
$old->safe_psql('postgres',
	sprintf(q{SELECT rmsync_connect(1, 'webhook', '{"url": "%s", "secret": "%s"}')}, $hook->url('/x'), $secret));
settled($old, 'all is delivered');
is($hook->get('/_stats')->{requests}, 31, 'once');

# A grant that two lanes use, which are switched off
$old->safe_psql('postgres', q{
	BEGIN;
	SELECT rmsync_connect(1, t, '{"api_token": "ntn_1", "database_id": null}'), rmsync_disable(1, t) FROM unnest('{notion,notion-todos}'::text[]) t;
	SELECT rmsync_oauth_store(1, 'notion', '{"access_token": "ntn_granted", "refresh_token": "nrt_granted", "bot_id": "b"}');
	COMMIT});

# Work that is open in the dump
set_conf($old, 'rmsync.enabled' => 'off');
wait_for($old, "SELECT current_setting('rmsync.enabled')", 'off', 'deliveries stop');
$old->safe_psql('postgres', q{UPDATE pages SET ocr_text = 'open work' WHERE id = 7});
$old->command_ok([ 'pg_dump', '-f', $dump, '-d', $old->connstr('postgres') ], 'dump');
$old->stop;

$new->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $new->connstr('postgres') ],
	'restore, without an error');
is($new->safe_psql('postgres', "SELECT count(*) FROM rmsync.sync_records WHERE status = 'success'"), 31,
	'the ledger is there');
is($new->safe_psql('postgres', q{SELECT string_agg(target_name || ' ' || rmsync.decrypt(c.user_id, access_token_encrypted) || ' '
		|| rmsync.decrypt(c.user_id, refresh_token_encrypted), ', ' ORDER BY target_name)
		FROM rmsync.integration_configs c JOIN rmsync.oauth_grants g ON g.id = c.grant_id}),
	'notion ntn_granted nrt_granted, notion-todos ntn_granted nrt_granted', 'and the grant, with its lanes');
$new->safe_psql('postgres', "SELECT rmsync_disconnect(1, t) FROM unnest('{notion,notion-todos}'::text[]) t");
is($new->safe_psql('postgres', 'SELECT count(*) FROM rmsync.oauth_grants'), 0, 'and goes with them');
$new->safe_psql('postgres', 'SELECT rmsync_attach()');
$new->safe_psql('postgres', q{UPDATE pages SET ocr_text = 'in the copy' WHERE id = 8});
is($new->safe_psql('postgres', "SELECT rmsync_health() -> 'instance_ok'"), 'false', 'health says that it is a copy');

# A whole run of the engine, so that there is no need to wait for a worker
# that does nothing
is($new->safe_psql('postgres', 'CALL rmsync_run()') =~ s/.*"requests": (\d+).*/$1/sr, 0, 'the copy sends nothing');
is($hook->get('/_stats')->{requests}, 31, 'nothing arrived');

$new->safe_psql('postgres', 'SELECT rmsync_adopt_instance()');
settled($new, 'adopted, it catches up');
is(join(' ', sort map { $_->{body} =~ /"text": "(open work|in the copy)"/ ? $1 : () } @{ $hook->get('/_deliveries') }),
	'in the copy open work', 'with what was open and what was changed');
is($hook->get('/_stats')->{requests}, 33, 'and with nothing else');
$new->stop;
done_testing();
