# Answers that no service should give: cut, endless, deep, of wrong types,
# without ids or with evil ones.  A worker never falls over them, concludes
# nothing from them, and in the end Notion says what the source says.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $seed = $ENV{RMSYNC_TEST_SEED} // int(rand(1_000_000));
my $t = RmsyncNotion->new(fake => [ '--rate', 0, '--seed', $seed ]);
my $node = $t->node;

my @kinds = qw(garbage deep deep_object huge null number string array
  empty_object nul bad_utf8 wrong_types wrong_elements no_ids null_ids evil_ids
  long_ids no_cursor);
my @users = (1 .. @kinds);
my %kind_of = map { ("user$_" => $kinds[ $_ - 1 ]) } @users;

$t->add_users(\@users);
$t->sql('SELECT test.add_notebook(u, format(\'cccccccc-0000-4000-8000-%s\', lpad(u::text, 12, \'0\')), \'Book of \' || u)
	FROM generate_series(1, ' . @users . ') u;
	SELECT test.add_page(n.id, i, format(\'text %s of user %s\', i, n.user_id)) FROM notebooks n, generate_series(1, 3) i');

my %given;

# Does something while half of the answers to each user are of its kind, six
# of them at most.  What holds a lane is lifted: an operator would look, too.
sub scenario
{
	my ($name, $change, @first) = @_;
	my $since = $t->arrived;
	my @rules = map { { fault => "body:$kinds[$_ - 1]", match => { user => "user$_" }, times => 6, probability => 0.5 } } @users;

	$t->notion({ cmd => 'clear' }, @first, @rules);
	$change->();
	wait_until(
		sub {
			$node->safe_psql('postgres',
				"SELECT rmsync_enable(user_id, target_name) FROM rmsync.integration_configs WHERE state <> 'active';
				SELECT rmsync_retry(id) FROM rmsync.sync_queue WHERE status = 'failed'");
			return $node->safe_psql('postgres',
				"SELECT NOT EXISTS (SELECT FROM rmsync.sync_intake) AND NOT EXISTS (SELECT FROM rmsync.sync_queue)
				AND NOT EXISTS (SELECT FROM rmsync.integration_configs WHERE reconcile_wanted OR state <> 'active')") eq 't';
		},
		"$name: all is done") or diag("seed $seed");
	$given{ $_->{fault} } += $_->{hits} foreach @{ $t->fake->get('/_rules')->{rules} };
	$t->equal($name) or diag("seed $seed");
	$t->no_blind_resend($name,
		grep { ($kind_of{ $_->{user} // '' } // '') ne 'no_cursor' } $t->arrivals(since => $since));
	return;
}

$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'rmsync launcher'");
my $launcher = $node->safe_psql('postgres', "SELECT pid, backend_start FROM pg_stat_activity WHERE backend_type = 'rmsync launcher'");

scenario('first sync', sub { $t->connect(\@users) });
scenario('edit', sub { $t->sql("UPDATE pages SET ocr_text = ocr_text || ', edited'") });
scenario('a new page in front',
	sub {
		$t->sql("BEGIN; UPDATE notebook_pages SET page_number = page_number + 100;
			UPDATE notebook_pages SET page_number = page_number - 99;
			SELECT test.add_page(n.id, 1001, 'a new beginning of user ' || n.user_id) FROM notebooks n;
			UPDATE notebook_pages SET page_number = 1 WHERE page_number = 1001; COMMIT");
	});
scenario('a long page',
	sub {
		$t->sql("UPDATE pages SET ocr_text = (SELECT string_agg('- line ' || i, E'\\n') FROM generate_series(1, 250) i)
			WHERE page_uuid = test.page_uuid(notebook_id, 3)");
	});

# What came in has to be looked up again: toggles are listed.
scenario(
	'looking up',
	sub { $t->sql("UPDATE pages SET ocr_text = 'looked up' WHERE page_uuid = test.page_uuid(notebook_id, 2)") },
	map { { fault => 'commit_close', match => { user => "user$_", method => 'PATCH', path => '/children$' }, times => 1 } } @users);
scenario('deleted', sub { $t->sql('UPDATE notebooks SET deleted = true') });

my @few = grep { ($given{"body:$_"} // 0) < 5 } @kinds;
is("@few", '', 'every kind of answer was given five times');
is( $node->safe_psql('postgres', "SELECT pid, backend_start FROM pg_stat_activity WHERE backend_type = 'rmsync launcher'"),
	$launcher, 'no process has crashed');
log_lacks($node, qr/terminated by signal|PANIC|TRAP/, 0, 'the log says so, too');

$t->stop;
done_testing();
