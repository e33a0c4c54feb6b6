-- Upkeep: instance check, log partitions.
--
-- The identity is written by rmsync_attach(), not here: a restore creates the
-- extension first and must find room for the row of the dump.

-- A copy of the database must not send to real users' accounts.
CREATE FUNCTION rmsync.instance_matches() RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce((SELECT i.system_identifier = c.system_identifier
			AND i.database_oid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
			AND i.instance = coalesce(current_setting('rmsync.instance', true), '')
		FROM rmsync.instance i, pg_control_system() c), false)
$$;
COMMENT ON FUNCTION rmsync.instance_matches() IS 'this server is the one the lanes were made on';

CREATE FUNCTION rmsync_adopt_instance() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	INSERT INTO rmsync.instance AS i (system_identifier, database_oid, instance)
	SELECT c.system_identifier, d.oid, coalesce(current_setting('rmsync.instance', true), '')
	FROM pg_control_system() c, pg_database d WHERE d.datname = current_database()
	ON CONFLICT (only_row) DO UPDATE SET system_identifier = excluded.system_identifier,
		database_oid = excluded.database_oid, instance = excluded.instance;
	UPDATE rmsync.integration_configs SET reconcile_wanted = true;
	SELECT rmsync.wake();
$$;
COMMENT ON FUNCTION rmsync_adopt_instance() IS 'lets a restored or copied database send: say so only if the original no longer does';

-- Partitions of today and the next two days; older ones than the retention
-- go.  They become members of the extension, so that DROP EXTENSION and dumps
-- treat them like their parent.
CREATE FUNCTION rmsync.log_partitions(retention_days int) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	day date;
	part text;
	old regclass;
