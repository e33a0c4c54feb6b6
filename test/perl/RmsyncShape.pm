# What a Markdown text should look like at Notion, block by block: for the judge.
#
#	use RmsyncShape qw(shape_of title_of);
#	my $lines = shape_of($text);	# undef: says more than this file knows
#
# Derived from the text alone, and from what README.md promises; nothing of it
# knows how src/markdown.c or src/notion_blocks.c do it.  It is small since it
# reads only what tests write: paragraphs, headings, lists in lists, boxes,
# numbers that count from one, quotes of one paragraph, rules, fenced code, and
# in a line bold, italic, struck, code and links.  Of any other text it says
# that it does not know, never something half right.
#
# A line is [depth, type, words, checked, plain], and words is what
# test/fake/notion_view.py (marked_runs) makes of a block's rich text: marked
# runs are "{marks|link|text}"; plain is without them.  Both are undef if they say
# more than is known here; type and depth hold even then.
package RmsyncShape;

use strict;
use warnings;
use utf8;

use Exporter 'import';
our @EXPORT_OK = qw(shape_of title_of text_of shape_problems);

my $rule = qr/^ {0,3}(?:(?:\* *){3,}|(?:_ *){3,}|(?:- *){3,})$/;
my $item = qr/^( {0,3})([-*+]|\d{1,9}[.)])( {1,4})(?=\S)(.*)$/;
my $heading = qr/^ {0,3}(#{1,6}) +(.*?)(?: +#+)? *$/;
my $fence = qr/^ {0,3}```+ *[\w+-]* *$/;
my $quote = qr/^ {0,3}> ?(.*)$/;

# Thrown: this text says more than we know.
my $unknown = \'unknown';

# May this line not go on with a paragraph?
sub _interrupts
{
	my ($line) = @_;
	return $line =~ /^\s*$/ || $line =~ $rule || $line =~ $heading || $line =~ /^ {0,3}```/ || $line =~ $quote
	  || $line =~ $item && $2 !~ /^(?!1[.)])\d/;
}

# ------------------------------------------------------------ in a line

