-- Document tree to Notion blocks, and blocks to requests within the limits.
\set VERBOSITY terse
SET client_min_messages = warning;
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION blocks(markdown text) RETURNS SETOF text
	LANGUAGE sql AS $$
	SELECT value::text FROM jsonb_array_elements(rmsync.notion_blocks(markdown))
$$;

\echo -- every type
SELECT blocks(E'# One\n#### Four\n###### Six\n\npara **b** *i* ~~s~~ `c`\n\n---');
SELECT blocks(E'- a\n  1. b\n    - [x] c\n- [ ] d\n\n> q\n>\n> r');
SELECT blocks(E'```js\na;\n```\n```klingon qapla\nb\n```\n```\nc\n```\n```C++\nd\n```');
SELECT blocks(E'| a | **b** |\n|---|---|\n| 1 |\n| 2 | 3 | 4 |');
\echo -- links Notion would refuse are text, and say their address
SELECT blocks('[a](http://b.c) [d](javascript:e) [f](/g)');
SELECT regexp_replace(b, 'z{4,}', 'z..', 'g') FROM blocks('[a](http://b.c/' || repeat('z', 2000) || ')') b;
\echo -- Notion counts from 1: other numbers are text
SELECT blocks(E'1. a\n2. b\n5. c\n   - d\n6. e');
SELECT blocks(E'14. März\n15. April\n\ntext\n\n1. x');
\echo -- empty
SELECT rmsync.notion_blocks('');
SELECT * FROM rmsync.notion_requests('', 'Empty');
SELECT * FROM rmsync.notion_requests('- a', 'Page "1"');

-- Words of a block tree, in reading order.
CREATE FUNCTION words(blocks jsonb) RETURNS text
	LANGUAGE plpgsql AS $$
DECLARE
	result text := '';
	b jsonb;
	v jsonb;
BEGIN
	FOR b IN SELECT value FROM jsonb_array_elements(blocks) LOOP
		v := b->(b->>'type');
		result := result
			|| coalesce((SELECT string_agg(i->'text'->>'content', '' ORDER BY n)
				FROM jsonb_array_elements(v->'rich_text') WITH ORDINALITY r(i, n)), '')
			|| coalesce((SELECT string_agg(i->'text'->>'content', '' ORDER BY n, m)
				FROM jsonb_array_elements(v->'cells') WITH ORDINALITY c(cell, n),
					jsonb_array_elements(cell) WITH ORDINALITY r(i, m)), '')
			|| CASE WHEN v ? 'children' THEN words(v->'children') ELSE '' END;
	END LOOP;
	RETURN result;
END $$;

-- UTF-16 code units.
CREATE FUNCTION units(t text) RETURNS integer
	LANGUAGE sql AS $$
	SELECT length(t) + length(regexp_replace(t, '[^\U00010000-\U0010FFFF]', '', 'g'))
$$;

-- A Notion that only knows to append.
CREATE TABLE node (id serial PRIMARY KEY, parent integer, own jsonb);

-- Adds a block with its children below "parent"; returns how many.
CREATE FUNCTION add_node(parent integer, b jsonb, tier integer) RETURNS integer
	LANGUAGE plpgsql AS $$
DECLARE
	ty text := b->>'type';
	children jsonb := b->ty->'children';
	me integer;
	n integer := 1;
	c jsonb;
