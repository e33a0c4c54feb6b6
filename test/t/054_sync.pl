# rmsync_sync(): queues and waits, and counts what became of exactly that.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.max_attempts' => 2 });
my $node = $t->node;

sub sync_call
{
	my ($args) = @_;
	return JSON::PP->new->decode($t->sql("CALL rmsync_sync($args)"));
}

sub counts
{
	my ($r) = @_;
	return join(' ', map { $r->{"${_}_count"} } qw(synced failed skipped pending));
}

$t->add_users([ 1, 2 ]);
my @books = map { $t->add_notebook($_, "Book of $_", [ map { "page $_" } 1 .. 3 ]) } 1, 2;
$t->connect([ 1, 2 ]);
$t->settled('first sync');

# what is equal is looked at, and skipped
my $result = sync_call("'notion', user_id => 1");
is(counts($result), '0 0 1 0', 'nothing to do') or diag(explain($result));
is_deeply($result->{targets_processed}, ['notion'], 'and where');

# an edit is waited for, whoever has begun to deliver it
$t->notion({ fault => 'slow:0.5', match => { user => 'user1', method => 'PATCH' }, times => 1 });
$result = JSON::PP->new->decode(($t->sql("SELECT test.complete_page($books[0]{pages}[0], 'edited'); CALL rmsync_sync('notion', user_id => 1)") =~ /(\{.*\})/)[0]);
is(counts($result), '1 0 1 0', 'an edited page') or diag(explain($result));
$t->equal('after it has returned', 1);
is($result->{problems} && @{ $result->{problems} }, 0, 'without problems');

# forced, of one notebook, of one type
$result = sync_call("'notion', 'page', ARRAY['$books[1]{uuid}'], force => true");
is(counts($result), '3 0 0 0', 'all pages of a notebook, though equal');

# one of them fails
my $rule = $t->notion({ fault => '400', match => { user => 'user1', method => 'PATCH', path => '/children$', body => 'refused text' } })->{id};
$t->edit_page($books[0]{pages}[1], 'refused text');
$t->edit_page($books[0]{pages}[2], 'good text');
$result = sync_call("'notion', 'page', ARRAY['$books[0]{uuid}'], force => true");
is("$result->{failed_count} $result->{pending_count}", '1 0', 'one page is refused') or diag(explain($result));
is($result->{problems}[0]{error_code}, 'invalid_data', 'which is told');
$t->notion({ cmd => 'clear', id => $rule });

# what does not come to an end is not waited for longer than asked
$t->notion({ fault => 'slow:3', match => { user => 'user1' }, times => 1 });
$result = sync_call("'notion', 'page', ARRAY['$books[0]{uuid}'], force => true, timeout => '200 ms'");
is($result->{pending_count}, 3, 'not done in time');
is($result->{reason}, 'not done in time', 'with the reason');
$t->settled('later', user => 1);
$t->equal('later', 1);

# a connection that is stopped is not waited for at all
$t->notion({ cmd => 'revoke_token', user => 'user2' });
$result = sync_call("'notion', user_id => 2, force => true, timeout => '1 hour'");
cmp_ok($result->{pending_count}, '>', 0, 'stopped under way');
like($result->{reason}, qr/^notion: .*token/i, 'and why');

# EXECUTE is enough
$node->append_conf('pg_hba.conf', 'local all app trust');
$t->sql('CREATE ROLE app LOGIN; GRANT EXECUTE ON PROCEDURE rmsync_sync TO app');
$node->reload;
my ($status, $out, $err) = $node->psql('postgres', "SET rmsync.user_id = 1; CALL rmsync_sync('notion')", extra_params => [ '-U', 'app' ]);
is($err, '', 'an application may call it');
is(counts(decode_json($out)), '0 0 1 0', 'for its user');

$t->stop;
done_testing();
