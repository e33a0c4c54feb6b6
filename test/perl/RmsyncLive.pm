# Servers with the host's tables attached, users in them, and their webhooks
# connected to a stand-in: what the tests of live delivery share.
#
#	use RmsyncLive;
#	my $hook = RmsyncFake->start('hook.py', '--secret', $secret);
#	my $node = live_node(conf => { 'rmsync.max_attempts' => 2 });
#	connect_user($node, $hook, 7);
#	$node->safe_psql('postgres', "SELECT test.add_notebook(7, 'uuid', 'Title')");
#	settle($node);
#	... events($hook, 7) ...
#
# User 7 is served at path /u7/ of the stand-in, so that a rule for that path
# makes one user's receiver misbehave and no other's.
package RmsyncLive;

use strict;
use warnings;

use Encode ();
use Exporter qw(import);
use JSON::PP;
use PostgreSQL::Test::Utils;
use RmsyncTest;
use Test::More;

our @EXPORT = qw(
  $secret $other_secret
  live_node attach master_key_file
  connect_user connect_sql config_for
  settle events event_texts rule lane
);

our $secret = 'whsec_cm1zeW5jLXRlc3Qtc2VjcmV0LW51bWJlci1vbmU=';
our $other_secret = 'whsec_cm1zeW5jLXRlc3Qtc2VjcmV0LW51bWJlci10d28=';

my $json = JSON::PP->new->utf8->canonical;

# A file with a master key, as the server accepts one.
sub master_key_file
{
	my ($key) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/master.key';

	append_to_file($file,
		($key // 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=') . "\n");
	chmod(0600, $file) or die "chmod $file: $!";
	return $file;
}

# A server as new_node() makes it, short of patience, with the host's schema
# attached.  Waiting after failures takes a hundredth of the time.
sub live_node
{
	my (%opt) = @_;
	my $node = new_node(
		%opt,
		conf => {
			'rmsync.master_key_file' => master_key_file(),
			'rmsync.backoff_scale' => '0.01',
			'rmsync.recheck_interval' => '2s',
			'rmsync.http_timeout' => '20s',
			%{ $opt{conf} // {} },
		});

	attach($node);
	return $node;
}

sub attach
{
	my ($node) = @_;

	$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS pg_trgm');
	load_host($node);
	load_host($node, schema => 'sample');
	$node->safe_psql('postgres', 'SELECT rmsync_attach()');
	return;
}

# The configuration of a user's webhook, as JSON text.
sub config_for
{
	my ($hook, $user, %config) = @_;
	my %all = (url => $hook->url("/u$user/"), secret => $secret, %config);

	delete $all{secret} unless defined $all{secret};
	return $json->encode(\%all);
}

sub connect_sql
{
	my ($hook, $user, %config) = @_;
	my $text = config_for($hook, $user, %config);

	return "SELECT rmsync_connect($user, 'webhook', '$text')";
}

# Adds a user (unless there) and connects the webhook.
sub connect_user
{
	my ($node, $hook, $user, %config) = @_;

	$node->safe_psql('postgres',
		"SELECT test.add_user($user) WHERE NOT EXISTS (SELECT FROM users WHERE id = $user);"
		  . connect_sql($hook, $user, %config));
	return;
}

# Waits until no work is open for a user (for anybody, if none is named).
sub settle
{
	my ($node, $user, $name) = @_;
	my $whose = defined $user ? "WHERE user_id = $user" : '';

	return wait_for(
		$node,
		"SELECT (SELECT count(*) FROM rmsync.sync_intake $whose)
			+ (SELECT count(*) FROM rmsync.sync_queue $whose)
			+ (SELECT count(*) FROM rmsync.integration_configs
				WHERE is_enabled AND reconcile_wanted "
		  . (defined $user ? "AND user_id = $user" : '') . ')',
		0,
		$name // (defined $user ? "work of user $user is done" : 'all work is done')
	);
}

# What a user's receiver got, in order, bodies decoded as {event}.
sub events
{
	my ($hook, $user) = @_;
	my @all = @{ $hook->get('/_deliveries') };

	@all = grep { $_->{path} =~ m{^/u$user/} } @all if defined $user;
	$_->{event} = eval { $json->decode(Encode::encode('UTF-8', $_->{body})) }
	  foreach @all;
	return @all;
}

# The same as lines of text: what happened to which text or title.
sub event_texts
{
	my ($hook, $user) = @_;
	return map {
		my $data = $_->{event}{data};
		my ($op) = $_->{event}{type} =~ /^rmsync\.(.*)$/;
		join(' ', $op, $data->{text} // $data->{title} // '-')
	} events($hook, $user);
}

# A user's receiver does as told, "times" times or until reset; with headers,
# to requests that have these.
sub rule
{
	my ($hook, $user, $mode, $times, %headers) = @_;

	$hook->post('/_control',
		{
			rules => [
				{
					path => "/u$user/",
					mode => $mode,
					headers => \%headers,
					defined $times ? (times => $times) : ()
				}
			]
		});
	return;
}

# A column of a user's lane.
sub lane
{
	my ($node, $user, $column) = @_;

	return $node->safe_psql('postgres',
		"SELECT $column FROM rmsync.integration_configs WHERE user_id = $user AND target_name = 'webhook'"
	);
}

1;