BEGIN
	IF tier > 3 THEN RAISE 'nested deeper than 3 tiers'; END IF;
	IF (SELECT count(*) FROM jsonb_object_keys(b)) <> 2 THEN RAISE 'keys of a block: %', b; END IF;
	IF jsonb_array_length(b->ty->'rich_text') > 100 THEN RAISE 'rich_text of more than 100'; END IF;
	IF jsonb_array_length(children) NOT BETWEEN 1 AND 100 THEN RAISE 'children: %', jsonb_array_length(children); END IF;
	IF ty = 'table' AND children IS NULL THEN RAISE 'table without rows'; END IF;
	IF children IS NOT NULL AND (ty ~ '^(heading|code|divider|table_row)') THEN RAISE '% with children', ty; END IF;
	INSERT INTO node (parent, own) VALUES (parent, b #- ARRAY[ty, 'children']) RETURNING id INTO me;
	FOR c IN SELECT value FROM jsonb_array_elements(children) LOOP
		IF (c->>'type' = 'table_row') <> (ty = 'table') THEN RAISE '% in %', c->>'type', ty; END IF;
		n := n + add_node(me, c, tier + 1);
	END LOOP;
	RETURN n;
END $$;

CREATE FUNCTION built(parent_id integer) RETURNS jsonb
	LANGUAGE plpgsql AS $$
DECLARE
	result jsonb[];
	r node;
	children jsonb;
BEGIN
	FOR r IN SELECT * FROM node WHERE parent = parent_id ORDER BY id LOOP
		children := built(r.id);
		result := result || CASE WHEN children IS NULL THEN r.own
			ELSE jsonb_set(r.own, ARRAY[r.own->>'type', 'children'], children) END;
	END LOOP;
	RETURN to_jsonb(result);
END $$;

-- Sends the requests for a text and says how it went.
CREATE FUNCTION replay(markdown text) RETURNS text
	LANGUAGE plpgsql AS $$
DECLARE
	ids integer[];
	req record;
	b jsonb;
	n integer;
	nreq integer := 0;
	parent_id integer;
	want jsonb := rmsync.notion_blocks(markdown);
	got jsonb;
	item text;
BEGIN
	TRUNCATE node RESTART IDENTITY;
	CREATE INDEX IF NOT EXISTS node_parent ON node (parent);
	FOR req IN SELECT * FROM rmsync.notion_requests(markdown, 'T') LOOP
		nreq := nreq + 1;
		n := 0;
		IF octet_length(req.body) > 450000 THEN RAISE 'request of % bytes', octet_length(req.body); END IF;
		IF jsonb_array_length(req.body::jsonb->'children') NOT BETWEEN 1 AND 100 THEN RAISE 'top level'; END IF;
		IF req.first_id <> coalesce(array_length(ids, 1), 0) + 1 THEN RAISE 'first_id'; END IF;
		parent_id := CASE WHEN req.parent = 'page' THEN 0 ELSE ids[substr(req.parent, 2)::int] END;
		IF parent_id IS NULL THEN RAISE 'unknown parent %', req.parent; END IF;
		FOR b IN SELECT value FROM jsonb_array_elements(req.body::jsonb->'children') LOOP
			ids := ids || nextval('node_id_seq')::int + 1;
			n := n + add_node(parent_id, b, 1);
		END LOOP;
		IF n > 1000 THEN RAISE 'request of % blocks', n; END IF;
		FOR item IN SELECT jsonb_path_query(req.body::jsonb, '$.**.content') #>> '{}' LOOP
			IF units(item) > 2000 OR item = '' THEN RAISE 'item of % units', units(item); END IF;
		END LOOP;
	END LOOP;
	got := coalesce(built((SELECT min(id) FROM node)), '[]');
	RETURN format('%s requests, %s blocks, %s, %s', nreq, (SELECT count(*) FROM node),
		CASE WHEN got = want THEN 'tree equal' ELSE 'TREE DIFFERS' END,
		CASE WHEN words(got) = replace(rmsync.markdown_text(markdown), E'\n', '')
			OR replace(words(got), E'\n', '') = replace(rmsync.markdown_text(markdown), E'\n', '')
			THEN 'text equal' ELSE 'TEXT DIFFERS' END);
END $$;

\echo -- text items: 2000 units, astral characters at the border, joined characters whole
CREATE FUNCTION items(markdown text) RETURNS TABLE (n bigint, u integer, starts text, ends text)
	LANGUAGE sql AS $$
	SELECT row_number() OVER (), units(i), left(i, 4), right(i, 4)
	FROM (SELECT jsonb_path_query(rmsync.notion_blocks(markdown), '$[*].paragraph.rich_text[*].text.content') #>> '{}' i) x
$$;
SELECT items(repeat('a', 2000));
SELECT items(repeat('a', 2001));
SELECT items(repeat('a', 1998) || '😀');
SELECT items(repeat('a', 1999) || '😀');
SELECT items(repeat('😀', 1001));
SELECT items(repeat('漢', 4001));
SELECT items(repeat('a', 1900) || ' ' || repeat('b', 150));
SELECT items(repeat('a', 1850) || E'\n' || repeat('b', 50) || ' ' || repeat('c', 150));
SELECT items(repeat('a', 1700) || ' ' || repeat('b', 400));
SELECT items(repeat('a', 1997) || '👩‍👩‍👧' || 'z');
SELECT items(repeat('a', 1999) || E'e\u0301z');
SELECT items(repeat('a', 1997) || '🇩🇪🇫🇷');
SELECT items(repeat('a', 1999) || '👍🏽');

\echo -- replayed: order and limits
SELECT replay('');
SELECT replay('one');
SELECT replay(E'# h\n- a\n  - b\n    - c\n      - d\n        - e\n    - f\n  - g\n- h');
SELECT depth, replay((SELECT string_agg(repeat('  ', i) || '- a' || i, E'\n') FROM generate_series(0, depth - 1) i)
	|| E'\n- end') FROM unnest(ARRAY[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30]) depth;
\echo -- deep and wide: a zigzag of depths, numbered and not
SELECT replay((SELECT string_agg(repeat('  ', abs(i % 10 - 5)) || '- x' || i, E'\n') FROM generate_series(0, 600) i));
SELECT replay((SELECT string_agg(repeat('  ', (i * 7) % 4) || '- x' || i || E'\n\n' || repeat('  ', (i * 7) % 4 + 1) || 'p' || i, E'\n')
	FROM generate_series(0, 400) i));
\echo -- long lists, at every tier
SELECT n, replay((SELECT string_agg('- x' || i, E'\n') FROM generate_series(1, n) i)) FROM unnest(ARRAY[99, 100, 101, 250, 1001, 2345]) n;
SELECT replay(E'- a\n' || (SELECT string_agg('  - x' || i, E'\n') FROM generate_series(1, 250) i) || E'\n- b');
SELECT replay(E'- a\n  - b\n' || (SELECT string_agg('    - x' || i, E'\n') FROM generate_series(1, 250) i) || E'\n  - c\n- d');
SELECT replay((SELECT string_agg('- x' || i || (SELECT string_agg(E'\n  - y' || j, '') FROM generate_series(1, 40) j), E'\n') FROM generate_series(1, 60) i));
\echo -- tables: rows with their table, tables of 100 rows, wide ones, deep ones
SELECT n, replay(E'before\n\n| a | b |\n|---|---|\n' || (SELECT string_agg('| ' || i || ' | x |', E'\n') FROM generate_series(1, n) i) || E'\n\nafter')
	FROM unnest(ARRAY[1, 99, 100, 250]) n;
SELECT replay(E'- a\n  - b\n    - c\n\n      | t | u |\n      |---|---|\n      | 1 | 2 |\n\n      after\n    - d\n  - e\n- f');
SELECT replay((SELECT string_agg(format(E'p%s\n\n| a | b |\n|---|---|\n%s', i,
	(SELECT string_agg('| ' || j || ' | y |', E'\n') FROM generate_series(1, 90) j)), E'\n\n') FROM generate_series(1, 20) i));
SELECT b->>'type', left(b->'code'->'rich_text'->0->'text'->>'content', 20)
	FROM jsonb_array_elements(rmsync.notion_blocks(repeat('| c ', 101) || E'|\n' || repeat('|---', 101) || E'|\n| x |')) b;
SELECT b->>'type', b->'table'->>'has_column_header', jsonb_array_length(b->'table'->'children')
	FROM jsonb_array_elements(rmsync.notion_blocks(E'| a |\n|---|' || repeat(E'\n| 1 |', 120))) b;
-- a cell longer than Notion's: the table is text, with its bars
SELECT b->>'type', length(words(jsonb_build_array(b))), words(jsonb_build_array(b)) ~ '^\| a \| b \|\n\| x+ \| y \|$'
	FROM jsonb_array_elements(rmsync.notion_blocks(E'| a | b |\n|---|---|\n| ' || repeat('x', 250000) || ' | y |')) b;
\echo -- more than one block, request or item can hold
SELECT replay(repeat('lorem ipsum ', 50000));
SELECT replay(repeat('漢字', 150000));
SELECT replay('- ' || repeat('漢字', 150000) || E'\n  - child\n- next');
SELECT replay('# ' || repeat('wort ', 50000));
SELECT replay(repeat('**a** b ', 400));
SELECT replay('- [ ] ' || repeat('**a** b ', 400) || E'\n  - child');
SELECT replay('> ' || repeat('**a** b ', 400));
SELECT replay(repeat(repeat('x ', 400) || E'\n\n', 1500));
SELECT replay(E'```sql\n' || repeat(E'SELECT 1;\n', 60000) || '```');
SELECT replay(repeat(repeat(U&'\0001', 3000) || E'\n\n', 40));
\echo -- too much for us
SELECT count(*) FROM rmsync.notion_requests(repeat('a', 10 * 1024 * 1024), 'T');
\echo -- the replay does notice
SELECT add_node(0, '{"type":"toggle","toggle":{"children":[{"type":"toggle","toggle":{"children":[{"type":"toggle","toggle":{"children":[{"type":"divider","divider":{}}]}}]}}]}}', 1);

DROP TABLE node;
DROP FUNCTION blocks, words, units, add_node, built, replay, items;
