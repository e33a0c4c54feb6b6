# Writes that Notion does when nobody looks any more: what was looked for in
# vain and made again, or belongs somewhere else by then, is found later and
# removed, unless it is somebody's.  Nothing waits for that, a restart does not
# stop it, and it ends.
# Slow: waits for what comes late.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(fake => [ '--rate', 0 ], conf => { 'rmsync.http_timeout' => '5s' });
my $node = $t->node;
my $user = 0;

# Waiting times are a hundredth: looks for an unknown outcome after 20 and
# 50 ms, for what may come late after 1.5 and 5 s more.
my %quick = (resolve_delays_ms => [ 2000, 5000 ], late_delays_ms => [ 150000, 500000 ]);

# ... and one that is not looked for within 4 s.
my %slow = (resolve_delays_ms => [400000], late_delays_ms => [ 400000, 900000 ]);

sub fresh
{
	my ($config, @sizes) = @_;
	my $n = ++$user;
	my $name = 'A';

	$t->add_user($n);
	my @books = map { my $b = $name++; $t->add_notebook($n, "Book $b of $n", [ map { "page $_ of $b" } 1 .. $_ ]) } @sizes;
	$t->connect($n, %$config);
	$t->settled("user $n", user => $n);
	return @books;
}

sub fault
{
	my ($n, $fault, $match, %more) = @_;
	return $t->notion({ fault => $fault, times => 1, match => { user => "user$n", %$match }, %more });
}

my %append = (method => 'PATCH', path => '/children$');
my %create = (method => 'POST', path => '/pages$');

sub unknown
{
	my ($n, $name) = @_;
	return wait_for($node, "SELECT count(*) > 0 FROM rmsync.sync_queue WHERE user_id = $n AND error_code = 'unknown_outcome'", 't', "$name: an answer is lost");
}

