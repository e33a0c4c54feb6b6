# Starts the stand-ins for remote services in test/fake and stops them again.
#
#	use RmsyncFake;
#	my $hook = RmsyncFake->start('hook.py', '--seed', 7);
#	... $hook->url('/status/503') ...
#	my $stats = $hook->get('/_stats');
#	$hook->post('/_control', { faults => { 'reset-after' => 0.1 } });
#
# A stand-in prints "port N" when it listens.  Whatever was started is stopped
# when the test ends, by process id.
package RmsyncFake;

use strict;
use warnings;

use Carp qw(croak);
use File::Basename qw(basename dirname);
use HTTP::Tiny;
use JSON::PP;
use POSIX qw(WNOHANG);
use Time::HiRes qw(usleep);

my $fake_dir = dirname(dirname(__FILE__)) . '/fake';
my @running;

# Where the requests of the next stand-in go: test/run --keep-requests.
my $records = 0;

sub record_file
{
	my $test = basename($0, '.pl');
	return sprintf('%s/%s-%d.jsonl', $ENV{RMSYNC_TEST_REQUESTS}, $test, ++$records);
}

# Starts a script of test/fake with the given arguments; returns once it
# listens.  Argument --cert makes url() say https.
sub start
{
	my ($class, $script, @args) = @_;

	push @args, '--record', record_file() if $script eq 'notion.py' && $ENV{RMSYNC_TEST_REQUESTS};
	my $pid = open(my $out, '-|', 'python3', "$fake_dir/$script", @args)
	  // croak "could not start $script: $!";
	my $line = <$out>;
	croak "$script did not start" unless defined $line;
	croak "$script said \"$line\"" unless $line =~ /^port (\d+)/;

	my $self = bless {
		script => $script,
		pid => $pid,
		out => $out,
		port => $1,
		scheme => (grep { $_ eq '--cert' } @args) ? 'https' : 'http',
		client => HTTP::Tiny->new(timeout => 30, verify_SSL => 0),
	}, $class;
	push @running, $self;
	return $self;
}

sub port
{
	return shift->{port};
}

sub pid
{
	return shift->{pid};
}

sub url
{
	my ($self, $path) = @_;
	return "$self->{scheme}://127.0.0.1:$self->{port}" . ($path // '/');
}

sub _decoded
{
	my ($self, $response) = @_;
	croak "$self->{script}: $response->{status} $response->{content}"
	  unless $response->{success};
	return decode_json($response->{content});
}

# What a control path says, decoded from JSON.
sub get
{
	my ($self, $path) = @_;
	return $self->_decoded($self->{client}->get($self->url($path)));
}

sub post
{
	my ($self, $path, $data) = @_;
	return $self->_decoded($self->{client}
		  ->post($self->url($path), { content => encode_json($data // {}) }));
}

# Ends it, politely, then not.
sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid};

	return unless defined $pid;
	kill 'TERM', $pid;
	foreach my $try (1 .. 100)
	{
		last if waitpid($pid, WNOHANG) != 0;
		kill 'KILL', $pid if $try == 100;
		usleep(20_000);
	}
	{
		local $?;
		close($self->{out});
	}
	return;
}

END
{
	local $?;
	$_->stop foreach @running;
}

1;
