# Kinds of documents and where they lie: notebooks, PDFs and EPUBs are pages of
# Notion, folders are only a path; renaming and moving costs one request and
# touches no text.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new;

sub step
{
	my ($name, $limit, $change) = @_;
	my $since = $t->arrived;

	$change->();
	$t->settled($name);
	$t->at_most($limit, $since, $name) if defined $limit;
	$t->equal($name);
	return;
}

# A document of some kind, with pages.
sub document
{
	my ($kind, $name, $path, @texts) = @_;
	my $document = $t->add_notebook(1, $name, \@texts, path => $path);

	$t->sql("UPDATE notebooks SET document_type = '$kind', parent_uuid = 'folder-1' WHERE id = $document->{id}");
	return $document;
}

sub property
{
	my ($document, $name) = @_;
	return $t->page_of($document)->{properties}{$name};
}

$t->add_user(1);
$t->sql("INSERT INTO notebooks (user_id, notebook_uuid, visible_name, document_type, created_at, updated_at, parent_uuid, full_path)
	VALUES (1, 'folder-1', 'Library', 'folder', now(), now(), '', 'Library')");
my %document = (
	notebook => document('notebook', 'Notes on reading', 'Library/Notes on reading', 'one', 'two'),
	pdf => document('pdf', 'Paper.pdf', 'Library/Paper.pdf', 'written in the margin'),
	epub => document('epub', 'Roman für Hochgebildete', 'Library/Roman für Hochgebildete', 'page of an EPUB'));
$t->sql("SELECT test.add_highlight($document{pdf}{pages}[0], 'a marked sentence')");
$t->connect(1);
$t->settled('all kinds');
$t->equal('all kinds');
is(scalar($t->pages(1)), 3, 'a folder is no page');
is(property($document{$_}, 'Path') =~ s{/.*}{}r, 'Library', "$_: the path") foreach sort keys %document;

# The host writes new paths when it hears of a document, one at a time.
my %toggles = map { $_ => join(' ', map { $_->{id} } $t->blocks_of($document{$_})) } keys %document;
step(
	'a folder is renamed', 3,
	sub {
		$t->sql("UPDATE notebooks SET visible_name = 'Bücher, gelesen', full_path = 'Bücher, gelesen' WHERE notebook_uuid = 'folder-1'");
		$t->sql("UPDATE notebooks SET full_path = replace(full_path, 'Library/', 'Bücher, gelesen/') WHERE parent_uuid = 'folder-1'");
	});
foreach my $kind (sort keys %document)
{
	is_deeply(property($document{$kind}, 'Tags'), ['Bücher; gelesen'], "$kind: the tag follows, without a comma");
}

step(
	'a notebook moves to another folder and gets another name', 1,
	sub {
		$t->sql("UPDATE notebooks SET parent_uuid = 'folder-2', visible_name = 'Lektüre', full_path = 'Archive/2026/Lektüre'
			WHERE id = $document{notebook}{id}");
	});
is(property($document{notebook}, 'Path'), 'Archive/2026/Lektüre', 'its path');
is_deeply(property($document{notebook}, 'Tags'), [ 'Archive', '2026' ], 'its tags');

step(
	'a document is opened', 1,
	sub { $t->sql("UPDATE notebooks SET last_opened = '2026-03-01 10:00' WHERE id = $document{pdf}{id}") });
like(property($document{pdf}, 'Last Opened') // '', qr/^2026-03-01/, 'it shows when');
step(
	'only the folder changes', 0,
	sub { $t->sql("UPDATE notebooks SET visible_name = 'Nobody sees this' WHERE notebook_uuid = 'folder-1'") });
foreach my $kind (sort keys %document)
{
	is(join(' ', map { $_->{id} } $t->blocks_of($document{$kind})), $toggles{$kind}, "$kind: nothing was written anew");
}

step(
	'a document goes to the trash', 1,
	sub {
		$t->sql("UPDATE notebooks SET parent_uuid = 'trash', full_path = '🗑️ Trash/Paper.pdf', deleted = true WHERE id = $document{pdf}{id}");
	});
is($t->page_of($document{pdf}), undef, 'it is in the trash at Notion, too');
step(
	'and comes back', undef,
	sub {
		$t->sql("UPDATE notebooks SET parent_uuid = '', full_path = 'Paper.pdf', deleted = false WHERE id = $document{pdf}{id}");
	});
is(property($document{pdf}, 'Path'), 'Paper.pdf', 'it lies at the top');

$t->stop;
done_testing();