sub move_page
{
	my ($page, $to) = @_;
	$t->sql("BEGIN; DELETE FROM notebook_pages WHERE page_id = $page; UPDATE pages SET notebook_id = $to->{id} WHERE id = $page;
		INSERT INTO notebook_pages (notebook_id, page_id, page_number)
		SELECT $to->{id}, $page, coalesce(max(page_number), 0) + 1 FROM notebook_pages WHERE notebook_id = $to->{id}; COMMIT");
	return;
}

# Live toggles of a page, in whatever notebook.
sub toggles
{
	my ($n, $uuid) = @_;
	return grep { ($_->{href} // '') =~ m{/p/\Q$uuid\E\?rm=} } map { @{ $_->{blocks} } } $t->pages($n);
}

# Every look was made, and nothing is remembered any more.
sub looked
{
	my ($name, @users) = @_;
	my $list = join(',', @users);

	my $ok = wait_for($node, "SELECT count(*) FROM rmsync.sync_records WHERE user_id IN ($list) AND look_at IS NOT NULL", 0, "$name: the last look is made");
	diag($t->sql("SELECT user_id, item_type, item_id, look_at, status, intent, metadata_json FROM rmsync.sync_records WHERE user_id IN ($list) AND look_at IS NOT NULL")) unless $ok;
	$t->settled($name);
	is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id IN ($list) AND metadata_json ?| '{late,looks}'"), 0,
		"$name: nothing is remembered any more");
	return;
}

# Something is to be looked for.
sub remembered
{
	my ($n, $name) = @_;
	return isnt($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE user_id = $n AND look_at IS NOT NULL"), 0, "$name: it is remembered");
}

# ---------------------------- an append, and the page has gone somewhere else

my @cases;
foreach my $fault (qw(commit_close late_close close))
{
	foreach my $to (qw(third back nowhere deleted parts new))
	{
		my %case = (fault => $fault, to => $to, name => "$fault, $to");
		my %config = (%slow, $to eq 'parts' ? (split_pages => 2) : ());
		my @books = fresh(\%config, 3, $to eq 'parts' ? 4 : 2, $to eq 'new' ? () : 2);

		@case{qw(a b c)} = @books;
		$case{user} = $case{a}{user};
		$case{page} = $case{a}{pages}[1];
		$case{page} = $t->sql("SELECT test.add_page($case{a}{id}, 9, NULL)") if $to eq 'new';
		$case{uuid} = $t->sql("SELECT page_uuid FROM pages WHERE id = $case{page}");
		push @cases, \%case;
	}
}
$t->settled('before they move');
foreach my $case (@cases)
{
	fault($case->{user}, $case->{fault}, { %append, body => $case->{uuid} }, seconds => 6);
	move_page($case->{page}, $case->{b});
	$t->edit_page($case->{page}, 'read when it was there') if $case->{to} eq 'new';
	unknown($case->{user}, $case->{name});
	$case->{c} //= $t->add_notebook($case->{user}, 'Book C', []);
	if ($case->{to} eq 'nowhere')
	{
		$t->sql("DELETE FROM notebook_pages WHERE page_id = $case->{page}; DELETE FROM pages WHERE id = $case->{page}");
	}
	else
	{
		move_page($case->{page}, $case->{to} eq 'back' ? $case->{a} : $case->{c});
	}
	$t->sql("UPDATE notebooks SET deleted = true WHERE id = $case->{b}{id}") if $case->{to} eq 'deleted';
}
$t->settled('they have moved on');

foreach my $case (grep { $_->{fault} eq 'close' } @cases)
{
	next if $case->{to} =~ /deleted|nowhere/;
	remembered($case->{user}, $case->{name});
}
$node->stop('immediate');
$node->start;
looked('moved on', map { $_->{user} } @cases);

# a part that was made for the page is removed when something changes there
$t->sql("UPDATE notebooks SET visible_name = visible_name || '!' WHERE id = $_->{b}{id}") foreach grep { $_->{to} eq 'parts' } @cases;
$t->settled('renamed');
$t->equal('moved on', map { $_->{user} } @cases);
my %done = map { $_->{user} => 1 } grep { $_->{committed} && ($_->{fault} // '') =~ /^(commit|late)_close$/ } $t->arrivals;
is(join(' ', grep { !$done{$_} } map { "user$_->{user}" } grep { $_->{fault} ne 'close' && $_->{to} ne 'deleted' } @cases), '', 'all of those were made at last');
foreach my $case (@cases)
{
	is(scalar(toggles($case->{user}, $case->{uuid})), $case->{to} eq 'nowhere' ? 0 : 1, "$case->{name}: the page is there once");
}

# ---------------------------------- an append that was looked for, in vain

$t->notion({ cmd => 'clear' });
@cases = ();
foreach my $what (qw(page many todo))
{
	my ($book) = fresh({ %quick, todos => 'blocks' }, 3);
	my %case = (name => "late $what", book => $book, user => $book->{user});

	fault($book->{user}, 'late_close', { %append, body => 'rm=' }, seconds => 1);
	$t->sql("SELECT test.add_page($book->{id}, 9, 'one more')") if $what eq 'page';
	$t->sql("SELECT test.add_page($book->{id}, 10 + i, 'one more: ' || i) FROM generate_series(1, 30) i") if $what eq 'many';
	$t->sql("SELECT test.add_todo($book->{pages}[0], 'to be done')") if $what eq 'todo';
	push @cases, \%case;
}
$t->settled('late appends');
remembered($_->{user}, $_->{name}) foreach @cases;
$_->{since} = $t->arrived foreach @cases;
looked('late appends', map { $_->{user} } @cases);
$t->equal('late appends', map { $_->{user} } @cases);
foreach my $case (@cases)
{
	my @late = grep { $_->{committed} && ($_->{fault} // '') eq 'late_close' } $t->arrivals(user => "user$case->{user}");
	is(scalar(@late), 1, "$case->{name}: it was made twice");
	my @looks = grep { $_->{method} eq 'GET' } $t->arrivals(user => "user$case->{user}", since => $case->{since});
	cmp_ok(scalar(@looks), '<=', 2, "$case->{name}: one look for all that is late, and one more at most");
}

# --------------------------------------------- a page that was made twice

# Notion's queries lag behind longer than anybody looks.
sub made_twice
{
	my ($name, $books, %opt) = @_;
	my $n = $books->{user};
	my $new = $t->add_notebook($n, "New of $n", [ 'one', 'two' ]);

	$t->settled($name, user => $n);
	remembered($n, $name);
	my @pages = grep { $_->{marker} =~ /\Q$new->{uuid}\E$/ } $t->pages($n);
	is(scalar(@pages), $opt{late} ? 1 : 2, "$name: there are two") if !$opt{late};
	my $kept = $t->sql("SELECT external_id FROM rmsync.sync_records WHERE user_id = $n AND item_id = '$new->{uuid}'");
	return ($new, $kept, grep { $_->{id} ne $kept } @pages);
}

$t->notion({ cmd => 'clear' }, { cmd => 'set', query_lag => 1 });
my @users;
my %kept;
foreach my $what (qw(lag late renamed deleted))
{
	my ($book) = fresh(\%quick, 1);
	my $n = $book->{user};

	fault($n, $what eq 'late' ? 'late_close' : 'commit_close', \%create, seconds => 1);
	my ($new, $kept, $double) = made_twice($what, $book, late => $what eq 'late');
	$kept{$n} = $kept unless $what eq 'deleted';
	$t->sql("UPDATE notebooks SET visible_name = 'Renamed' WHERE id = $new->{id}") if $what eq 'renamed';
	$t->sql("UPDATE notebooks SET deleted = true WHERE id = $new->{id}") if $what eq 'deleted';
	push @users, $n;
}
$node->stop('immediate');
$node->start;
looked('made twice', @users);
$t->equal('made twice', @users);
foreach my $n (sort { $a <=> $b } keys %kept)
{
	ok((grep { $_->{id} eq $kept{$n} } $t->pages($n)), 'the one that is known was kept');
}

# What somebody wrote in the double, or made himself, stays.
foreach my $what ('writes in it', 'changes it', 'copies the known one')
{
	my ($book) = fresh(\%quick, 1);
	my $n = $book->{user};

	fault($n, 'commit_close', \%create);
	my ($new, $kept, $double) = made_twice($what, $book);
	$t->notion({ cmd => 'user_block', parent => $double->{id}, text => 'mine' }) if $what =~ /writes/;
	$t->notion({ cmd => 'set_property', id => $double->{id}, property => 'Name', value => { title => [ { text => { content => 'mine' } } ] } }) if $what =~ /changes/;
	$t->notion({ cmd => 'duplicate', id => $kept }) if $what =~ /copies/;
	looked("somebody $what", $n);
	my @pages = grep { $_->{marker} =~ /\Q$new->{uuid}\E$/ } $t->pages($n);
	is(scalar(@pages), 2, "somebody $what: that stays");
	ok((grep { $_->{id} eq $double->{id} } @pages), "somebody $what: the double") if $what !~ /copies/;
	ok((!grep { $_->{id} eq $double->{id} } @pages), "somebody $what: the double goes") if $what =~ /copies/;
}

# It was never made again, because the notebook was deleted.
{
	my ($book) = fresh({ %quick, resolve_delays_ms => [ 2000, 50000 ] }, 1);
	my $n = $book->{user};

	fault($n, 'late_close', \%create, seconds => 2);
	my $new = $t->add_notebook($n, 'Not for long', ['one']);
	unknown($n, 'not for long');
	$t->sql("UPDATE notebooks SET deleted = true WHERE id = $new->{id}");
	$t->settled('not for long', user => $n);
	remembered($n, 'not for long');
	looked('not for long', $n);
	$t->equal('not for long', $n);
	is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE item_id = '$new->{uuid}'"), 0, 'not for long: its entry is gone');
	ok((grep { $_->{committed} && ($_->{fault} // '') eq 'late_close' } $t->arrivals(user => "user$n")), 'not for long: it was made at last');
}

# Rows of to-dos are pages, too.
{
	my ($book) = fresh(\%quick, 2);
	my $n = $book->{user};
	my $database = $t->notion({ cmd => 'create_database', user => "user$n", preset => 'todos' });
	my $json = JSON::PP->new->encode({ api_token => "ntn_user$n", database_id => $database->{id}, %quick });

	$t->sql("SELECT rmsync_connect($n, 'notion-todos', '$json')");
	fault($n, 'commit_close', { %create, body => 'twice' });
	fault($n, 'late_close', { %create, body => 'later' }, seconds => 1);
	$t->sql("SELECT test.add_todo($book->{pages}[0], 'to be done twice'), test.add_todo($book->{pages}[1], 'to be done later'), test.add_todo($book->{pages}[1], 'to be done once')");
	$t->settled('rows', user => $n);
	remembered($n, 'rows');
	looked('rows', $n);
	my @rows = grep { $_->{marker} =~ /:todo:/ } $t->pages($n);
	is(join(', ', sort map { $_->{title} } @rows), 'to be done later, to be done once, to be done twice', 'rows: each is there once');
	is($t->sql("SELECT count(*) FROM rmsync.sync_records WHERE target_name = 'notion-todos' AND external_id = ANY ('{" . join(',', map { $_->{id} } @rows) . "}')"), 3, 'rows: the known ones');
}

# --------------------------------------------- a part that was made twice

$t->notion({ cmd => 'clear' }, { cmd => 'set', query_lag => 0 });
foreach my $own (0, 1)
{
	my ($book) = fresh({ %quick, split_pages => 2 }, 2);
	my $n = $book->{user};
	my $title = "Book A of $n (2)";

	fault($n, 'late_close', { %create, body => '"page_id"' }, seconds => 1);
	$t->sql("SELECT test.add_page($book->{id}, 10 + i, 'one more: ' || i) FROM generate_series(1, 3) i");
	$t->settled('a part', user => $n);
	remembered($n, 'a part');
	$t->notion({ cmd => 'create_page', user => "user$n", parent => $t->page_of($book)->{id}, title => $title }) if $own;
	looked('a part', $n);
	$t->equal('a part', $n) if !$own;
	my $titles = join(', ', map { $_->{title} } @{ $t->fake->get("/_dump?user=user$n")->{pages} });
	is(scalar(() = $titles =~ /\(2\)/g), $own ? 2 : 1, "a part: the late one is gone, a user's own is not ($own)") or diag($titles);
	ok((grep { $_->{committed} && ($_->{fault} // '') eq 'late_close' } $t->arrivals(user => "user$n")), 'a part: it was made at last');
}

# Looking fails, too: it is done again.
{
	my ($book) = fresh(\%quick, 2);
	my $n = $book->{user};

	fault($n, 'late_close', { %append, body => 'rm=' }, seconds => 1);
	$t->sql("SELECT test.add_page($book->{id}, 9, 'one more')");
	$t->settled('looks fail', user => $n);
	remembered($n, 'looks fail');
	fault($n, $_, { method => 'GET', path => '/children' }, times => 2) foreach qw(reject_503 commit_close body:garbage);
	fault($n, $_, { method => 'DELETE' }) foreach qw(reject_503 commit_close rate_429);
	looked('looks fail', $n);
	$t->equal('looks fail', $n);
}

log_lacks($node, qr/TRAP:|PANIC:/, 0, 'no process has fallen over');
$t->stop;
done_testing();
