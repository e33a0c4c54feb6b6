-- The triggers' side of the intake.

CREATE FUNCTION rmsync.mark() RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'rmsync_mark';
REVOKE ALL ON FUNCTION rmsync.mark() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.mark() IS
'trigger on the host''s tables: appends to rmsync.sync_intake what a statement changed; set up by rmsync_attach()';

CREATE FUNCTION rmsync.lanes_changed() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'rmsync_lanes_changed';
REVOKE ALL ON FUNCTION rmsync.lanes_changed() FROM PUBLIC;
COMMENT ON FUNCTION rmsync.lanes_changed() IS
'wakes the worker when this transaction commits; called by whatever changes lanes or leaves work';
