# Texts as handwriting recognition writes them, and texts as nobody should:
# every word arrives, or the page fails alone and says why.
use strict;
use warnings;
use utf8;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RmsyncNotion;
use RmsyncTest;
use Test::More;

my $t = RmsyncNotion->new(
	fake => [ '--rate', 0 ],
	conf => { 'rmsync.max_attempts' => 2 });

# ------------------------------------------------------ what people write

# Markdown, a line of "->", and the lines a reader sees.
my @texts;
{
	local $/;
	foreach my $part (split /^={5,}\n/m, <DATA>)
	{
		my ($source, $seen) = split /^->\n/m, $part;
		s/\n+\z// foreach $source, $seen;
		push @texts, $source;
		$t->expect_text($source, $seen);
	}
}
is(scalar(@texts), 20, 'twenty texts');

$t->add_user(1);
my $book = $t->add_notebook(1, 'Real life ✍️', \@texts);
$t->connect(1);
$t->settled('real texts');
$t->equal('real texts');

# The structure of the first one.
sub shape
{
	my ($dump, $id) = @_;
	my %block = map { $_->{id} => $_ } @{ $dump->{blocks} };
	my $draw;
	$draw = sub {
		return join(' ',
			map { my $below = $draw->($_); $block{$_}{type} . ($below eq '' ? '' : "($below)") } @{ $block{ $_[0] }{children} });
	};
	return $draw->($id);
}

my $dump = $t->fake->get('/_dump?user=user1');
my @blocks = $t->blocks_of($book);
is(shape($dump, $blocks[0]{id}),
	'heading_1 paragraph divider bulleted_list_item(bulleted_list_item(bulleted_list_item) bulleted_list_item) bulleted_list_item to_do to_do',
	'nested lists, rules and boxes have their form');
is(shape($dump, $blocks[3]{id}), 'heading_2 table(table_row table_row table_row) paragraph', 'and tables');
is($blocks[0]{title}, '📄 Page 1', 'the title of a toggle');

# ------------------------------------------------------ large and deep

my $emoji = '👩‍👩‍👧 naïve 🎉 ';
my $long = $emoji x 300;
$long =~ s/ $//;
my @large = (
	$long,
	join("\n", map { "- item $_" } 1 .. 250),
	join("\n", map { "- item $_" } 1 .. 1200),
	join("\n\n", map { "paragraph $_ " . 'lorem ipsum dolor sit amet ' x 40 . 'end' } 1 .. 600),
	join("\n", map { '  ' x ($_ - 1) . "- level $_" } 1 .. 30),
	join("\n", map { my $n = $_; "- group $n", map { "  - member $_ of group $n" } 1 .. 120 } 1 .. 3),
	'x' x 150_000);
cmp_ok(length($large[3]), '>', 500_000, 'more than 500 KB');
$t->add_user(2);
my $big = $t->add_notebook(2, 'Large', [ 'a small page', @large, 'another small page' ]);
$t->connect(2);
$t->settled('large texts', user => 2);
$t->equal('large texts', 2);
my $since = $t->arrived;
$t->edit_page($big->{pages}[2], join("\n", map { "- new item $_" } 1 .. 230));
$t->settled('edit of a large page', user => 2);
$t->equal('edit of a large page', 2);
$t->at_most(5, $since, 'edit of a large page');

# ------------------------------------------------------ too large, too deep

