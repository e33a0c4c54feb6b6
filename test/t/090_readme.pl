# README.md: its blocks are run as they stand, and its tables say what the
# server says.
#
# Replaced are only what no test can have: a fixed port, a path in /etc, the
# address of somebody's receiver and the token of somebody's Notion.

use strict;
use warnings;

use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use RmsyncTest;
use Test::More;

my $readme = slurp_file(test_file('../README.md'));
my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr';
my $notion = RmsyncFake->start('notion.py');
my $hook = RmsyncFake->start('hook.py', '--secret', $secret);

# Outside the quick start's database, http is allowed to the stand-ins only
# by these two; the quick start must do with its own.
my $node = new_node(
	extension => 0,
	conf => {
		'log_statement' => 'all',
		'rmsync.allow_http' => 'off',
		'rmsync.allowed_networks' => '',
		'rmsync.notion_base_url' => $notion->url('/v1') });
my $tmp = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', 'CREATE DATABASE host');
$node->safe_psql('postgres', "ALTER DATABASE host SET $_")
  foreach ('rmsync.allow_http = on', "rmsync.allowed_networks = '127.0.0.1'");

# The text below a heading, up to the next of its rank.
sub section
{
	my ($title) = @_;
	$readme =~ /^(#+) \Q$title\E\n(.*?)(?=^\#{1,3} |\z)/ms
	  or BAIL_OUT("README.md has no section \"$title\"");
	return $2;
}

# [ language, text ] of the fenced blocks.
sub blocks
{
	my ($text) = @_;
	my @blocks;

	push @blocks, [ $1, $2 ] while $text =~ /^```(\w*)\n(.*?)^```$/msg;
	return @blocks;
}

# Rows of the first table whose head begins with a word, as cells.
sub table
{
	my ($text, $head) = @_;
	my @rows;

	$text =~ /^\| $head \|[^\n]*\n\|[-| ]+\n((?:\|[^\n]*\n)+)/m
	  or BAIL_OUT("README.md has no table \"$head\"");
	foreach my $row (split /\n/, $1)
	{
		my @cells = map { s/^\s+|\s+$//gr } split /\|/, $row;
		shift @cells;
		push @rows, \@cells;
	}
	return @rows;
}

# Runs statements in one psql session; answers its output.
sub run_sql
{
	my ($title, $sql) = @_;
	my ($out, $err);
	my $status = $node->psql('host', $sql, stdout => \$out, stderr => \$err);

	is($status, 0, "blocks of section \"$title\" run") || diag($err);
	return $out;
}

subtest 'quick start' => sub {
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my @blocks = blocks(section('Quick start'));
	my $script = "set -em\ntrap 'kill \$(jobs -p) 2>/dev/null' EXIT\ncd '" . test_file('..') . "'\n";
	my ($out, $err);

	foreach my $block (@blocks)
	{
		my ($language, $text) = @$block;
		$text = "psql -X -d rmsync_try -v ON_ERROR_STOP=1 <<'SQL'\n${text}SQL\n" if $language eq 'sql';
		$script .= $text;
	}
	is(($script =~ s/\b8477\b/$port/g), 2, 'one port is used');

	local %ENV = ($node->_get_env(), PGUSER => undef);
	delete $ENV{PGUSER};
	my $ran = IPC::Run::run([ 'bash', '-c', $script ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	ok($ran, 'the blocks run') || diag("$out\n$err");

	my @arrived = $out =~ /^POST \/notes  signature valid  \{"type":"([^"]+)"/mg;
	is_deeply(
		[ sort @arrived ],
		[ map { "rmsync.$_" } qw(notebook_metadata.created page_text.created page_text.updated) ],
		'what the text says arrives, signed')
	  || diag($out);
	unlike($out, qr/NOT VALID/, 'no signature is refused');

	my $statements = () = join('', map { $_->[0] eq 'sql' ? $_->[1] : '' } @blocks) =~ /;$/mg;
	cmp_ok($statements, '<=', 8, 'it stays quick');
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = 'rmsync_try'"),
		0, 'and it cleans up');
};

# The rest is for a database with an application in it.
$node->safe_psql('host', slurp_file(test_file('host/document.sql')));
$node->safe_psql('host', q{
	INSERT INTO users (email) VALUES ('a@example.org'), ('b@example.org');
	INSERT INTO notebooks (user_id, notebook_uuid, visible_name) VALUES (1, 'field-notes', 'Field notes'), (2, 'b', 'B');
	INSERT INTO pages (notebook_id, page_number, ocr_status, ocr_text) VALUES (1, 1, 'completed', '# Monday'), (2, 1, 'completed', 'b');
});

sub sql_of
{
	my ($title) = @_;
	return join('', map { $_->[0] eq 'sql' ? $_->[1] : '' } blocks(section($title)));
}

my $made = $notion->post('/_control', [
	{ cmd => 'add_token', token => 'ntn_test', user => 'alice' },
	{ cmd => 'create_database', user => 'alice', preset => 'notebooks' } ]);
my $database = $made->[1]{id};
my $config = qq({"api_token": "ntn_test", "database_id": "$database"});

run_sql('Install', sql_of('Install'));

subtest 'settings' => sub {
	my %change = (postmaster => 'restart', sighup => 'reload', superuser => 'superuser', user => 'session');
	my %server;

	# a setting that is hidden from pg_settings comes by its name
	foreach my $row (split /\n/, $node->safe_psql('host', q{
		SELECT name, CASE WHEN setting = boot_val AND source = 'default' THEN current_setting(name) ELSE boot_val END, context
		FROM pg_settings WHERE name LIKE 'rmsync.%' AND name NOT LIKE 'rmsync.debug%'}))
	{
		my ($name, $default, $context) = split /\|/, $row;
		$server{$name} = [ $default, $change{$context} ];
	}
	$server{"rmsync.$_"} = [ '', 'superuser' ]
		foreach qw(master_key_file notion_oauth_client_id notion_oauth_client_secret_file);

	my %told = map { s/`//gr } map { $_->[0] => "$_->[1] $_->[2]" } table(section('Configuration'), 'setting');
	is_deeply(\%told, { map { $_ => "$server{$_}[0] $server{$_}[1]" } keys %server },
		'names, defaults and how to change them');
};

subtest 'functions' => sub {
	my $reference = section('SQL reference');
	my @missing;
	my %there;

	foreach my $row (split /\n/, $node->safe_psql('host', q{
		SELECT p.proname, array_to_string(p.proargnames, ', '), p.prokind, p.proargmodes
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'rmsync'
		WHERE p.pronamespace <> 'rmsync'::regnamespace}))
	{
		my ($name, $args, $kind, $modes) = split /\|/, $row, -1;
		my @args = split /, /, $args;
		my @modes = $modes =~ /[a-z]/g;
		@args = map { $args[$_] } grep { ($modes[$_] // 'i') eq 'i' } 0 .. $#args;
		my $call = "$name(" . join(', ', @args) . ')';
		$there{$name} = 1;
		push @missing, $call if index($reference, "`$call`") < 0;
	}
	cmp_ok(scalar(keys %there), '>', 20, 'the extension has functions');
	is_deeply(\@missing, [], 'every function is told with its arguments');

	my %mentioned = map { $_ => 1 } $readme =~ /\b(rmsync_[a-z_]+)\(/g;
	is_deeply([ sort grep { !$there{$_} } keys %mentioned ], [], 'no other function is mentioned');
};

subtest 'credentials' => sub {
	my @sql = map { $_->[0] eq 'sql' ? $_->[1] : () } blocks(section('Credentials'));
	my ($python) = map { $_->[0] eq 'python' ? $_->[1] : () } blocks(section('Credentials'));
	my $key = slurp_file($node->safe_psql('host', 'SHOW rmsync.master_key_file'));

  SKIP:
	{
		skip 'the library of the Python block is not installed', 4
		  if system('python3 -c "import cryptography" 2>/dev/null') != 0;
		my ($token, $err) = ('', '');

		chomp $key;
		append_to_file("$tmp/make_token.py", $python . "print(token_for('$key', 1, $config))\n");
		ok(IPC::Run::run([ 'python3', "$tmp/make_token.py" ], '>', \$token, '2>', \$err), 'the Python block runs')
		  || diag($err);
		chomp $token;
		ok($sql[0] =~ s/gAAAAABndIWA\.\.\./$token/, 'there is a token to replace');
		run_sql('Credentials, token', $sql[0]);
		like($node->safe_psql('host', 'SELECT rmsync_integrations(1)'), qr/"target_name": "notion"/, 'it connects');
	}

	append_to_file("$tmp/notion.json", $config);
	ok($sql[1] =~ s{/etc/postgresql/notion-1.json}{$tmp/notion.json}, 'there is a file to replace');
	run_sql('Credentials, file', $sql[1]);
	log_has($node, qr/pg_read_file\('\Q$tmp\E/, 0, 'the statement is logged');
	log_lacks($node, qr/ntn_test/, 0, 'the token is not');
};

subtest 'targets' => sub {
	my $sql = sql_of('Notion');
	$sql =~ s/ntn_\.\.\./ntn_test/g;
	$sql =~ s/0123456789abcdef0123456789abcdef/$database/;
	ok($sql =~ s/00112233445566778899aabbccddeeff/$made->[1]{page}/, 'there is a page to replace');
	is(scalar(() = run_sql('Notion', $sql) =~ /"ok": true/g), 3, 'what is asked of Notion works');

	$sql = sql_of('Webhook');
	my $url = $hook->url('/hooks/notes');
	ok($sql =~ s{https://example.org/hooks/notes}{$url}, 'there is an address to replace');
	run_sql('Webhook', $sql);
	$node->safe_psql('host', "CALL rmsync_wait('$PostgreSQL::Test::Utils::timeout_default s')");
	is($node->safe_psql('host', "SELECT string_agg(status, ',') FROM rmsync_page_status('field-notes')"),
		'synced', 'Notion has the page');

	my $deliveries = $hook->get('/_deliveries');
	my ($event) = grep { $_->{body} =~ /page_text.created/ } @$deliveries;
	my ($json) = map { $_->[0] eq 'json' ? $_->[1] : () } blocks(section('Webhook'));
	my $keys = sub { my $e = JSON::PP::decode_json(shift); [ [ sort keys %$e ], [ sort keys %{ $e->{data} } ] ] };
	is_deeply($keys->($json), $keys->($event->{body}), 'an event has the keys the text shows');

	# the keys of both configurations
	foreach my $target ([ 'Notion', 'notion' ], [ 'Webhook', 'webhook' ])
	{
		my %known = map { $_ => 1 } split /\n/, $node->safe_psql('host',
			"SELECT jsonb_object_keys(t.config_schema -> 'properties') FROM rmsync.targets() t WHERE t.name = '$target->[1]'");
		my @told = map { $_->[0] =~ /`(\w+)`/g } table(section($target->[0]), 'key');
		is_deeply([ grep { !$known{$_} } @told ], [], "$target->[0] knows the keys");
	}
};

subtest 'signatures, by the library of Standard Webhooks' => sub {
	my ($out, $err) = ('', '');
	plan skip_all => 'node is not installed' if system('node --version >/dev/null 2>&1') != 0;
	my $ran = IPC::Run::run([ 'node', test_file('fake/webhook_check.mjs'), $hook->url(''), $secret ],
		'>', \$out, '2>', \$err);
	chomp $out;
	plan skip_all => $out if $out =~ /^skipped/;
	ok($ran, "deliveries verify: $out") || diag($err);
};

run_sql($_, sql_of($_)) foreach ('SQL reference', 'Monitoring', 'Operations');
is(run_sql('Security', sql_of('Security')) =~ s/.*\n//sr, 2, 'a confined role sees its own records');

is($node->safe_psql('host', q{SET ROLE pg_monitor;
	SELECT rmsync_health() ->> 'queue_processor' IN ('running', 'idle') AND (SELECT count(*) >= 0 FROM rmsync.stat_worker)}),
	't', 'monitoring is for members of pg_monitor');

subtest 'links' => sub {
	my @paths = $readme =~ /\]\(([^)#:]+)\)/g;
	cmp_ok(scalar(@paths), '>', 5, 'there are links');
	ok(-e test_file("../$_"), "$_ is there") foreach @paths, $readme =~ /`(test\/[\w\/.]+)`/g;

	my %anchors = map { lc(s/ /-/gr) => 1 } $readme =~ /^#+ (.*)$/mg;
	ok($anchors{$_}, "#$_ is there") foreach $readme =~ /\]\(#([^)]+)\)/g;
};

$node->stop;
done_testing();