# Runs [marks, link, text] of some inline Markdown.
sub _runs
{
	my ($text, $marks, $link) = @_;
	my @runs;
	my $with = sub { return join('', sort split //, $marks . $_[0]) };

	while ($text ne '')
	{
		if ($text =~ s/^`([^`\n]+)`(?!`)//)
		{
			push @runs, [ $with->('c'), $link, $1 ];
		}
		elsif ($link eq '' && $text =~ s/^\[([^\[\]\n]+)\]\((https?:[^\s()]+)\)//)
		{
			push @runs, _runs($1, $marks, $2);
		}
		elsif ($text =~ s/^\*\*(?=[^\s*])((?:(?!\*\*).)+?)(?<=[\w.!?])\*\*(?!\*)//)
		{
			push @runs, _runs($1, $with->('b'), $link);
		}
		elsif ($text =~ s/^\*(?=[^\s*])([^*\n]+?)(?<=[\w.!?])\*(?!\*)//)
		{
			push @runs, _runs($1, $with->('i'), $link);
		}
		elsif ($text =~ s/^~~(?=[^\s~])([^~\n]+?)(?<=[\w.!?])~~(?!~)//)
		{
			push @runs, _runs($1, $with->('s'), $link);
		}
		elsif ((!@runs || $runs[-1][2] !~ /\w$/) && $text =~ s/^_(?=[^\s_])([^_\n]+?)(?<=[\w.!?])_(?!\w)//)
		{
			push @runs, _runs($1, $with->('i'), $link);
		}
		else
		{
			# a sign among spaces, or an underscore in a word, is itself
			$text =~ s/^((?:(?<![^\s])[*_~](?!\S)|(?<=\w)_(?=\w)|[^*_`~\[])+)//s or die $unknown;
			push @runs, [ $marks, $link, $1 ];
		}
	}
	return @runs;
}

# A line of a type at a depth that says some inline Markdown.
sub _line
{
	my ($depth, $type, $text, $checked) = @_;
	my @merged;

	return [ $depth, $type, undef, $checked ]
	  if $text =~ /[\\<]|&[#\w]+;|!\[|\]\[|\$|www\.|\w@\w|[^(]https?:|^https?:|  +\n/;
	$text =~ s/ +$//mg;
	my @runs = eval { _runs($text, '', '') };
	if ($@)
	{
		die $@ unless ref $@ && $@ == $unknown;
		return [ $depth, $type, undef, $checked ];
	}
	foreach my $run (@runs)
	{
		if (@merged && $merged[-1][0] eq $run->[0] && $merged[-1][1] eq $run->[1])
		{
			$merged[-1][2] .= $run->[2];
			next;
		}
		push @merged, [@$run];
	}
	return [ $depth, $type, join('', map { $_->[0] eq '' && $_->[1] eq '' ? $_->[2] : "{$_->[0]|$_->[1]|$_->[2]}" } @merged),
		$checked, join('', map { $_->[2] } @merged) ];
}

# ------------------------------------------------------------ blocks

# Takes a paragraph from the lines: the first one, and what goes on with it.
sub _paragraph
{
	my ($lines, $first) = @_;
	my @text = ($first);

	while (@$lines && !_interrupts($lines->[0]))
	{
		push @text, shift @$lines;
	}
	s/^\s+// foreach @text;
	return join("\n", @text);
}

sub _code
{
	my ($lines) = @_;
	my @text;

	while (@$lines && $lines->[0] !~ /^ {0,3}```+ *$/)
	{
		push @text, shift @$lines;
	}
	@$lines or die $unknown;
	shift @$lines;
	return join("\n", @text);
}

# An item of a list: what is indented as far as its text belongs to it, and
# lines that go on with its paragraph.
sub _item
{
	my ($lines, $indent, $first, $depth, $type, $checked) = @_;
	my @own;
	my $open = 1;

	while (@$lines)
	{
		my $line = $lines->[0];
		if ($line =~ /^\s*$/)
		{
			my ($next) = grep { $lines->[$_] !~ /^\s*$/ } 0 .. $#$lines;
			last unless defined $next && $lines->[$next] =~ /^ {$indent}/;
			$open = 0;
			push @own, '';
		}
		elsif ($line =~ s/^ {$indent}//)
		{
			$open = !($line =~ $heading || $line =~ $rule);
			push @own, $line;
		}
		# a number goes on with the list, if it cannot begin one
		elsif ($open && !_interrupts($line) && $line !~ $item)
		{
			push @own, $line;
		}
		else
		{
			last;
		}
		shift @$lines;
	}
	die $unknown if $first =~ $rule || $first =~ $heading || $first =~ $item || $first =~ $quote || $first =~ /^ {0,3}```|^ {4}/;
	my $text = _paragraph(\@own, $first);
	return (_line($depth, $type, $text, $checked), _blocks(\@own, $depth + 1));
}

sub _blocks
{
	my ($lines, $depth) = @_;
	my @out;
	my $number = 0;

	while (@$lines)
	{
		my $line = shift @$lines;
		next if $line =~ /^\s*$/;
		die $unknown if $line =~ /\t|^ {4}/ || $line =~ /^ {0,3}(?:\[[^\]]*\]:|<|~~~)/ || $line =~ /^\s*\|/
		  || @$lines && $lines->[0] =~ /^\s*\|?\s*:?-+:?\s*\|/;
		my $counts = 0;
		if ($line =~ $rule)
		{
			push @out, [ $depth, 'divider', '', undef, '' ];
		}
		elsif ($line =~ $heading)
		{
			my ($level, $words) = (length $1, $2);
			push @out, _line($depth, 'heading_' . ($level > 4 ? 4 : $level), $words);
		}
		elsif ($line =~ $fence)
		{
			my $code = _code($lines);
			push @out, [ $depth, 'code', $code, undef, $code ];
		}
		elsif ($line =~ $quote)
		{
			my @quoted = ($1);
			while (@$lines && ($lines->[0] =~ $quote || !_interrupts($lines->[0])))
			{
				push @quoted, shift(@$lines) =~ s/^ {0,3}> ?//r;
			}
			my $text = _paragraph(\@quoted, shift @quoted);
			die $unknown if @quoted || _interrupts($text);
			push @out, _line($depth, 'quote', $text);
		}
		elsif ($line =~ $item)
		{
			my ($before, $sign, $gap, $text) = ($1, $2, $3, $4);
			my $indent = length("$before$sign$gap");
			my ($type, $checked) = ('bulleted_list_item', undef);
			if ($sign =~ /^(\d+)/)
			{
				$type = 'numbered_list_item';
				$counts = $1;
				die $unknown if $counts != $number + 1;
			}
			elsif ($text =~ s/^\[([ xX])\] +//)
			{
				($type, $checked) = ('to_do', $1 eq ' ' ? 0 : 1);
			}
			die $unknown if $text eq '';
			push @out, _item($lines, $indent, $text, $depth, $type, $checked);
		}
		elsif ($line =~ /^\s*(?:[-*+]|\d+[.)])\s*$/)
		{
			die $unknown;
		}
		else
		{
			push @out, _line($depth, 'paragraph', _paragraph($lines, $line));
		}
		$number = $counts;
	}
	return @out;
}

# The blocks of a text in order, undef if it says more than we know.
sub shape_of
{
	my ($text) = @_;
	$text =~ s/^\s*\n//;
	my @lines = split /\n/, $text;
	my @out = eval { _blocks(\@lines, 0) };

	return \@out unless $@;
	die $@ unless ref $@ && $@ == $unknown;
	return;
}

# What {title} stands for: the first heading, else the first line; undef if not
# known.  Long ones are cut at Notion, see is_title().
sub title_of
{
	my ($text) = @_;
	my $lines = shape_of($text) or return;
	my ($line) = grep { $_->[1] =~ /^heading/ && ($_->[4] // 'x') ne '' } @$lines;

	($line) = grep { ($_->[4] // 'x') ne '' } @$lines unless $line;
	return '(no text)' unless $line;
	return unless defined $line->[4];
	return (split /\n/, $line->[4])[0];
}

# What a reader sees of a text, a line for each block; undef if not known.
sub text_of
{
	my ($text) = @_;
	my $lines = shape_of($text) or return;

	return if grep { !defined $_->[4] } @$lines;
	return join("\n", map { $_->[4] } grep { $_->[1] ne 'divider' } @$lines);
}

# How the blocks in a toggle differ from what they should be: the first
# difference.  "is" is a list as notion_view.py (lines_below) makes it.  "lenient":
# users may have ticked what they like.
sub shape_problems
{
	my ($text, $is, $lenient) = @_;
	my $should = shape_of($text) or return;

	foreach my $i (0 .. ($#$is > $#$should ? $#$is : $#$should))
	{
		my ($a, $b) = ($is->[$i], $should->[$i]);
		return 'block ' . ($i + 1) . ' is ' . _told($a) . ', not ' . _told($b)
		  if !$a || !$b || $a->[0] != $b->[0] || $a->[1] ne $b->[1]
		  || defined $b->[2] && $a->[2] ne $b->[2]
		  || ($a->[3] ? 1 : 0) != ($b->[3] ? 1 : 0) && !($lenient && $a->[6]);
	}
	return;
}

sub _told
{
	my ($line) = @_;
	return 'missing' unless $line;
	my $words = $line->[2] // '...';
	$words = substr($words, 0, 100) . '...' if length $words > 100;
	return '  ' x $line->[0] . "$line->[1] \"" . ($words =~ s/\n/\\n/gr) . '"' . ($line->[3] ? ' (ticked)' : '');
}

1;
