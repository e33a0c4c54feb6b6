-- Nothing is granted to PUBLIC; a role confined to one user (rmsync.user_id)
-- sees that user's rows only.

REVOKE ALL ON SCHEMA rmsync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA rmsync FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA rmsync FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA rmsync FROM PUBLIC;

-- The functions people call sit in a schema that may hold others' too.
DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'rmsync'
		WHERE p.proname LIKE 'rmsync\_%' AND p.pronamespace <> 'rmsync'::pg_catalog.regnamespace
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', f);
	END LOOP;
END
$$;

-- Monitoring
GRANT USAGE ON SCHEMA rmsync TO pg_monitor;
GRANT EXECUTE ON FUNCTION @extschema@.rmsync_health() TO pg_monitor;

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['oauth_grants', 'integration_configs', 'sync_queue', 'sync_records', 'sync_log', 'notebook_sync_settings', 'notifications',
		'webhook_secrets', 'webhook_events', 'remote_changes', 'notion_objects', 'notion_intents'] LOOP
		EXECUTE pg_catalog.format('ALTER TABLE rmsync.%I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE pg_catalog.format('CREATE POLICY own_rows ON rmsync.%I USING (user_id = nullif(pg_catalog.current_setting(''rmsync.user_id'', true), '''')::bigint)', t);
	END LOOP;
END
$$;
