# The HTTP transport against a server that misbehaves: what arrives, what is
# refused, what every kind of failure is called, and that nothing blocks.
use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP;
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncFake;
use Test::More;

my $json = JSON::PP->new->canonical;
my @json_bool = (JSON::PP::false, JSON::PP::true);
my $tmp = PostgreSQL::Test::Utils::tempdir();
my $loopback = "SET http_test.allowed_networks = '127.0.0.0/8';"
  . 'SET http_test.allow_http = on;';

# A look-up of any name in ".slow" takes ten seconds, one in ".invalid" none at
# all; needs a compiler.
sub slow_resolver
{
	my $source = "$tmp/slow.c";
	my $library = "$tmp/slow.so";

	append_to_file($source, <<'C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>

int
getaddrinfo(const char *node, const char *service,
			const struct addrinfo *hints, struct addrinfo **result)
{
	int (*real) (const char *, const char *, const struct addrinfo *,
				 struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");

	if (node && strstr(node, ".slow"))
	{
		poll(NULL, 0, 10000);
		return EAI_AGAIN;
	}
	if (node && strstr(node, ".invalid"))
		return EAI_NONAME;
	return real(node, service, hints, result);
}
C
	return system("cc -shared -fPIC -o '$library' '$source' -ldl 2>/dev/null")
	  == 0 ? $library : undef;
}

my $resolver = slow_resolver();
my $node = PostgreSQL::Test::Cluster->new('http');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = ''
session_preload_libraries = 'rmsync_http_test'
CONF
{
	local $ENV{LD_PRELOAD} = $resolver if $resolver;
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION rmsync_http_test');

my $hook = RmsyncFake->start('hook.py');

# SQL that sends requests; every value of %$_ is a member of the request.
sub many_sql
{
	my ($requests, $in_flight) = @_;
	my $array = $json->encode($requests);
	$in_flight //= 1;
	return "SELECT json_agg(json_build_object('n', n, 'error', error,"
	  . " 'message', message, 'status', status,"
	  . " 'body', encode(left(encode(body, 'escape'), 5000)::bytea, 'escape'),"
	  . " 'len', length(body), 'retry', retry_after_ms, 'etag', etag,"
	  . " 'location', location, 'type', content_type, 'id', request_id,"
	  . " 'ms', elapsed_ms, 'nth', nth) ORDER BY n)"
	  . " FROM http_many(\$rmsync\$$array\$rmsync\$, $in_flight);";
}

# Sends them in a session of their own; returns one hash per request.
sub many
{
	my ($requests, %opt) = @_;
	my $out = $node->safe_psql('postgres',
		($opt{set} // $loopback) . many_sql($requests, $opt{in_flight}));
	return $json->decode($out);
}

sub one
{
	my ($request, %opt) = @_;
	return many([$request], %opt)->[0];
}

# One GET of a path of the stand-in.
sub fetch
{
	my ($path, %member) = @_;
	return one({ url => $hook->url($path), timeout_ms => 10000, %member });
}

# Deliveries whose path starts so.
sub arrivals
{
	my ($path) = @_;
	return [ grep { index($_->{path}, $path) == 0 }
		  @{ $hook->get('/_deliveries') } ];
}

sub connections_of
{
	my %seen = map { $_->{connection} => 1 } @{ arrivals(shift) };
	return scalar keys %seen;
}

subtest 'what is sent' => sub {
	my $r = one(
		{
			method => 'POST',
			url => $hook->url('/echo'),
			body => '{"a":1}',
			headers => { 'X-Plain' => 'one two', 'X-Empty' => '' }
		});
	is($r->{error}, 'ok', 'answered');
	is($r->{status}, 200, 'status');
	is($r->{message}, undef, 'no message');
	my $seen = decode_json($r->{body});
	is($seen->{method}, 'POST', 'method');
	is($seen->{length}, 7, 'body length');
	is($seen->{headers}{'x-plain'}, 'one two', 'header');
	is($seen->{headers}{'x-empty'}, '', 'empty header is sent');
	like($seen->{headers}{'user-agent'}, qr{^rmsync/}, 'user agent');
	ok(!exists $seen->{headers}{expect}, 'no Expect');
	ok(!exists $seen->{headers}{'content-type'}, 'no guessed content type');

	foreach my $method (qw(GET PUT PATCH DELETE PROPFIND))
	{
		$r = fetch('/echo', method => $method);
		is(decode_json($r->{body})->{method}, $method, "method $method");
	}
	$r = fetch('/echo', method => 'PATCH', body => 'x', repeat_body => 3000000);
	is(decode_json($r->{body})->{length}, 3000000, 'large body');
	is(fetch('/echo', method => 'HEAD')->{error}, 'ok', 'method HEAD');
};

subtest 'handles are reused without a trace' => sub {
	my @methods = qw(POST GET PATCH HEAD PUT GET DELETE POST);
	my $rows = many(
		[
			map {
				{
					method => $_,
					url => $hook->url("/echo/$_"),
					repeatable => JSON::PP::true,
					($_ =~ /^P/
						? (body => $_, headers => { "x-$_" => 'y' })
						: ())
				}
			} @methods
		]);
	foreach my $i (0 .. $#methods)
	{
		next if $methods[$i] eq 'HEAD';
		my $seen = decode_json($rows->[$i]{body});
		my @own = grep { /^x-/ } keys %{ $seen->{headers} };
		is($seen->{method}, $methods[$i], "method $i");
		is("@own", $methods[$i] =~ /^P/ ? 'x-' . lc $methods[$i] : '',
			"headers $i");
		is($seen->{length}, $methods[$i] =~ /^P/ ? length $methods[$i] : 0,
			"body $i");
	}
};

subtest 'connections' => sub {
	my %again = (repeatable => JSON::PP::true);
	my %fresh = (%again, fresh => JSON::PP::true);

	many([ map { { url => $hook->url('/ok/keep'), %again } } 1 .. 5 ]);
	is(connections_of('/ok/keep'), 1, 'kept alive');
	is(scalar @{ arrivals('/ok/keep') }, 5, 'all arrived');

	many([ map { { url => $hook->url('/ok/fresh'), %fresh } } 1 .. 3 ]);
	is(connections_of('/ok/fresh'), 3, 'fresh_connect opens a connection');

	many([ map { { url => $hook->url('/ok/implied') } } 1 .. 3 ]);
	is(connections_of('/ok/implied'), 3, 'so does a request not repeatable');

	many(
		[
			{ url => $hook->url('/ok/later'), %fresh },
			{ url => $hook->url('/ok/later'), %again }
		]);
	is(connections_of('/ok/later'), 1, 'a fresh connection serves later ones');

	# The hazard: the server has the request and closes, libcurl sends again.
	my %post = (method => 'POST', body => 'x');
	my $rows = many(
		[
			map { { url => $hook->url('/close-second/a'), %post, %again } } 1 .. 2
		]);
	is($rows->[1]{error}, 'ok', 'reused connection closed: looks fine');
	is(scalar @{ arrivals('/close-second/a') },
		3, '... but the request arrived twice');

	$rows = many(
		[
			{ url => $hook->url('/ok/before'), %again },
			{ url => $hook->url('/close/b'), %post, %again, fresh => JSON::PP::true }
		]);
	is($rows->[1]{error}, 'broken', 'fresh connection closed: is reported');
	is(scalar @{ arrivals('/close/b') }, 1, '... and arrived once');

	my $out = $node->safe_psql('postgres',
		    $loopback
		  . many_sql([ map { { url => $hook->url('/ok/t'), %again } } 1 .. 4 ])
		  . 'SELECT requests, connections, active, bytes_sent > 100,'
		  . ' bytes_received > 100 FROM http_totals()');
	is((split /\n/, $out)[-1], '4|1|0|t|t', 'totals');
};

subtest 'broken answers' => sub {
	my %is = (
		'/reset-before' => 'broken',
		'/reset-after' => 'broken',
		'/close' => 'broken',
		'/truncated' => 'broken',
		'/truncated-chunk' => 'broken',
		'/garbage' => 'broken',
		'/endless-body' => 'too_large',
		'/endless-body?length' => 'too_large',
		'/endless-headers' => 'too_large',
		'/endless-interim' => 'too_large',
		'/long-header' => 'broken',
		'/gzip-bomb' => 'too_large',
		'/hang' => 'timeout',
		'/hang-body' => 'timeout',
		'/trickle' => 'timeout',
		'/slow-headers' => 'timeout');
	my @paths = sort keys %is;
	my $rows = many(
		[
			map {
				{
					url => $hook->url("$_#$is{$_}"),
					timeout_ms => $is{$_} eq 'timeout' ? 1000 : 60000
				}
			} @paths
		],
		in_flight => 20);
	foreach my $i (0 .. $#paths)
	{
		is($rows->[$i]{error}, $is{ $paths[$i] }, $paths[$i]);
		is($rows->[$i]{len}, 0, "$paths[$i] leaves no half body");
		note("$paths[$i]: $rows->[$i]{message}");
	}

	is(fetch('/size/1000', max_response => 1000)->{len}, 1000, 'largest body');
	is(fetch('/size/1001', max_response => 1000)->{error},
		'too_large', 'one byte more');
	is(fetch('/size/1048577')->{error}, 'too_large', 'default limit');
	is(fetch('/size/5000000', max_response => 5000000)->{len},
		5000000, 'large body');
};

subtest 'nothing was sent' => sub {
	# Listens and never answers.
	my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1');
	my $silent_port = $silent->sockport;
	my $r = one({ url => "https://127.0.0.1:$silent_port/", timeout_ms => 500 });
	is($r->{error}, 'not_sent', 'no TLS handshake in time');
	like($r->{message}, qr/negotiating TLS/, 'message names the phase');
	close($silent);

	$r = one({ url => "http://127.0.0.1:$silent_port/" });
	is($r->{error}, 'not_sent', 'connection refused');
	like($r->{message}, qr/onnect/, 'message');

	$r = one({
			url => 'https://127.0.0.1:' . $hook->port . '/x?secret=1',
			connect_timeout_ms => 500
		});
	is($r->{error}, 'not_sent', 'not a TLS server');
	unlike($r->{message}, qr/secret/, 'message has no query');

	$r = one({ url => 'https://no-such-host.invalid/' });
	is($r->{error}, 'not_sent', 'no such host');
};

subtest 'nobody waits for the slow' => sub {
	my @requests = (
		(map { { url => $hook->url('/hang'), timeout_ms => 3000 } } 1 .. 10),
		(
			map { { url => $hook->url('/ok'), repeatable => JSON::PP::true } }
			  1 .. 200));
	my $rows = many(\@requests, in_flight => 30);
	my @last = map { $_->{nth} } @{$rows}[ 0 .. 9 ];
	my @ok = grep { $_->{error} eq 'ok' } @{$rows}[ 10 .. 209 ];
	is(scalar @ok, 200, 'the fast ones succeed');
	is((sort { $a <=> $b } @last)[0], 201, 'and end before any slow one');

	# The session can do something else.
	my ($rc, $out, $err) = $node->psql('postgres',
		    "$loopback SET statement_timeout = '200ms';"
		  . many_sql([ { url => $hook->url('/hang') } ]));
	like($err, qr/statement timeout/, 'a wait can be interrupted');

	cmp_ok(
		$node->safe_psql('postgres',
			"$loopback SELECT http_abandon('" . $hook->url('/hang') . "')"),
		'<', 500, 'abandoning does not wait');
};

SKIP:
{
	skip 'no compiler', 1 unless $resolver;
	subtest 'nobody waits for a look-up' => sub {
		my $begin = time;
		my $rows = many(
			[
				{ url => 'https://a.slow/', connect_timeout_ms => 700 },
				{ url => 'https://b.slow/', timeout_ms => 700 },
				map { { url => $hook->url('/ok/slow') } } 1 .. 20
			],
			in_flight => 30);
		is($rows->[0]{error}, 'not_sent', 'look-up ends with the timeout');
		is($rows->[1]{error}, 'not_sent', 'whichever of the two');
		like($rows->[1]{message}, qr/resolving/, 'message names the phase');
		is(scalar(grep { $_->{nth} <= 20 } @{$rows}[ 2 .. 21 ]),
			20, 'others go ahead');
		cmp_ok(
			$node->safe_psql(
				'postgres', "SELECT http_abandon('https://c.slow/')"),
			'<', 500, 'abandoning does not wait either');
		cmp_ok(time - $begin, '<', 9, 'nor does the end of a session');
	};
}

subtest 'many at a time' => sub {
	foreach my $fresh (JSON::PP::false, JSON::PP::true)
	{
		my $rows = many(
			[
				map {
					{
						method => 'POST',
						url => $hook->url('/delay/50'),
						body => "$_",
						fresh => $fresh,
						repeatable => JSON::PP::true,
						headers => { 'webhook-id' => "many-$fresh-$_" }
					}
				} 1 .. 500
			],
			in_flight => 500,
			set => "$loopback SET http_test.max_connections = 500;");
		is(scalar(grep { $_->{error} eq 'ok' } @$rows), 500, 'all answered');
	}

	# What does not fit into the limit of open files waits.
	$node->append_conf('postgresql.conf', 'max_files_per_process = 64');
	$node->restart;
	my $rows = many(
		[
			map {
				{ url => $hook->url('/delay/5'), repeatable => $json_bool[ $_ % 2 ] }
			} 1 .. 300
		],
		in_flight => 300,
		set => "$loopback SET http_test.max_connections = 500;");
	is(scalar(grep { $_->{error} eq 'ok' } @$rows), 300, 'few descriptors');

	my $stats = $hook->get('/_stats');
	is($stats->{unique}, 1000, 'all arrived');
	is($stats->{duplicates}, 0, 'once');
};

subtest 'what is read from a head' => sub {
	my $day = 24 * 3600 * 1000;
	my $http_date = sub {
		strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(shift));
	};
	my $retry = sub {
		my ($value) = @_;
		$value =~ s/([^A-Za-z0-9])/sprintf('%%%02X', ord $1)/ge;
		fetch("/status/429?retry-after=$value")->{retry};
	};
	is($retry->('120'), 120_000, 'Retry-After in seconds');
	is($retry->('0'), 0, 'zero');
	is($retry->('99999999999999999999'), $day, 'absurd');
	is($retry->('-5'), -1, 'negative');
	is($retry->('soon'), -1, 'not understood');
	is($retry->('Fri, 31 Dec 9999 23:59:59 GMT'), $day, 'absurd date');
	is($retry->('Wed, 21 Oct 2015 07:28:00 GMT'), 0, 'past date');
	my $ms = $retry->($http_date->(time + 3600));
	cmp_ok($ms, '>', 3500_000, 'future date');
	cmp_ok($ms, '<=', 3600_000, 'not too far');
	is(fetch('/status/429')->{retry}, -1, 'absent');
	is(fetch('/status/429')->{status}, 429, 'an error status is an answer');

	my $r = fetch('/head?ETag=%22a%22&Content-Type=text/plain'
		  . '&x-request-id=three&cf-ray=two&x-notion-request-id=one');
	is($r->{etag}, '"a"', 'etag');
	is($r->{type}, 'text/plain', 'content type');
	is($r->{id}, 'one', 'the service\'s own request id first');
	is(fetch('/head?x-request-id=three&cf-ray=two')->{id}, 'two', 'then the proxy\'s');
	is(fetch('/head?x-request-id=three')->{id}, 'three', 'then any');
	is(fetch('/head?ETag=%ff%fe')->{etag}, undef, 'no invalid text');
	is(fetch('/head?ETag=' . 'x' x 300)->{etag}, undef, 'no half values');

	$r = fetch('/redirect?to=/elsewhere/1');
	is($r->{status}, 302, 'a redirect is an answer');
	is($r->{location}, '/elsewhere/1', 'location');
	is(scalar @{ arrivals('/elsewhere') }, 0, 'and is not followed');
};

subtest 'malformed requests' => sub {
	my $before = $hook->get('/_stats')->{requests};
	my $url = $hook->url('/never');
	my @bad = (
		{ url => "$url\r\nX: y" },
		{ url => "$url space" },
		{ url => 'ftp://127.0.0.1/' },
		{ url => 'file:///etc/passwd' },
		{ url => '' },
		{ url => 'http://' },
		{ url => 'http://user:secret@127.0.0.1:' . $hook->port . '/never' },
		{ url => $url . 'x' x 9000 },
		{ url => $url, method => "GET / HTTP/1.1\r\nX:" },
		{ url => $url, method => '' },
		{ url => $url, headers => { 'X-A' => "b\r\nX-C: d" } },
		{ url => $url, headers => { 'X-A' => "b\nX-C: d" } },
		{ url => $url, headers => { "X-A: b\r\nX-C" => 'd' } },
		{ url => $url, headers => { '' => 'd' } },
		{ url => $url, headers => { 'Content-Length' => '3' } },
		{ url => $url, headers => { 'transfer-encoding' => 'chunked' } },
		{ url => $url, headers => { 'X-A' => 'x' x 20000 } });
	foreach my $request (@bad)
	{
		my $r = one($request);
		my $what = $json->encode($request);
		is($r->{error}, 'refused', substr($what, 0, 70));
		unlike($r->{message}, qr/secret/, 'message keeps secrets');
	}
	is($hook->get('/_stats')->{requests}, $before, 'nothing arrived');
};

subtest 'where requests may go' => sub {
	my $port = $hook->port;
	my $before = $hook->get('/_stats');
	my @addresses = (
		'127.0.0.1', '2130706433', '0x7f.1', '0.0.0.0', 'localhost',
		'[::1]', '[::ffff:127.0.0.1]', '[::]', '10.0.0.1',
		'169.254.169.254', '192.168.1.1', '[fe80::1]', '[fd00::1]',
		'[64:ff9b::7f00:1]', '[2002:7f00:1::]', '224.0.0.1');
	foreach my $address (@addresses)
	{
		foreach my $scheme (qw(http https))
		{
			my $r = one(
				{ url => "$scheme://$address:$port/", timeout_ms => 5000 },
				set => 'SET http_test.allow_http = on;');
			is($r->{error}, 'refused', "$scheme://$address");
		}
	}
	my $r = one({ url => "http://127.0.0.1:$port/" },
		set => "SET http_test.allowed_networks = '127.0.0.0/8';");
	is($r->{error}, 'refused', 'plain http must be allowed');
	like($r->{message}, qr/rmsync\.allow_http\b/, '... by this setting');
	$r = one(
		{ url => 'http://192.0.2.1/', timeout_ms => 500 },
		set => "SET http_test.allowed_networks = '127.0.0.0/8';"
		  . 'SET http_test.allow_http = on;');
	is($r->{error}, 'refused', '... and the network too');
	like($r->{message}, qr/rmsync\.allowed_networks\b/, '... by that one');

	my $after = $hook->get('/_stats');
	is($after->{requests}, $before->{requests}, 'nothing arrived');
	is($after->{connections}, $before->{connections}, 'nobody connected');

	my $ask = many_sql(
		[ { url => $hook->url('/ok/reused'), repeatable => JSON::PP::true } ]);
	my @out = map { $json->decode($_)->[0]{error} } split /\n/,
	  $node->safe_psql('postgres',
		    $loopback . $ask
		  . "SET http_test.allowed_networks = '10.0.0.0/8';" . $ask
		  . $loopback . $ask);
	is("@out", 'ok refused ok', 'an open connection is checked again');
};

subtest 'address classes' => sub {
	my %class = (
		'8.8.8.8' => 'public', '1.1.1.1' => 'public',
		'9.255.255.255' => 'public', '11.0.0.0' => 'public',
		'100.63.255.255' => 'public', '100.64.0.0' => 'denied',
		'100.127.255.255' => 'denied', '100.128.0.0' => 'public',
		'172.15.255.255' => 'public', '172.16.0.0' => 'denied',
		'172.31.255.255' => 'denied', '172.32.0.0' => 'public',
		'198.17.255.255' => 'public', '198.18.0.0' => 'denied',
		'198.19.255.255' => 'denied', '198.20.0.0' => 'public',
		'192.0.0.8' => 'denied', '192.0.2.1' => 'denied',
		'192.88.99.1' => 'denied', '203.0.113.9' => 'denied',
		'223.255.255.255' => 'public', '224.0.0.0' => 'denied',
		'240.0.0.1' => 'denied', '255.255.255.255' => 'denied',
		'2606:4700::1111' => 'public', '2a00:1450::1' => 'public',
		'::' => 'denied', '::1' => 'denied', '::8.8.8.8' => 'denied',
		'::ffff:8.8.8.8' => 'public', '::ffff:10.0.0.1' => 'denied',
		'64:ff9b::8.8.8.8' => 'public', '64:ff9b::10.0.0.1' => 'denied',
		'64:ff9b:1::1' => 'denied', '2002:808:808::1' => 'denied',
		'2001::1' => 'denied', '2001:db8::1' => 'denied',
		'2001:4860::1' => 'public', '100::1' => 'denied',
		'3fff::1' => 'denied', '3fff:1000::' => 'public',
		'5f00::1' => 'denied', 'fc00::1' => 'denied', 'fdff::1' => 'denied',
		'fe80::1%eth0' => 'denied', 'fec0::1' => 'denied',
		'ff02::1' => 'denied', 'localhost' => 'denied', '' => 'denied');
	my $list = join ',', map { "('$_')" } sort keys %class;
	my $out = $node->safe_psql('postgres',
		"SELECT a || '=' || netguard_class(a) FROM (VALUES $list) v(a)");
	my %got = map { /^(.*)=(.*)$/ ? ($1 => $2) : () } split /\n/, $out;
	is_deeply(\%got, \%class, 'classes');

	my %listed = (
		"'10.1.2.3', '10.0.0.0/8'" => 'allowed',
		"'11.1.2.3', '10.0.0.0/8'" => 'public',
		"'::ffff:10.1.2.3', ' 192.168.0.0/16 , 10.0.0.0/8 '" => 'allowed',
		"'::1', '::1'" => 'allowed',
		"'::1', '127.0.0.0/8'" => 'denied',
		"'127.0.0.1', '127.0.0.1/32'" => 'allowed',
		"'127.0.0.2', '127.0.0.1/32'" => 'denied',
		"'127.0.0.2', '127.0.0.0/31'" => 'denied',
		"'fd00::5', 'fd00::/8'" => 'allowed',
		"'8.8.8.8', '0.0.0.0/0'" => 'allowed');
	foreach my $args (sort keys %listed)
	{
		is($node->safe_psql('postgres', "SELECT netguard_class($args)"),
			$listed{$args}, $args);
	}
	my %wrong = (
		'10.0.0.0/33' => qr/prefix length/, '10.0.0.0/' => qr/prefix length/,
		'10.0.0.0/-1' => qr/prefix length/, '10.0.0.1/8' => qr/right of/,
		'localhost' => qr/not an IP/, '10.0.0.0/8,,' => qr/not an IP/,
		'10.0.0.0/8 ::1' => qr/commas/, '::1/129' => qr/prefix length/,
		'x' x 100 => qr/too long/, join(',', ('10.0.0.1') x 65) => qr/At most 64/);
	foreach my $text (sort keys %wrong)
	{
		my ($rc, $o, $err) =
		  $node->psql('postgres', "SELECT netguard_class('::1', '$text')");
		like($err, $wrong{$text}, substr($text, 0, 30));
	}
};

subtest 'TLS' => sub {
	my $made = system("openssl req -x509 -newkey rsa:2048 -nodes -days 2"
		  . " -subj /CN=rmsync-test -addext subjectAltName=IP:127.0.0.1"
		  . " -keyout '$tmp/key.pem' -out '$tmp/cert.pem' >/dev/null 2>&1");
	plan skip_all => 'no openssl program' if $made != 0;

	my $tls = RmsyncFake->start('hook.py', '--cert', "$tmp/cert.pem", '--key',
		"$tmp/key.pem");
	my $r = one({ url => $tls->url('/ok') });
	is($r->{error}, 'not_sent', 'unknown issuer');
	like($r->{message}, qr/certificate/, 'message');

	my $trust = "$loopback SET http_test.ca_file = '$tmp/cert.pem';";
	my $rows = many(
		[
			map {
				{
					url => $tls->url('/echo'),
					fresh => ($_ > 2 ? JSON::PP::true : JSON::PP::false),
					repeatable => JSON::PP::true
				}
			} 1 .. 4
		],
		set => $trust);
	is(join(' ', map { $_->{error} } @$rows), 'ok ok ok ok', 'known issuer');

	my $wrong_name = 'https://localhost:' . $tls->port . '/';
	$r = one({ url => $wrong_name },
		set => "$trust SET http_test.allowed_networks = '127.0.0.0/8, ::1';");
	is($r->{error}, 'not_sent', 'wrong name');

	$r = one({ url => $tls->url('/ok') },
		set => "$loopback SET http_test.ca_file = '$tmp/missing.pem';");
	is($r->{error}, 'not_sent', 'missing file of certificates');

	my @out = map { $json->decode($_)->[0]{error} } split /\n/,
	  $node->safe_psql('postgres',
		    $trust
		  . many_sql([ { url => $tls->url('/ok'), repeatable => JSON::PP::true } ])
		  . "SET http_test.ca_file = '';"
		  . many_sql([ { url => $tls->url('/ok'), repeatable => JSON::PP::true } ]));
	is("@out", 'ok not_sent', 'distrust also ends a connection');
	$tls->stop;
};

like($node->safe_psql('postgres', 'SELECT http_build_info()'),
	qr/libcurl.*SSL/, 'build info');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|was terminated by signal/,
	'no crash');
$node->stop;
done_testing();
