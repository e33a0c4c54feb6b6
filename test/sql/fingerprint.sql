--
-- Fingerprints against golden values made by the host application's own code
-- (host forms) and by Python's json.dumps (documented form).
--
SET client_encoding = 'UTF8';

-- Golden texts: plain, in Python's white space, in what only looks like white
-- space, several scripts, emoji, everything JSON escapes, empty, blank, long.
CREATE TEMP TABLE golden (
	name text, input text,
	host_page text, host_initial text, document_page text, host_todo text);
INSERT INTO golden VALUES
	('T1', 'Meeting notes',
		'775ae95f3b681c2eb3ff673e04680b3c877c83cde671d018df0e83ba6679da75',
		'9e6c24f51918063b7c8514b3040ef52bcfd6de19d95a5823b56c8e56b327ec8b',
		'12dbb81df8df676e0f2c690dffa3b3a85f8d95ce822220beff493e6ea596fa01',
		'8dbe5f7a865feb26017511b87039f66d9e4c61e50e6a0bc9373d205a7868baa7'),
	('T2', convert_from('\xc2a0e38080090a201c1fc285e280834d656574696e67206e6f746573e280a8e280a9e2819fe280afe19a800d0a', 'UTF8'),
		'775ae95f3b681c2eb3ff673e04680b3c877c83cde671d018df0e83ba6679da75',
		'0022889b2ae885b22c2301ad53e64a1aa49708486f0cccc4bad811ec9e87e3b1',
		'12dbb81df8df676e0f2c690dffa3b3a85f8d95ce822220beff493e6ea596fa01',
		'69f0470df370732b7b08af806aaefbc962f767f6baf2d1e72ea090f139c1558d'),
	('T3', convert_from('\xe2808befbbbf4d656574696e67206e6f746573e1a08ee281a0', 'UTF8'),
		'c65fb809aa4182595baf28f2c3f3a14fd9d4fd243599d9b7353ebe7da1be7695',
		'9137caa97749064fba6f2f66822d940238885bb6aae4a57c4f681d988661c760',
		'4cd55a2f4a14a7db892e2795a5afefae9894a7c8aad08fcdff34931d9e640178',
		'daa290f88df630a59f430089da97d925518068c94909037e20b426fd48200d75'),
	('T4', convert_from('\x4772c3b6c39f653a20636166c3a9206e61c3af766520e2809320e2809c71756f746573e2809d20e280a620ce95cebbcebbceb7cebdceb9cebaceac20e697a5e69cace8aa9e20e0a4a8e0a4aee0a4b8e0a58de0a4a4e0a587', 'UTF8'),
		'97995c0505cbf95468087be3e528f11f57c337d6c650a8c681b7c13ee2948046',
		'32b436b4826014a0398a1baf2b8e2295a8d7b9d0800fd79ef1197b98b5b468ad',
		'1b86cefa714f39c15260f32994a8b21894984d045f9d792f0bea3f66bfd9e8ec',
		'e74a9af56b72b3ca4a3cff6b5870a336d20bd42cc33b76cf92ec44ade2dc2c96'),
	('T5', convert_from('\xe29c8520646f6e6520f09f91a9e2808df09f91a9e2808df09f91a720f09f87a8f09f87ad20f09f9791efb88f2078', 'UTF8'),
		'00becc95cae8ccf33e373cfaf0f6066b436f61504ac7e4acf8ad20ae275c65c2',
		'5ab567633584a145259fa675ac5c5b8c6eb9b2f1ac16520fdee3c7f57d474e11',
		'004980c43a9ec09df69267b05c387c130076fa1f59edb432b97a4060e885d72c',
		'b4beba2056280b6c243e8fc64dbcb52ae41a56ab944ea75cf2c75f51a0708667'),
	('T6', convert_from('\x6109620a630d64080c011f7f655c662f2267222768273c263e', 'UTF8'),
		'94a5be038b7b3f6b8d47fbf2f290e79ad30344dff21136bfbc7f40b17e31919f',
		'98c1be7d2c40c9a48ee2cb5922feadb2a301a689790fbbfcda149a0c475a57b8',
		'a02c09414d2657f5ed051472c2edfc384122b0d4fd14178df501a3645ab8dc63',
		'34a195460b43016ae6ab0f927fcb6e52a61a7dce1ea65c5e00053abcf83b71d1'),
	('T7', '',
		'f99a8336d016e885728986a0d11a18dc412ef6223213a3b2f734148f4fd36325',
		'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
		'd0ffbd0311e91436f2240046a4cb08a991414e0a93e3316ecaee9e18f29a9727',
		'281b46c5810ca6af76f4219cf0d8fb50032d2687a97037fe602fbd94c9311b00'),
	('T8', convert_from('\x20090ac2a020', 'UTF8'),
		'f99a8336d016e885728986a0d11a18dc412ef6223213a3b2f734148f4fd36325',
		'2bf32e9d4a552fb71e9cc3a318c6759c010135d4e420e40d42d6f3959693a94c',
		'd0ffbd0311e91436f2240046a4cb08a991414e0a93e3316ecaee9e18f29a9727',
		'2b10b8af873b262cbc5ece0381c87100f7bad4f443257e6fd04dfe9a0e4cd96d'),
	('T9', repeat('Lorem ipsum dolor sit amet, äöü 😀. ', 600),
		'84e2cb6eab3ca17d89b2c98cc6a909e9dca057286543ea5612862e398807aaf4',
		'b83e9656d23834bdab04c63bf4d08261479f136587c4aae387d85524fb9cca57',
		'f038ed179f87f1d99ac2c4109f57e9d90bbf2be80b3ccfe9ccad4c7ecbaed1f5',
		'f241f5009e4a2dc91052112c0a71a059fa619ef12c52f71ab184ddeb5180ae54');