$t->add_user(3);
my $bad = $t->add_notebook(3, 'Impossible', [ 'good 1', 'too large', 'good 2', 'too deep', 'good 3' ]);
$t->sql("UPDATE pages SET ocr_text = repeat('0123456789 ', 1000000) WHERE id = $bad->{pages}[1];
	UPDATE pages SET ocr_text = (SELECT string_agg(repeat('  ', i) || '- level ' || i, E'\\n') FROM generate_series(0, 199) i) WHERE id = $bad->{pages}[3]");
$t->connect(3);
$t->settled('two impossible pages', user => 3);
is($t->sql("SELECT string_agg(p.id::text, ' ' ORDER BY p.id) FROM rmsync.sync_queue q JOIN pages p ON p.page_uuid = q.item_id WHERE q.user_id = 3 AND q.status = 'failed'"),
	"$bad->{pages}[1] $bad->{pages}[3]", 'two pages have failed, alone');
is($t->sql("SELECT count(*) FROM rmsync.sync_queue WHERE user_id = 3 AND error_message ~ 'more than|nested|deep'"), '2', 'and say why');
$t->expect_failed(map { "aaaaaaaa-0000-4000-8000-00000300000$_" } 2, 4);
$t->equal('two impossible pages', 3);
$t->expect_failed();
is($t->page_of($bad)->{properties}{Status}, 'Error', 'the notebook shows it');
$t->edit_page($bad->{pages}[1], 'now small');
$t->edit_page($bad->{pages}[3], 'now flat');
$t->settled('made possible', user => 3);
$t->equal('made possible', 3);
is($t->page_of($bad)->{properties}{Status}, 'Synced', 'the notebook shows that, too');
is($t->sql('SELECT count(*) FROM rmsync.sync_queue'), '0', 'nothing is left in the queue');

$t->stop;
done_testing();

__DATA__
# Meeting with Anna
**Date: 14-03-2026**

---
- Agenda
  - Budget 2026
    - 12 % more for travel
  - Hiring
- Next steps
- [ ] call Ben
- [x] send minutes
->
Meeting with Anna
Date: 14-03-2026
Agenda
Budget 2026
12 % more for travel
Hiring
Next steps
call Ben
send minutes
=====
Shopping:
- milk, 2 l
- eggs (10)
- bread → the dark one
  ↳ if they have it
->
Shopping:
milk, 2 l
eggs (10)
bread → the dark one
↳ if they have it
=====
1. first
2. second
   - with a note
3. third
->
first
second
with a note
third
=====
## Prices

| Item | Price |
|------|------:|
| Tea  | 3.50 |
| Cake | 4.20 |

Sum: 7.70
->
Prices
Item | Price
Tea | 3.50
Cake | 4.20
Sum: 7.70
=====
```python
def f(x):
    return x * 2  # twice
```
uses `f` above
->
def f(x):
    return x * 2  # twice
uses f above
=====
> To be, or not to be,
> that is the question.

— Hamlet
->
To be, or not to be,
that is the question.
— Hamlet
=====
See [the docs](https://example.com/a?b=1&c=2) and https://example.org/x_y_z too.
->
See the docs and https://example.org/x_y_z too.
=====
- [ ] paint the fence
  - [ ] buy paint
  - [x] find brush
- [X] mow the lawn
->
paint the fence
buy paint
find brush
mow the lawn
=====
2 * 3 * 4 = 24
a_b_c and *emphasis* and **bold _both_**
5 < 6 & 7 > 3
->
2 * 3 * 4 = 24
a_b_c and emphasis and bold both
5 < 6 & 7 > 3
=====
14. März 2026: Arzt
->
14. März 2026: Arzt
=====
Größe: 1,80 m — „schön“ 😀 日本語テキスト
Ελληνικά, עברית, العربية
->
Größe: 1,80 m — „schön“ 😀 日本語テキスト
Ελληνικά, עברית, العربية
=====
# Heading
## Sub
### Subsub
#### Four
##### Five
text
->
Heading
Sub
Subsub
Four
Five
text
=====
line one
line two
line three

after a gap
->
line one
line two
line three
after a gap
=====
* star
+ plus
- minus
->
star
plus
minus
=====
~~crossed out~~ and kept
->
crossed out and kept
=====
**Date: 01-01-2026**

---

New year

---

**Date: 02-01-2026**

---

Back to work
->
Date: 01-01-2026
New year
Date: 02-01-2026
Back to work
=====
Call me at +49 30 123456 or #hash @name 50% \o/ C:\temp\new
->
Call me at +49 30 123456 or #hash @name 50% \o/ C:\temp\new
=====
- one

- two, loose

  with a second paragraph

- three
->
one
two, loose
with a second paragraph
three
=====
Formula: E = mc^2, ∑ x_i ≤ 10, <b>not html</b>
->
Formula: E = mc^2, ∑ x_i ≤ 10, <b>not html</b>
=====
??? unreadable [?] {sketch: a house}
(arrow to the left)
->
??? unreadable [?] {sketch: a house}
(arrow to the left)
