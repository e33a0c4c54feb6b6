# The status of a notebook in a column of its own type, where the user has
# made one for it, in a select otherwise, and never in a column that says
# something else.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '5s' });

sub connected
{
	my ($user, @options) = @_;
	$t->add_users([$user], preset => undef, title => 'Notebooks', properties => { Name => { title => {} },
			@options ? (Status => { status => { options => [ map { { name => $_ } } @options ] } }) : () });
	my $book = $t->add_notebook($user, "Book of $user", [ 'one', 'two' ]);
	$t->connect($user);
	$t->settled("user $user", user => $user);
	return $book;
}

sub status
{
	my ($book) = @_;
	return $t->page_of($book)->{properties}{Status};
}

# Makes Notion refuse one page for good, or no more.
sub refuse
{
	my ($book, $name) = @_;
	my $rule = $t->notion({ fault => '400', match => { user => "user$book->{user}", method => 'PATCH', body => 'three' } })->{id};
	$t->sql("SELECT test.add_page($book->{id}, 3, 'three')");
	wait_for($t->node, "SELECT count(*) FROM rmsync.sync_queue WHERE user_id = $book->{user} AND status = 'failed'", 1, "$name: a page is refused");
	my $status = status($book);
	$t->notion({ cmd => 'clear', id => $rule });
	$t->sql("SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE user_id = $book->{user}");
	$t->settled($name, user => $book->{user});
	return $status;
}

# A select, which is added.
my $select = connected(1);
is(status($select), 'Synced', 'a select: added and used');
is(refuse($select, 'a select'), 'Error', 'a select: says that a page failed');
is(status($select), 'Synced', 'a select: and that it is there');

# A status with our options, found again under another name.
my $typed = connected(2, 'Error', 'Synced', 'Read');
is(status($typed), 'Synced', 'a status with our options: used');
is(refuse($typed, 'a status'), 'Error', 'a status with our options: says that a page failed');
is(status($typed), 'Synced', 'a status with our options: and that it is there');
$t->notion({ cmd => 'rename_column', data_source => $t->{users}{2}{source}, column => 'Status', name => 'Stand' },
	{ cmd => 'set_property', id => $t->page_of($typed)->{id}, property => 'Stand', value => { status => { name => 'Read' } } });
$t->sql("SELECT rmsync_trigger('notion', user_id => 2, force => true)");
$t->settled('renamed', user => 2);
is($t->page_of($typed)->{properties}{Stand}, 'Synced', 'a status with our options: known by its id');

# A status without an option for failures, and one of somebody else's.
my $half = connected(3, 'Synced', 'Archived');
is(refuse($half, 'a status without Error'), 'Synced', 'a status without "Error": is left as it was');
my $foreign = connected(4, 'Not started', 'Done');
is(status($foreign), 'Not started', 'a status of the user: is not touched');
ok(!grep({ /Status/ && $_ ne 'Status' } keys %{ $t->page_of($foreign)->{properties} }), 'a status of the user: nor is another added');

# The request that says so fails longer than its job goes on; then it hangs, and
# the server goes down.
my $late = connected(5);
my %properties = (method => 'PATCH', path => '^/v1/pages/', user => 'user5');

sub refused
{
	my ($fault, $since) = @_;
	my $rule = $t->notion({ fault => $fault, match => \%properties })->{id};
	$t->sql("UPDATE pages SET ocr_text = ocr_text || ', $fault' WHERE notebook_id = $late->{id}");
	wait_until(sub { grep { ($_->{fault} // '') eq $fault } $t->arrivals(since => $since) }, "$fault: comes");
	return $rule;
}

sub said
{
	my ($name, $since) = @_;
	$t->settled($name, user => 5);
	my @writes = grep { $_->{committed} } $t->arrivals(since => $since);
	like($writes[-1]{path}, qr{^/v1/pages/}, "$name: the page says when, in the end");
	$t->equal($name, 5);
	return;
}
foreach my $fault (qw(reject_503 close 529 400))
{
	my $since = $t->arrived;
	my $rule = refused($fault, $since);
	wait_for($t->node, 'SELECT string_agg(item_type, \' \') FROM rmsync.sync_queue WHERE user_id = 5', 'notebook_metadata', "$fault: only the notebook's page waits");
	$t->notion({ cmd => 'clear', id => $rule });
	said($fault, $since);
}
my $since = $t->arrived;
my $rule = refused('hang', $since);
$t->node->stop('immediate');
$t->notion({ cmd => 'clear', id => $rule });
$t->node->start;
said('a crash', $since);

$t->equal('in the end');
log_lacks($t->node, qr/terminated by signal|PANIC|TRAP/, 0, 'nothing crashed');
$t->stop;
done_testing();
