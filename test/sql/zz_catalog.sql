-- What the extension's objects must have or must not have, asked of the
-- catalog.  Every list but the last must be empty.
CREATE TEMP VIEW member AS
SELECT d.classid, d.objid
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass
  AND d.deptype = 'e' AND e.extname = 'rmsync';

-- there is something to look at
SELECT count(*) > 10 AS members FROM member;

-- tables and views without a comment
SELECT c.oid::regclass AS uncommented
FROM member m
JOIN pg_catalog.pg_class c ON m.classid = 'pg_catalog.pg_class'::regclass AND c.oid = m.objid
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
  AND pg_catalog.obj_description(c.oid, 'pg_class') IS NULL
ORDER BY 1;

-- functions people call, without a comment
SELECT p.oid::regprocedure AS uncommented
FROM member m
JOIN pg_catalog.pg_proc p ON m.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = m.objid
WHERE p.pronamespace <> 'rmsync'::regnamespace
  AND pg_catalog.obj_description(p.oid, 'pg_proc') IS NULL
ORDER BY 1;

-- functions people call that are not called rmsync_*
SELECT p.oid::regprocedure AS misnamed
FROM member m
JOIN pg_catalog.pg_proc p ON m.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = m.objid
WHERE p.pronamespace <> 'rmsync'::regnamespace AND p.proname !~ '^rmsync_'
ORDER BY 1;

-- anything granted to PUBLIC on a schema, table, view or sequence
SELECT pg_catalog.pg_describe_object(m.classid, m.objid, 0) AS object, a.privilege_type AS public_may
FROM member m
LEFT JOIN pg_catalog.pg_class c ON m.classid = 'pg_catalog.pg_class'::regclass AND c.oid = m.objid
LEFT JOIN pg_catalog.pg_namespace n ON m.classid = 'pg_catalog.pg_namespace'::regclass AND n.oid = m.objid
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(c.relacl, n.nspacl)) a
WHERE a.grantee = 0
ORDER BY 1, 2;

-- functions PUBLIC may execute (the default, unless revoked)
SELECT p.oid::regprocedure AS public_may_execute
FROM member m
JOIN pg_catalog.pg_proc p ON m.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = m.objid
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a
WHERE a.grantee = 0 AND p.prorettype <> 'trigger'::regtype
ORDER BY 1;

-- functions with their owner's rights and their caller's search path
SELECT p.oid::regprocedure AS unsafe_definer
FROM member m
JOIN pg_catalog.pg_proc p ON m.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = m.objid
WHERE p.prosecdef
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search\_path=%')
ORDER BY 1;

-- functions in SQL or PL/pgSQL whose text depends on the caller's search path;
-- those behind the source views cannot have one and still be inlined, and a
-- procedure that commits cannot either: rmsync_wait qualifies every name
SELECT p.oid::regprocedure AS unpinned
FROM member m
JOIN pg_catalog.pg_proc p ON m.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = m.objid
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
  AND p.oid <> 'rmsync_wait'::regproc	-- commits, which a setting of its own would forbid
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search\_path=%')
  AND p.proname <> 'rmsync_wait'
  AND p.oid <> ALL (ARRAY['rmsync.host_notebook()', 'rmsync.host_page()', 'rmsync.host_todo()', 'rmsync.host_highlight()']::regprocedure[])
ORDER BY 1;

-- foreign keys out of our schema would lock the host's rows
SELECT con.conname AS foreign_key
FROM pg_catalog.pg_constraint con
JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
JOIN pg_catalog.pg_class r ON r.oid = con.confrelid
WHERE con.contype = 'f' AND c.relnamespace = 'rmsync'::regnamespace
  AND r.relnamespace <> 'rmsync'::regnamespace
ORDER BY 1;

-- tables and sequences whose rows pg_dump leaves out: the log only
SELECT c.oid::regclass AS not_dumped
FROM member m
JOIN pg_catalog.pg_class c ON m.classid = 'pg_catalog.pg_class'::regclass AND c.oid = m.objid
WHERE c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition
  AND c.oid NOT IN (SELECT unnest(e.extconfig) FROM pg_catalog.pg_extension e WHERE e.extname = 'rmsync')
ORDER BY 1;