\set nb '7d3f0c1e-5a2b-4c8d-9e10-abcdef012345'
\set pg '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0'

-- name, what was computed, what it must be
CREATE TEMP TABLE result (name text, actual text, expected text);
INSERT INTO result
SELECT name || ' ' || form, actual, expected
FROM golden,
	LATERAL (VALUES
		('host page', rmsync_fingerprint_host_page(:'nb', 3, :'pg', input), host_page),
		('host initial', rmsync_fingerprint_host_initial(input), host_initial),
		('document page', rmsync_fingerprint_page(:'nb', 3, input), document_page),
		('host todo', rmsync_fingerprint_host_todo(input, :'nb', 3), host_todo)
	) AS v (form, actual, expected);

INSERT INTO result VALUES
	('host page without uuid',
		rmsync_fingerprint_host_page(:'nb', 3, NULL, 'Meeting notes'),
		'13bd3dc8047c72fb5f892a36e90ced821cbc407567d573917d81d49acb7d9e8c'),
	('host page with empty uuid',
		rmsync_fingerprint_host_page(:'nb', 3, '', 'Meeting notes'),
		'13bd3dc8047c72fb5f892a36e90ced821cbc407567d573917d81d49acb7d9e8c'),
	('host page without number',
		rmsync_fingerprint_host_page(:'nb', NULL, :'pg', 'Meeting notes'),
		'891a8f08d52dbbaa48e58a9192a613fcddc743719e8038acc405b1ac69bd17a4'),
	('host page without notebook',
		rmsync_fingerprint_host_page(NULL, 3, NULL, 'x'),
		'acec11d9745a885e7d78bef4cfc1fe2ff499a58405838ce3e2404315fba049c5'),
	('host page, white space in the uuid',
		rmsync_fingerprint_host_page(E' \u3000u', 3, NULL, ''),
		'528441da085d37f399920c0ab00068bc80c612fe595222f2bacb7818449c16d1'),
	('host todo without page',
		rmsync_fingerprint_host_todo('x', :'nb', NULL),
		'995e5aa1a081b9f0a4076a6896b530da083a9d7d6699c5d7e320b7ab2465baaf'),
	('document page without number',
		rmsync_fingerprint_page(:'nb', NULL, 'x'),
		'3bb323303fdc68f1003eb1a76ee619eecb76a81c4212a0bbeb6f118602822b92'),
	('document page without text',
		rmsync_fingerprint_page(:'nb', 3, NULL),
		'd0ffbd0311e91436f2240046a4cb08a991414e0a93e3316ecaee9e18f29a9727'),
	('document page without notebook',
		rmsync_fingerprint_page(NULL, -1, 'x'),
		'44d0b87c27a0258d008da76448d78a1c76f24c8357d76450b74b7e506e920e63'),
	('document todo',
		rmsync_fingerprint_todo('Buy “milk” ✓', :'nb', 5),
		'0ced3b38f267e7cd3a2a57751e3691b294807dbd2163a5ea300e31a4891705aa'),
	('document todo without page',
		rmsync_fingerprint_todo('x', :'nb', NULL),
		'5afb87c5015a3f0672d26ae6c48a10389123427a1dff0a6318fa5611bff51d40'),
	('document todo is stripped',
		rmsync_fingerprint_todo(E'\u2003x\n', :'nb', NULL),
		'5afb87c5015a3f0672d26ae6c48a10389123427a1dff0a6318fa5611bff51d40'),
	('document highlight',
		rmsync_fingerprint_highlight('orig', '', 'Book.pdf', 12, ''),
		'71f6d03115337e55e499c38480ece2073f83abfd4b3ff86a925f9ac838a06a1a'),
	('document highlight, NULL texts',
		rmsync_fingerprint_highlight(' orig ', NULL, 'Book.pdf', 12, NULL),
		'71f6d03115337e55e499c38480ece2073f83abfd4b3ff86a925f9ac838a06a1a'),
	('document highlight, no file or page',
		rmsync_fingerprint_highlight('o', 'c', NULL, NULL, 'n'),
		'ed1df3cba67c4ae358458147ab5cbcae08c2ee7688a353058145d8d8a0835e1b'),
	('document notebook',
		rmsync_fingerprint_notebook('Meeting Notes', 'notebook', '[{"number": 1, "text": "a", "confidence": null}, {"number": 2, "text": "Größe 😀", "confidence": 0.95}]'),
		'd7e188a2bfae917083c533dbf2f6a1c262465427c3d639acd47c6a45bafd1a02'),
	('document notebook, pages in any order',
		rmsync_fingerprint_notebook(' Meeting Notes', 'notebook', '[{"number": 2, "text": " Größe 😀\n", "confidence": 0.95}, {"number": 1, "text": "a"}]'),
		'd7e188a2bfae917083c533dbf2f6a1c262465427c3d639acd47c6a45bafd1a02'),
	('document notebook, confidence 1.0',
		rmsync_fingerprint_notebook('Meeting Notes', 'notebook', '[{"number": 1, "text": "a", "confidence": 1.0}, {"number": 2, "text": "Größe 😀", "confidence": 0.95}]'),
		'48c3882659c310d2a5c8e4afe897d99ee8bc20d2dcd1172d5048e84edef63100'),
	('document notebook, confidence 1',
		rmsync_fingerprint_notebook('Meeting Notes', 'notebook', '[{"number": 1, "text": "a", "confidence": 1}, {"number": 2, "text": "Größe 😀", "confidence": 0.95}]'),
		'48c3882659c310d2a5c8e4afe897d99ee8bc20d2dcd1172d5048e84edef63100'),
	('document notebook, no pages',
		rmsync_fingerprint_notebook('t', NULL, '[]'),
		'26d1be0bdac2e552cc5526d8ab3077322f64ed1a6e1a5791f532da24e32f6fbe'),
	('document notebook, text null, twins in order',
		rmsync_fingerprint_notebook('t', 'pdf', '[{"number": 7, "text": null}, {"number": 7, "text": "b"}, {"number": 7, "text": "c"}]'),
		'03a1f178678ced6b5e821bcaeed8c9f03ee980f6c7a1c954d3dd64b7f1d71c3e'),
	('ledger page',
		rmsync.content_hash_page(E'\u2028 Meeting notes\n'),
		'9e6c24f51918063b7c8514b3040ef52bcfd6de19d95a5823b56c8e56b327ec8b'),
	('ledger page without text',
		rmsync.content_hash_page(NULL),
		'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

-- Floats print as Python's repr().
INSERT INTO result
SELECT 'float ' || confidence,
	rmsync_fingerprint_notebook('t', NULL, jsonb_build_array(jsonb_build_object('number', 1, 'confidence', confidence::float8))),
	expected
FROM (VALUES
	('0.1', 'f532f121f7a41ab554878dc1e2d45c72ba498f0d3b6c9b383de5f2ba232cbb59'),
	('1', 'dc12b36a98c40bad726d2f366457a416bf8fb2f1ece3db6f762125956892e54b'),
	('0.30000000000000004', '4ad72885aa7fa6dadc25c619aade8429b143e1e7d58488d8919976b7df81aab0'),
	('1e-5', 'cdc0c2fc972103d9b67996574c2af52038e9679aeef71f4f824f4a423748c96e'),
	('0.0001', 'b37c3994cd869c347ddb98e5ed9d6692ba698af9ac5e152fccb6b8aef9d16825'),
	('0.00012345', 'e0817f8fdbaf298895f2eb221ff9adf5a8e77bf3b584c21646e5bf260f716d38'),
	('1e15', '56c8c3fb5e85a320be29c1e0c03b099f34d1daaea7f320baf1bcae6ea5bdcd08'),
	('1e16', 'd4bfd8cd83d63c30cdf5939754ffd6dd6ee90571810d319de4eb6f773d904941'),
	('123456789012345680', 'c6732a2b0f0b0a03dbf4875cd2d986c659acf65b00d8cd9fbc6caa915dc5cf13'),
	('1e23', 'a2a396595b46766d1bb55a00ec6244549b4f6804a3bf41d871ba86149f2a7e6b'),
	('1e22', 'cb068d38227fc4218f9f8ea103c69d3de1c27c40c9980e73e075e1c63ee875bb'),
	('1.5e300', '94fcab08a3546b2caea95881acf0619ec3ed1b4bcdc0172553a00cacabe8a488'),
	('5e-324', 'ed16e2f826616e631d4630fab2f927fab541fa94fc3f777533f3b94424745255'),
	('100', '8e580af0cf970c4f7d907769e6e8a0a0f0544e39b785cefaac5117eec063e006'),
	('12345.678', '14ce7a32b3a7fb390ab31d12f6e0d7ba4dcdffd7552e5e7ddcdbd03eac28fb48'),
	('0', 'a8396654bd1f8a8cce5ed7f1b6e9aa70e357a38e45528e42444e51e0465e891b'),
	('-2.5', '008fffba3a74eadeb509838cd153e3758059723ce8e7b59114e0a717a14f880a'),
	('1234567890123456.7', '48b4cfecd72e58c53aa670e378f74ce799c2daddc572cfe8cdafb3a279409afb')
) AS v (confidence, expected);

-- Only mismatches, then how much was compared.
SELECT * FROM result WHERE actual IS DISTINCT FROM expected ORDER BY name;
SELECT count(*) AS compared, count(*) FILTER (WHERE actual = expected) AS equal FROM result;

-- What other options of json.dumps would give must not turn up: compact
-- separators (T1) and ensure_ascii=False (T4).
SELECT count(*) AS wrong_options FROM result
WHERE actual IN ('32147b40c64071f19b5cd97983488cf482df04eba3a0bf91c2695d6ae0cb0ca6',
	'cf878ea1e0a60b04ea7c0dadc160e1ff66ae2526c60d259cfb0c00435db25e43');

-- str.strip() strips exactly these code points.
SELECT count(*) AS stripped, sum(c) AS sum_of_code_points
FROM generate_series(1, 65535) AS c
WHERE c NOT BETWEEN 55296 AND 57343
	AND rmsync.content_hash_page(chr(c) || 'x' || chr(c)) = rmsync.content_hash_page('x');

-- Python would raise here.
SELECT rmsync_fingerprint_todo(NULL, :'nb', 1) IS NULL AS todo,
	rmsync_fingerprint_highlight(NULL, 'c', 'f', 1, 'n') IS NULL AS highlight,
	rmsync_fingerprint_notebook(NULL, 'pdf', '[]') IS NULL AS notebook,
	rmsync_fingerprint_notebook('t', 'pdf', NULL) IS NULL AS pages,
	rmsync_fingerprint_host_page(:'nb', 1, 'u', NULL) IS NULL AS host_page,
	rmsync_fingerprint_host_initial(NULL) IS NULL AS host_initial;

-- Input that is no list of pages.
SELECT rmsync_fingerprint_notebook('t', 'pdf', '{}');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '3');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '[{"number": 1}, 3]');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '[{"number": 1.5}]');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '[{"number": "1"}]');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '[{"number": 1e400}]');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '[{"number": 1, "text": 2}]');
SELECT rmsync_fingerprint_notebook('t', 'pdf', '[{"number": 1, "confidence": []}]');

