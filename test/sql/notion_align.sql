--
-- Recognizing and aligning blocks at Notion, and the prints they are known by.
-- Needs the library of test/module.
--
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION prints(text) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_notion_prints';
CREATE FUNCTION print_of(text) RETURNS text LANGUAGE c STRICT AS '$libdir/rmsync_test', 'rmsync_test_notion_print';
CREATE FUNCTION align(text, text, bool) RETURNS text LANGUAGE c AS '$libdir/rmsync_test', 'rmsync_test_notion_align';
CREATE FUNCTION recognize(text, text, bool, text, text) RETURNS text LANGUAGE c AS '$libdir/rmsync_test', 'rmsync_test_notion_recognize';

-- Blocks as text: "kind text", with "*" and a style, or [block, child, ...].
-- "flat" leaves out what is below, as an older version did.
CREATE FUNCTION t(blocks jsonb, flat bool DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	b jsonb;
	own text;
	below text;
	words text[] := '{}';
BEGIN
	FOR b IN SELECT value FROM jsonb_array_elements(blocks) LOOP
		own := CASE WHEN jsonb_typeof(b) = 'array' THEN b ->> 0 ELSE b #>> '{}' END;
		below := CASE WHEN jsonb_typeof(b) = 'array' THEN t(b - 0) ELSE '' END;
		words := words || (left(own, 1) || left(md5(split_part(own, '*', 1)), 12) || left(md5(split_part(own, '*', 2)), 6)
			|| CASE WHEN below <> '' THEN left(md5(below), 10) || CASE WHEN flat THEN '' ELSE '(' || below || ')' END ELSE '' END);
	END LOOP;
	RETURN array_to_string(words, ' ');
END $$;
CREATE FUNCTION a(there jsonb, wanted jsonb, thrifty bool DEFAULT NULL, flat bool DEFAULT false) RETURNS text LANGUAGE sql AS
	$$ SELECT align(t(there, flat), t(wanted), thrifty) $$;

\echo -- what is written is what is read
SELECT text, prints(t(text)) = n || ' ' || t(text) AS same
FROM (VALUES ('[]'::jsonb, '0/0'), ('["p a"]', '1/1'), ('["p a", "p a", "b c*bold"]', '3/3'), ('[["b a", "b b"]]', '1/2'),
	('[["b a", ["b b", ["b c", "b d"], "b e"], "b f"], "p g", ["w t", "r 1", "r 2"]]', '3/10')) v (text, n);
SELECT prints(t('[["b a", ["b b", "b c"]], "p d"]', true)) AS an_older_record;
SELECT prints('  ' || t('["p a"]') || '  ' || t('["p b"]') || ' ') = prints(t('["p a", "p b"]')) AS blanks_do_not_matter;
SELECT count(*) AS tried, count(prints(x)) AS read
FROM t('[["b a", "b b"], "p c"]') AS whole, unnest(ARRAY[whole || ')', '(' || whole, replace(whole, ')', ''), replace(whole, '(', ' ('),
	whole || 'x', replace(whole, '(', '()('), left(whole, 18), ')', '()', whole || '(']) AS x;
SELECT split_part(prints(t('[["b a", "b b"]]') || repeat(' ' || t('["p c"]'), 998)), ' ', 1) AS counted,
	prints(t('[["b a", "b b"]]') || repeat(' ' || t('["p c"]'), 998)) LIKE '%(%' AS described,
	prints(t('[["b a", "b b"]]') || repeat(' ' || t('["p c"]'), 999)) LIKE '%(%' AS not_if_too_many;

\echo -- a row of a table is known by what its cells say, in their order
CREATE FUNCTION cells(VARIADIC c text[]) RETURNS text LANGUAGE sql AS $$
	SELECT json_build_object('id', '1', 'type', 'table_row', 'table_row', json_build_object('cells',
		json_agg(json_build_array(json_build_object('type', 'text', 'plain_text', x)))))::text FROM unnest(c) x
$$;
SELECT print_of(cells('a', 'b')) = print_of(cells('a', 'b')) AS same, print_of(cells('a', 'b')) = print_of(cells('b', 'a')) AS turned,
	print_of(cells('ab', '')) = print_of(cells('a', 'b')) AS joined, left(print_of(cells('a', 'b')), 1) AS kind;

\echo -- nothing changes
SELECT a('[]', '[]'), a('["p a", ["b b", "b c"]]', '["p a", ["b b", "b c"]]'), a('["p a", ["b b", "b c"]]', '["p a", ["b b", "b c"]]', flat => true);
\echo -- one line, at every depth: a request for it, and one for each block it is below of
SELECT a('["p a", "p b", "p c"]', '["p a", "p x", "p c"]');
SELECT a('["p a", ["b b", "b c", "b d"]]', '["p a", ["b b", "b x", "b d"]]');
SELECT a('["p a", ["b b", ["b c", ["b d", "b e"]], "b f"], "p g"]', '["p a", ["b b", ["b c", ["b d", "b x"]], "b f"], "p g"]');
\echo -- lines come and go
SELECT a('[["b a", "b b"]]', '[["b a", "b x", "b b", "b y", "b z"]]'), a('[["b a", "b b", "b c", "b d"]]', '[["b a", "b c"]]');
SELECT a('["b a"]', '[["b a", "b x"]]') AS first_child, a('[["b a", "b b"]]', '["b a"]') AS last_child;
\echo -- a parent and a child: both are changed where it saves a third
SELECT a('[["b a", "b b", "b c"]]', '[["b x", "b y", "b c"]]'), a('[["b a", "b b"]]', '[["b x", "b y"]]');
\echo -- the child finds its parent, whatever the order
SELECT a('[["b a", "b c"], ["b a", "b d"], ["b a", "b e"]]', '[["b a", "b d"], ["b a", "b e"]]');
SELECT a('[["b a", "b c", "b d"], "p e"]', '["p x", ["b z", "b c", "b d"], "p e"]');
\echo -- a line that is indented, or no longer: it cannot be moved
SELECT a('["b a", "b b", "b c"]', '[["b a", "b b"], "b c"]'), a('[["b a", "b b"], "b c"]', '["b a", "b b", "b c"]');
\echo -- the type of a parent cannot be changed
SELECT a('[["b a", "b b"], "p c"]', '[["n a", "b b"], "p c"]');
\echo -- of an older record only this is known, that something below has changed
SELECT a('["p a", ["b b", "b c", "b d"]]', '["p a", ["b b", "b x", "b d"]]', flat => true), a('[["b a", "b b"]]', '[["b x", "b b"]]', flat => true);
\echo -- a table: its rows, but not how wide it is
SELECT a('[["w 2", "r 1", "r 2", "r 3"]]', '[["w 2", "r 1", "r x", "r 3"]]'), a('[["w 2", "r 1", "r 2"]]', '[["w 3", "r 1", "r 2"]]');
\echo -- many changes below one block: it is written anew, and the rest of the page stays
WITH p AS (SELECT jsonb_agg('p ' || i) AS lines FROM generate_series(1, 20) i),
	b AS (SELECT '["b a"]'::jsonb || jsonb_agg('b ' || i) AS old, '["b a"]'::jsonb || jsonb_agg(CASE WHEN i % 2 = 0 THEN 'b ' || i ELSE 'b x' || i END) AS new
		FROM generate_series(1, 60) i)
SELECT a(lines || jsonb_build_array(old), lines || jsonb_build_array(new), thrifty) FROM p, b, unnest('{f, t, null}'::bool[]) thrifty;
\echo -- it stops where it would be too much work, and says so
WITH x AS (SELECT jsonb_agg(jsonb_build_array('b ' || i, 'b ' || i)) AS old, jsonb_agg(jsonb_build_array('b x' || i, 'b y' || i)) AS new FROM generate_series(1, 501) i)
SELECT left(a(old, new, false), 3) AS all_other, a(old, old || '["b z"]', false) LIKE '1 writes, 0 reads, 1002 kept: 0= 1= %' AS one_other FROM x;

-- Whatever is there and wanted, small numbers prove it: with every pair of
-- lists, what stays and what is written make what is wanted.
CREATE TABLE lists AS SELECT row_number() OVER () AS n, l FROM (
	SELECT to_jsonb(array_remove(ARRAY[x, y, z], NULL)) AS l FROM unnest(ARRAY['p a', 'b b', NULL]) x, unnest(ARRAY['b a', 'b b', NULL]) y, unnest(ARRAY['p a', 'b c', NULL]) z) s;
INSERT INTO lists SELECT 100 + n, jsonb_build_array('["b q"]'::jsonb || l, 'p a') FROM lists WHERE l <> '[]';
SELECT count(*) AS pairs, count(*) FILTER (WHERE a(x.l, y.l, false) LIKE 'no:%') AS too_much,
	count(*) FILTER (WHERE (a(x.l, y.l, false) LIKE '0 writes, 0 reads%') <> (x.l = y.l)) AS wrong,
	count(*) FILTER (WHERE numbers <> (SELECT array_agg(DISTINCT n ORDER BY n) FROM unnest(numbers) n)) AS out_of_order
FROM lists x, lists y,
	LATERAL (SELECT array_agg(m[1]::int) AS numbers FROM regexp_matches(split_part(a(x.l, y.l, false), 'kept:', 2), '\d+', 'g') m) s;
DROP TABLE lists;

\echo -- whose is it?
-- [id, text, children?, made by, edited by] of bullets
CREATE FUNCTION listed(VARIADIC b text[]) RETURNS text LANGUAGE sql AS $$
	SELECT json_agg(json_build_object('id', p[1], 'type', 'bulleted_list_item', 'has_children', p[3] = 'y', 'created_by', json_build_object('id', p[4]),
		'last_edited_by', json_build_object('id', p[5]), 'bulleted_list_item', json_build_object('rich_text', json_build_array(
			json_build_object('type', 'text', 'plain_text', p[2])))))::text FROM unnest(b) x, LATERAL string_to_array(x, ' ') p
$$;
-- The same as we remember them; below a block, what "below" says.
CREATE FUNCTION known(b text, VARIADIC below text[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT print_of((listed('1 ' || b || ' n us us')::json -> 0)::text)
		|| CASE WHEN below <> '{}' THEN left(md5(array_to_string(below, ' ')), 10) || '(' || array_to_string(below, ' ') || ')' ELSE '' END
$$;
SELECT recognize(listed('1 a n us us', '2 b n them them', '3 c n us us'), known('a') || ' ' || known('c'), false, NULL, NULL) AS a_line_between,
	recognize(listed('1 a n us us', '2 x n us them', '3 c n us us'), known('a') || ' ' || known('b') || ' ' || known('c'), false, NULL, NULL) AS rewritten,
	recognize(listed('1 a n us us', '2 x y us them', '3 c n us us'), known('a') || ' ' || known('b') || ' ' || known('c'), false, NULL, NULL) AS and_with_lines_below,
	recognize(listed('1 a n us us', '2 x n us us', '3 c n us us'), known('a') || ' ' || known('b') || ' ' || known('c'), false, NULL, NULL) AS nobody_knows;
\echo -- below: as written, removed, or somebody else has written there
SELECT recognize(listed('1 a y us us', '2 b n us us', '3 c y us us'), known('a', known('x'), known('y')) || ' ' || known('b', known('x')) || ' ' || known('c'), false, NULL, NULL);
\echo -- blocks that look alike: told by their order, if all are there
SELECT recognize(listed('1 a y us us', '2 a y us us'), known('a', known('x')) || ' ' || known('a', known('y'), known('z')), false, NULL, NULL) AS both,
	recognize(listed('1 a y us us'), known('a', known('x')) || ' ' || known('a', known('y')), false, NULL, NULL) AS one,
	recognize(listed('1 a y us us'), known('a', known('x')) || ' ' || known('a', known('x')), false, NULL, NULL) AS one_of_two_alike;
\echo -- in doubt: what is below is known where all versions agree, and nothing was written there
SELECT recognize(listed('1 a y us us'), known('a', known('x')) || ' ' || known('a', known('x')), true, NULL, NULL) AS agree,
	recognize(listed('1 a y us us'), known('a', known('x')) || ' ' || known('a', known('y')), true, NULL, NULL) AS differ,
	recognize(listed('1 a y us us'), known('a', known('x')) || ' ' || known('a', known('x')), true, '7 1 8', NULL) AS touched,
	recognize(listed('1 a n us us'), known('a', known('x')) || ' ' || known('a', known('y')), true, '1', NULL) AS nothing_below;
\echo -- below a block nothing of ours need be left, and who made it is known; in doubt, any entry will do
SELECT recognize(listed('1 a n them them'), known('b'), false, NULL, 'us') AS below, recognize(listed('1 a n them them'), known('b'), false, NULL, NULL) AS in_the_toggle,
	recognize(listed('1 b n us us'), known('a', known('b')), true, NULL, 'us') AS deep, recognize(listed('1 c n us us'), known('a', known('b')), true, NULL, 'us') AS neither;
