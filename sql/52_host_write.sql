-- The only thing of the host's that is ever written: whether a to-do is done,
-- and only for users whose connection asks for it.

-- The body is filled in for the host's tables, as those of the source views
-- are; so nothing depends on the tables.  The row is not waited for: it is
-- written only if nobody is at it and it still says what was compared.
CREATE FUNCTION rmsync.set_writer(s name, kind text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	body text := E'BEGIN\n\t/* not attached */ RETURN \'not_attached\';\nEND';
	touched text := '';
BEGIN
	IF s IS NOT NULL THEN
		-- as the application does when somebody ticks a to-do there
		SELECT ', updated_at = ' || CASE a.atttypid WHEN 'timestamp'::regtype THEN 'now() AT TIME ZONE ''UTC''' ELSE 'now()' END
		INTO touched
		FROM pg_attribute a
		WHERE a.attrelid = to_regclass(format('%I.todos', s)) AND a.attname = 'updated_at' AND a.attnum > 0
			AND NOT a.attisdropped AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype);
		body := format($body$DECLARE
	done boolean;
BEGIN
	SELECT x.completed INTO done FROM %1$I.todos x
	WHERE x.id = $2::bigint AND %2$s
	FOR NO KEY UPDATE OF x SKIP LOCKED;
	IF NOT FOUND OR done IS DISTINCT FROM $3 THEN
		RETURN 'busy';
	END IF;
	UPDATE %1$I.todos SET completed = $4%3$s WHERE id = $2::bigint;
	RETURN 'written';
END$body$, s,
			CASE kind WHEN 'document' THEN 'x.user_id = $1'
				ELSE format('EXISTS (SELECT FROM %I.notebooks n WHERE n.id = x.notebook_id AND n.user_id = $1)', s) END,
			coalesce(touched, ''));
	END IF;
	EXECUTE format('CREATE OR REPLACE FUNCTION rmsync.host_set_completed(owner bigint, item text, was boolean, wanted boolean) RETURNS text
		LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', body);
END
$$;
COMMENT ON FUNCTION rmsync.set_writer(name, text) IS
'makes rmsync.host_set_completed() write a host''s to-dos; NULL: nothing';

-- As a member of the extension it is replaced by rmsync_attach().
SELECT rmsync.set_writer(NULL, NULL);
REVOKE ALL ON FUNCTION rmsync.host_set_completed(bigint, text, boolean, boolean) FROM PUBLIC;
COMMENT ON FUNCTION rmsync.host_set_completed(bigint, text, boolean, boolean) IS
'ticks or unticks a to-do of the host application, set by rmsync_attach(): written, busy (not now) or not_attached';