--
-- The ledger's two hashes: what a change of one field changes.
--
CREATE TEMP TABLE changed (id int GENERATED ALWAYS AS IDENTITY, item_type text, base jsonb, change jsonb);
INSERT INTO changed (item_type, base, change)
SELECT item_type, base, change
FROM (VALUES
	('page_text', '{"notebook_uuid": "n", "page_number": 3, "text": "x"}'::jsonb),
	('todo', '{"notebook_uuid": "n", "page_number": 3, "page_id": "p", "text": "x", "completed": false}'),
	('highlight', '{"notebook_uuid": "n", "page_number": 3, "page_id": "p", "text": "x", "original_text": "o", "note": "r"}'),
	('notebook_metadata', '{"notebook_uuid": "n", "title": "t", "path": "a/t", "document_type": "pdf", "author": "b", "page_count": 2, "opened_at": "2026-01-02 03:04:05+00"}')
) AS b (item_type, base),
LATERAL (
	SELECT jsonb_build_object(key, CASE key
		WHEN 'page_number' THEN '4'::jsonb WHEN 'page_count' THEN '5'
		WHEN 'completed' THEN 'true' WHEN 'opened_at' THEN '"2026-01-02 03:05:00+00"'
		ELSE '"changed"' END) AS change
	FROM jsonb_object_keys(base) AS key
	UNION ALL SELECT '{"opened_at": "2026-01-02 03:04:59+00"}' WHERE base ? 'opened_at'
	UNION ALL SELECT '{"text": "\u3000x\n"}' WHERE item_type = 'page_text'
	UNION ALL SELECT '{"unheard_of": 1}'
) AS c;
SELECT item_type, change,
	a.content_hash <> b.content_hash AS content, a.placement_hash <> b.placement_hash AS placement
FROM changed, rmsync.item_hashes(item_type, base) AS a, rmsync.item_hashes(item_type, base || change) AS b
ORDER BY item_type, change::text COLLATE "C";

-- Fields cannot run into each other, absent is not empty, and a page's hash
-- is the one the SQL function computes.
SELECT (rmsync.item_hashes('highlight', '{"original_text": "a", "text": "b,"}')).content_hash
	<> (rmsync.item_hashes('highlight', '{"original_text": "a,b", "text": ""}')).content_hash AS unambiguous,
	(rmsync.item_hashes('todo', '{"text": ""}')).content_hash
	<> (rmsync.item_hashes('todo', '{}')).content_hash AS null_differs,
	(rmsync.item_hashes('page_text', '{"text": " x"}')).content_hash = rmsync.content_hash_page('x') AS same_page;
SELECT * FROM rmsync.item_hashes('page', '{}');
