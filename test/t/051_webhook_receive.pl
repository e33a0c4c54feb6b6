# Webhooks as Notion delivers them: a change of the columns is noticed, once.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ]);
my $position = log_position($t->node);

# Hands over deliveries as the application does; answers the reasons given.
sub receive
{
	my ($deliveries) = @_;

	return join(' ', map {
			my $headers = RmsyncNotion::quote(JSON::PP->new->encode($_->{headers}));
			my $body = RmsyncNotion::quote($_->{body});
			$t->sql("SELECT rmsync_webhook_receive('notion', $headers, convert_to($body, 'UTF8')) ->> 'reason'")
	} @$deliveries);
}

# How often the columns were looked at.
sub looks
{
	my ($since) = @_;
	return scalar grep { $_->{method} eq 'GET' && $_->{path} =~ m{/data_sources/} } $t->arrivals(since => $since);
}

$t->add_user(1);
my $book = $t->add_notebook(1, 'Book', ['page 1', 'page 2']);
my $source = $t->{users}{1}{source};
$t->connect(1);
$t->settled('first sync');

my $hello = $t->notion({ cmd => 'webhook_subscribe', user => 'user1', token => 'secret_of_the_subscription' });
is(receive($hello->{deliveries}), 'handshake', 'the handshake is recognized');
$t->sql("SELECT rmsync_webhook_verification(1, 'notion', 'secret_of_the_subscription')");

# what was done up to here is of no concern
$t->notion({ cmd => 'webhooks', user => 'user1' });
my $since = $t->arrived;
$t->edit_page($book->{pages}[0], 'page 1, edited');
$t->settled('an edit');
is(looks($since), 0, 'the columns are not looked at without a reason');

$t->notion({ cmd => 'webhooks', user => 'user1' });
$t->notion({ cmd => 'delete_column', data_source => $source, column => 'Path' });
my $bad = $t->notion({ cmd => 'webhooks', user => 'user1', bad_signature => JSON::PP::true, keep => JSON::PP::true });
like(receive($bad->{deliveries}), qr/^bad_signature( bad_signature)*$/, 'a wrong signature is refused');
my $news = $t->notion({ cmd => 'webhooks', user => 'user1', duplicates => 1 });
$since = $t->arrived;
like(receive($news->{deliveries}), qr/^marked duplicate/, 'the change is marked, and its repetition recognized');
wait_for($t->node, 'SELECT count(*) FROM rmsync.remote_changes', 0, 'somebody looks');
$t->settled('the look');
is(looks($since), 1, 'the columns are looked at again');
is(scalar(grep { $_->{method} ne 'GET' } $t->arrivals(since => $since)), 0, 'and nothing is written');
$since = $t->arrived;
$t->edit_page($book->{pages}[0], 'page 1, edited again');
$t->settled('after the change');
$t->equal('after the change', 1);
is($t->page_of($book)->{properties}{Path}, undef, 'a column that the user deleted stays deleted');
is(looks($since), 0, 'the columns were looked at once');

log_lacks($t->node, qr/secret_of_the/, $position, 'the verification token is not in the log');
$t->stop;
done_testing();
