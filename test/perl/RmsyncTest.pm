# What the TAP tests share: servers with rmsync, waiting for conditions, plain
# HTTP to the stand-ins for remote services.  The stand-ins themselves are
# started by RmsyncFake.pm.
#
#	use RmsyncTest;
#	my $node = new_node(conf => { 'rmsync.max_attempts' => 2 });
#	load_host($node);
#	wait_for($node, 'SELECT count(*) FROM rmsync.sync_queue', 0, 'queue drains');
package RmsyncTest;

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use File::Basename qw(dirname);
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  new_node set_conf load_host test_file
  wait_for wait_until
  worker_pids signal_worker
  log_position log_since log_has log_lacks
  http_get http_request http_post_json
);

my $test_dir = dirname(dirname(__FILE__));

# Path of a file below test/.
sub test_file
{
	my ($name) = @_;
	return "$test_dir/$name";
}

# A value as postgresql.conf wants it.
sub _quoted
{
	my ($value) = @_;
	$value =~ s/'/''/g;
	return "'$value'";
}

# A server with rmsync preloaded, started, and the extension created in
# database "postgres".  Options:
#	name       of the node ('main')
#	conf       hash of settings, on top of test/tap.conf
#	extension  0 = do not create the extension
#	start      0 = only initialize (implies extension => 0)
#	streaming  1 = may be the primary of a standby
sub new_node
{
	my (%opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($opt{name} // 'main');

	$node->init(
		allows_streaming => $opt{streaming} // 0,
		extra => [ '--encoding=UTF8' ]);

	# Statements may hold credentials; tests look for those in the log.
	$node->append_conf('postgresql.conf', "log_statement = 'none'\n");
	_append($node, %{ $opt{conf} // {} });
	return $node if defined $opt{start} && !$opt{start};

	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION rmsync CASCADE')
	  unless defined $opt{extension} && !$opt{extension};
	return $node;
}

sub _append
{
	my ($node, %conf) = @_;

	foreach my $name (sort keys %conf)
	{
		$node->append_conf('postgresql.conf',
			"$name = " . _quoted($conf{$name}) . "\n");
	}
	return;
}

# Changes settings of a running server and makes it read them.
sub set_conf
{
	my ($node, %conf) = @_;

	_append($node, %conf);
	$node->reload;
	return;
}

# Loads the host application's schema, by default the real one.
sub load_host
{
	my ($node, %opt) = @_;
	my $file = test_file('host/' . ($opt{schema} // 'rmirror') . '.sql');

	$node->command_ok(
		[
			'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1',
			'-d', $node->connstr($opt{dbname} // 'postgres'),
			'-f', $file
		],
		"host schema $file loads");
	return;
}

# ---------------------------------------------------------------- waiting

# Waits until a condition holds; passes or fails as one test.  Never sleeps
# longer than needed, and gives up only after PostgreSQL's own test timeout
# (PG_TEST_TIMEOUT_DEFAULT), which a slow machine can raise.
sub wait_until
{
	my ($condition, $name, %opt) = @_;
	my $deadline =
	  time + ($opt{timeout} // $PostgreSQL::Test::Utils::timeout_default);

	while (1)
	{
		return pass($name) if $condition->();
		last if time > $deadline;
		usleep(50_000);
	}
	fail($name);
	$opt{on_timeout}->() if $opt{on_timeout};
	return 0;
}

# Waits until a query answers what is expected ("t" if not given).  The query
# runs in one psql session, again and again.
sub wait_for
{
	my ($node, $sql, $expected, $name, %opt) = @_;
	my $dbname = $opt{dbname} // 'postgres';
	my ($out, $err);

	$expected = 't' unless defined $expected;
	$name //= "\"$sql\" answers \"$expected\"";
	return wait_until(
		sub {
			my $status = $node->psql($dbname, $sql, stdout => \$out, stderr => \$err);
			return $status == 0 && $out eq $expected;
		},
		$name,
		on_timeout => sub {
			diag("query:    $sql");
			diag("expected: $expected");
			diag("last:     $out");
			diag("error:    $err") if $err;
			_diagnose($node, $dbname);
		},
		%opt);
}

# What one wants to see when nothing happens.
sub _diagnose
{
	my ($node, $dbname) = @_;

	foreach my $sql (
		'SELECT pid, backend_type, state, wait_event, query FROM pg_stat_activity WHERE backend_type ~ $$rmsync$$',
		'SELECT id, user_id, target_name, state, state_reason, blocked_until, fail_streak FROM rmsync.integration_configs LIMIT 10',
		'SELECT count(*) AS intake FROM rmsync.sync_intake',
		'SELECT lane_id, item_type, item_id, status, run_at, attempt, error_code, left(error_message, 80) FROM rmsync.sync_queue ORDER BY seq LIMIT 10',
		'SELECT at, target_name, item_type, item_id, status, operation, error_code, left(message, 80) FROM rmsync.sync_log ORDER BY at DESC LIMIT 10'
	  )
	{
		my $out = '';
		$node->psql($dbname, $sql, stdout => \$out, extra_params => ['-x']);
		diag("$sql\n$out") if $out ne '';
	}
	return;
}

# ---------------------------------------------------------------- workers

# Process ids of the workers (not of the launcher), oldest first.
sub worker_pids
{
	my ($node, $dbname) = @_;
	my $where = defined $dbname ? "AND datname = '$dbname'" : '';

	return split /\n/,
	  $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'rmsync.*worker' $where ORDER BY backend_start, pid"
	  );
}

# Sends a signal to one process of the server ('KILL', 'TERM', ...).
sub signal_worker
{
	my ($signal, $pid) = @_;

	croak 'no process to signal' unless $pid;
	return kill($signal, $pid);
}

# ---------------------------------------------------------------- the log

# Where the server's log ends now.
sub log_position
{
	my ($node) = @_;
	return -s $node->logfile || 0;
}

# What was logged since then.
sub log_since
{
	my ($node, $position) = @_;
	return slurp_file($node->logfile, $position // 0);
}

# Tests that the log has, or lacks, a pattern.  log_has waits for it.
sub log_has
{
	my ($node, $pattern, $position, $name) = @_;

	return wait_until(
		sub { log_since($node, $position) =~ $pattern },
		$name // "log has $pattern",
		on_timeout => sub { diag(log_since($node, $position)) });
}

sub log_lacks
{
	my ($node, $pattern, $position, $name) = @_;
	return unlike(log_since($node, $position), $pattern,
		$name // "log lacks $pattern");
}

# ------------------------------------------------------------------- HTTP

my $http = HTTP::Tiny->new(
	timeout => 30,
	max_redirect => 0,
	proxy => undef,
	http_proxy => undef,
	https_proxy => undef);

# One request to a service on this machine; any body that is a reference is
# sent as JSON.  Answers HTTP::Tiny's hash, with {json} decoded if it is JSON.
sub http_request
{
	my ($method, $url, $body, %headers) = @_;
	my %options;
	my $response;

	if (ref $body)
	{
		$headers{'content-type'} //= 'application/json';
		$body = JSON::PP->new->utf8->canonical->encode($body);
	}
	$options{content} = $body if defined $body;
	$options{headers} = \%headers if %headers;
	$response = $http->request($method, $url, \%options);
	if (($response->{headers}{'content-type'} // '') =~ m{^application/json})
	{
		$response->{json} = eval {
			JSON::PP->new->utf8->allow_nonref->decode($response->{content});
		};
	}
	return $response;
}

# Decoded JSON, or the text, of a GET; dies unless it succeeds.
sub http_get
{
	my ($url, %headers) = @_;
	my $response = http_request('GET', $url, undef, %headers);

	croak "GET $url: $response->{status} $response->{content}"
	  unless $response->{success};
	return $response->{json} // $response->{content};
}

# The same for a POST of JSON.
sub http_post_json
{
	my ($url, $data, %headers) = @_;
	my $response = http_request('POST', $url, $data, %headers);

	croak "POST $url: $response->{status} $response->{content}"
	  unless $response->{success};
	return $response->{json} // $response->{content};
}

1;
