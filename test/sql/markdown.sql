-- Markdown to the document tree: every construct, the habits of OCR, and that
-- no word is lost.
\set VERBOSITY terse
SET client_min_messages = warning;

CREATE FUNCTION tree(markdown text) RETURNS SETOF text
	LANGUAGE sql AS $$
	SELECT value::text FROM jsonb_array_elements(rmsync.markdown_tree(markdown))
$$;
\pset format unaligned
\pset tuples_only on

\echo -- headings, paragraphs, dividers
SELECT tree(E'# One\n## Two ##\n###### Six\n####### seven\n#tag\n\npara\nsecond line  \nthird\\\nfourth\n\n***\n___\n- - -');
\echo -- styles
SELECT tree(E'**bold** *it* ***both*** ~~gone~~ `code` __b__ _i_ **a *b* c** `co\nde`');
\echo -- an indented text is no code
SELECT tree(E'    four spaces\n\ta tab');

\echo -- the OCR writes a date above dashes: no heading, and the divider stays
SELECT tree(E'**Date: 01-02-2026**\n---\ntext\n----\nmore');
SELECT tree(E'A\nB\n===\nC');
SELECT tree(E'A\n--\nB\n-');
SELECT tree(E'- item\n  ---\n- b\n\n> q\n> ---\n> r\n\n# H\n---');
SELECT tree(E'a\r\n---\r\nb\r\n');

\echo -- lists: nested by two spaces whatever the mark, arrows, paragraphs
SELECT tree(E'- a\n  - b\n    - c\n      ↳ d\n- e');
SELECT tree(E'1. a\n  - b\n    - c\n  - d\n2. e\n\n  para of e\n10. f');
SELECT tree(E'- a\n\n  b\n\n  c\n- # h\n  t\n- > q\n-\n- z');
SELECT tree(E'1. a\n\n  ```\n  code\n    deep\n  ```\n  after');
\echo -- numbers that do not count up are kept
SELECT tree(E'14. März\n15. April\n20. Mai\n21. Juni');
SELECT tree(E'1. a\n1. b\n1. c');
SELECT tree(E'3) a\n   7. b\n   9. c\n5) d');
SELECT tree(E'0. zero');
SELECT tree(E'In\n1986. a great year');
\echo -- to-dos
SELECT tree(E'- [ ] open\n- [x] done\n  - [X] deep\n- [] none\n1. [ ] numbered');

\echo -- quotes and code
SELECT tree(E'> a\n> b\n>\n> c\n> > d\n> - e\n\ntext\n> f\nlazy');
SELECT tree(E'```python\ndef f():\n\treturn "&amp; *x*"\n\n---\n[a]: b~c\n```\n~~~\nunclosed');

\echo -- tables: empty cells keep their place, extra cells are kept
SELECT tree(E'| a | **b** |\n|---|:-:|\n| 1 | 2 |\n| 1\\|2 | `x` |\n|| 3 |\n| 4 |\n| 5 | 6 | 7 | *8* |\n| | | 9 |');
SELECT tree(E'- | a | b | c |\n  |---|---|\n  | 1 | 2 |');

\echo -- links: web addresses link, all else stays as it is written
SELECT tree(E'[text](http://a.b/c) [**b** c](https://d.e "title") <http://f.g> http://h.i/j?k=l&m www.n.o p@q.de');
SELECT tree(E'[see](page 3) f[x](y) [x](y "z") <tel:123> ![pic](file.png)');
SELECT tree(E'![alt](https://i.j/k.png) ![](https://i.j/k.png) [](http://u.v) [![alt](http://i.j)](http://u.v)');
SELECT tree(E'[1]: see Meyer\n\n[note]: todo\n\n[1]');
SELECT tree(E'[](![)]()');

\echo -- characters that are no markup in handwriting
SELECT tree(E'2*3*4 5~6 and 7~8 snake_case_name a || b <b>html</b> <!-- no --> \\*star\\*');
\echo -- entities
SELECT tree(E'&auml;&Uuml;&#65;&#x1F600;&unknown; &amp;lt; &#0; &#xD800; AT&T &;');
\echo -- other scripts
SELECT tree(E'# Über größe\n- 漢字とかな **太字**\n- עברית *עברית*\n- 👩‍👩‍👧 🇩🇪 e\u0301');
SELECT tree(E'\uFEFF# after a byte order mark');
SELECT rmsync.markdown_tree(''), rmsync.markdown_tree(E' \n\n\t\n'), rmsync.markdown_text('');

\echo -- all text is there: words of a page with everything in it
CREATE TABLE page (t text);
INSERT INTO page VALUES (E'**w1**\n---\n# w2 *w3*\nw4\n- w5 [w6](w7)\n  - [ ] w8\n    1. w9\n      ↳ w10\n\n> w11\n> w12\n\n'
	'| w13 | w14 |\n|---|---|\n| w15 | w16 | w17 |\n| | | w18 |\n\n```w19 w20\nw21\n```\n[w22]: w23 w24\n\n'
	'14. w25\n15. w26\n3. w27\n\n![w28](w29) ![w30](http://w31.x/w32) <w33> &w34; w35*w36*w37\n===\nw38');
SELECT n FROM page, generate_series(1, 38) n
	WHERE rmsync.markdown_tree(t)::text !~ ('(\m|\\n)w' || n || '\M');
SELECT rmsync.markdown_text(t) FROM page;

\echo -- limits: nesting, size
SELECT count(*) FROM rmsync.markdown_tree(repeat('> ', 100) || 'x');
SELECT rmsync.markdown_tree(repeat('> ', 101) || 'x');
SELECT rmsync.markdown_tree(repeat('- ', 200) || 'x');
SELECT rmsync.markdown_tree((SELECT string_agg(repeat('  ', i) || '- a', E'\n') FROM generate_series(0, 199) i));
SELECT rmsync.markdown_tree(repeat('![', 101) || repeat('](u)', 101));
SELECT rmsync.markdown_tree(repeat('a', 10 * 1024 * 1024));
SELECT rmsync.markdown_text(repeat('a|', 100) || E'\n' || repeat('---|', 100) || repeat(E'\nb', 25000));

\echo -- hostile input takes no quadratic time and loses nothing
SET statement_timeout = '30s';
SELECT p, length(rmsync.markdown_text(repeat(p, 1000000 / length(p)))) FROM unnest(ARRAY[
	'[', '[a', 'a]', '![', '[a](', '[a](<', '[ (](', '[a](b "', '<', '<?', '<!--', 'www._', 'http://', 'a@b.',
	'&a', '_a ', '\', '|', '*a_ ', E'](\n', '漢*']) p;
SELECT length(rmsync.markdown_text(repeat('[', 500000) || repeat(']', 500000)));
SELECT length(rmsync.markdown_text(repeat('- ', 500000) || 'a'));
SELECT length(rmsync.markdown_text(repeat('- ', 90) || 'a' || repeat(E'\n', 1000000)));
SELECT length(rmsync.markdown_text((SELECT string_agg('[' || i || E']: u\n', '') FROM generate_series(1, 30000) i)));
RESET statement_timeout;

DROP TABLE page;
DROP FUNCTION tree(text);