BEGIN
	FOR day IN SELECT (now() AT TIME ZONE 'UTC')::date + i FROM generate_series(0, 2) AS i LOOP
		part := 'sync_log_' || to_char(day, 'YYYYMMDD');
		IF to_regclass('rmsync.' || part) IS NULL
			AND NOT EXISTS (SELECT FROM rmsync.sync_log_default d
							WHERE d.at >= day::timestamp AT TIME ZONE 'UTC'
							  AND d.at < (day + 1)::timestamp AT TIME ZONE 'UTC')
		THEN
			EXECUTE format('CREATE TABLE rmsync.%I PARTITION OF rmsync.sync_log FOR VALUES FROM (%L) TO (%L)',
				part, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
			EXECUTE format('ALTER EXTENSION rmsync ADD TABLE rmsync.%I', part);
		END IF;
	END LOOP;
	FOR old IN SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'rmsync.sync_log'::regclass AND c.relname ~ '^sync_log_[0-9]{8}$'
		  AND to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date - retention_days
	LOOP
		EXECUTE format('ALTER EXTENSION rmsync DROP TABLE %s', old);
		EXECUTE format('DROP TABLE %s', old);
	END LOOP;
	DELETE FROM rmsync.sync_log_default WHERE at < now() - retention_days * interval '1 day';
END
$$;
COMMENT ON FUNCTION rmsync.log_partitions(int) IS 'makes the log''s partitions of the next days and drops old ones';

-- Work of a connection that has not been reachable for too long is given up,
-- with one notification.  rmsync_retry() and rmsync_trigger() take it up again.
CREATE FUNCTION rmsync.give_up(max_age_s int) RETURNS int
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH old AS (
		UPDATE rmsync.sync_queue q SET status = 'failed', error_code = 'max_age',
			error_message = 'the service could not be reached for too long', updated_at = now()
		FROM rmsync.integration_configs c
		WHERE c.id = q.lane_id AND c.fail_streak > 0 AND q.status = 'pending' AND q.item_type <> 'remote_poll'
		  AND q.created_at < now() - max_age_s * interval '1 second'
		  AND NOT EXISTS (SELECT FROM rmsync.sync_records r WHERE r.user_id = q.user_id AND r.target_name = q.target_name
			AND r.item_type = q.item_type AND r.item_id = q.item_id AND r.intent IS NOT NULL)
		RETURNING q.user_id, q.target_name, q.lane_id
	), told AS (
		INSERT INTO rmsync.notifications (user_id, target_name, kind, message)
		SELECT o.user_id, o.target_name, 'retries_exhausted',
			format('%s items could not be delivered to %s: the service could not be reached for too long.', count(*), o.target_name)
		FROM old o GROUP BY o.user_id, o.target_name
	)
	SELECT count(*)::int FROM old
$$;
COMMENT ON FUNCTION rmsync.give_up(int) IS 'marks as failed what an unreachable connection could not deliver for too long';

-- Quarantines a row.  Where all rows of a notebook travel together and one of
-- them is quarantined already, it is the notebook: the others would bring the
-- server down one by one.
CREATE FUNCTION rmsync.quarantine(culprit rmsync.sync_queue) RETURNS int
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	WITH bad AS (
		UPDATE rmsync.sync_queue q SET status = 'failed', run_at = NULL, error_code = 'quarantined',
			error_message = 'The worker process crashed while working on this item. It is not tried again before rmsync_retry() is called.',
			updated_at = now()
		WHERE q.id = culprit.id
		   OR q.lane_id = culprit.lane_id AND q.notebook_uuid = culprit.notebook_uuid AND q.status = 'pending'
			  AND EXISTS (SELECT FROM rmsync.integration_configs c WHERE c.id = q.lane_id AND c.granularity = 'n')
			  AND EXISTS (SELECT FROM rmsync.sync_queue o WHERE o.lane_id = culprit.lane_id
				AND o.notebook_uuid = culprit.notebook_uuid AND o.id <> culprit.id
				AND o.status = 'failed' AND o.error_code = 'quarantined')
		RETURNING q.*
	), told AS (
		INSERT INTO rmsync.notifications (user_id, target_name, kind, message, item_type, item_id)
		SELECT b.user_id, b.target_name, 'quarantined',
			format('An item was set aside because delivering it to %s crashed the worker process: %s %s. rmsync_retry(%s) tries it again.',
				b.target_name, b.item_type, b.item_id, b.id),
			b.item_type, b.item_id
		FROM bad b
	), logged AS (
		INSERT INTO rmsync.sync_log (user_id, target_name, item_type, item_id, status, error_code, message, attempt)
		SELECT b.user_id, b.target_name, b.item_type, b.item_id, 'failed', b.error_code, b.error_message, b.attempt
		FROM bad b
	)
	SELECT count(*)::int FROM bad
$$;
COMMENT ON FUNCTION rmsync.quarantine(rmsync.sync_queue) IS 'sets a queue row aside that crashes workers; rmsync_retry() takes it up again';

-- A worker crashed while it worked on these rows.  Rows of several jobs are
-- suspects: their jobs run alone from now on.  If it was one job, its rows run
-- alone each.  A row that was alone has done it, and twice is enough.
CREATE FUNCTION rmsync.blame_crash(ids bigint[], one_job boolean) RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	certain boolean := one_job AND cardinality(ids) = 1;
	culprit rmsync.sync_queue;
BEGIN
	UPDATE rmsync.sync_queue q SET
		suspect = CASE WHEN one_job THEN 2 ELSE greatest(q.suspect, 1) END,
		crash_count = q.crash_count + certain::int,
		updated_at = now()
	WHERE q.id = ANY (ids) AND q.status = 'pending';
	SELECT * INTO culprit FROM rmsync.sync_queue q
	WHERE certain AND q.id = ids[1] AND q.status = 'pending' AND q.crash_count >= 2;
	IF NOT FOUND THEN
		RETURN 0;
	END IF;
	RETURN rmsync.quarantine(culprit);
END
$$;
COMMENT ON FUNCTION rmsync.blame_crash(bigint[], boolean) IS 'notes that a worker crashed while it worked on these queue rows; returns how many were quarantined';
