-- Processes: waking, watching and restarting workers.

CREATE FUNCTION rmsync.wake() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rmsync_wake';
COMMENT ON FUNCTION rmsync.wake() IS 'wakes the workers of this database when the transaction commits';

CREATE FUNCTION rmsync.worker_stats(
	OUT pid int, OUT started_at timestamptz, OUT last_turn_at timestamptz,
	OUT in_flight int, OUT lanes int, OUT requests bigint,
	OUT succeeded bigint, OUT skipped bigint, OUT retried bigint,
	OUT failed bigint, OUT folded bigint, OUT bytes_sent bigint,
	OUT bytes_received bigint, OUT errors bigint) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 4 AS 'MODULE_PATHNAME', 'rmsync_stat_worker';
COMMENT ON FUNCTION rmsync.worker_stats() IS 'one row per running worker of this database; counters since it started';

CREATE VIEW rmsync.stat_worker AS
SELECT pid, started_at, last_turn_at, in_flight, lanes, requests, succeeded,
	skipped, retried, failed, folded, bytes_sent, bytes_received, errors
FROM rmsync.worker_stats();
COMMENT ON VIEW rmsync.stat_worker IS 'running workers of this database with their counters since they started';

CREATE FUNCTION rmsync.worker_state(
	OUT preloaded bool, OUT launcher_pid int, OUT workers int,
	OUT failures int, OUT next_due timestamptz, OUT reason text)
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'rmsync_worker_state';
COMMENT ON FUNCTION rmsync.worker_state() IS 'state of the background processes; reason says why no worker runs although one should (NULL = all is well)';

CREATE FUNCTION rmsync.in_flight(OUT queue_id bigint) RETURNS SETOF bigint
LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', 'rmsync_in_flight';
COMMENT ON FUNCTION rmsync.in_flight() IS 'queue rows that workers of this database are delivering now';

CREATE FUNCTION rmsync.build_info() RETURNS text
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rmsync_build_info';
COMMENT ON FUNCTION rmsync.build_info() IS 'versions of rmsync, PostgreSQL and the HTTP library';

CREATE FUNCTION @extschema@.rmsync_worker_restart() RETURNS int
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'rmsync_worker_restart';
COMMENT ON FUNCTION @extschema@.rmsync_worker_restart() IS 'terminates the workers of this database, which are then started anew; returns how many there were';

REVOKE ALL ON FUNCTION rmsync.wake() FROM PUBLIC;
REVOKE ALL ON FUNCTION rmsync.worker_stats() FROM PUBLIC;
REVOKE ALL ON FUNCTION rmsync.worker_state() FROM PUBLIC;
REVOKE ALL ON FUNCTION rmsync.build_info() FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.rmsync_worker_restart() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rmsync.worker_stats(), rmsync.worker_state(), rmsync.build_info() TO pg_monitor;
GRANT SELECT ON rmsync.stat_worker TO pg_monitor;
