-- Tokens that OAuth gave.

CREATE FUNCTION rmsync_oauth_store(user_id bigint, target_name text, token_response jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'rmsync_oauth_store_sql' LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION rmsync_oauth_store(bigint, text, jsonb) IS 'stores what the service answered to the application''s OAuth callback, for this connection and the user''s others with the same grant; they go on with it, and it is renewed when needed';

CREATE FUNCTION rmsync.store_grant(user_id bigint, target_name text, access text, refresh text, grant_id text, workspace_id text, same_token text[]) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lane rmsync.integration_configs := rmsync.lane_of(user_id, target_name);
	targets jsonb;
BEGIN
	-- a grant without a name is this connection's own
	grant_id := coalesce(grant_id, 'lane ' || lane.id);
	WITH changed AS (
		UPDATE rmsync.integration_configs c SET access_token_encrypted = access,
			refresh_token_encrypted = refresh, grant_id = store_grant.grant_id,
			workspace_id = store_grant.workspace_id,
			state = CASE c.state WHEN 'auth' THEN 'active' ELSE c.state END,
			state_reason = CASE c.state WHEN 'auth' THEN NULL ELSE c.state_reason END,
			state_since = CASE c.state WHEN 'auth' THEN now() ELSE c.state_since END,
			blocked_until = NULL, fail_streak = 0, service_limits = NULL,
			reconcile_wanted = c.reconcile_wanted OR c.state = 'auth',
			reconcile_after = CASE c.state WHEN 'auth' THEN pg_current_xact_id() ELSE c.reconcile_after END,
			updated_at = now()
		WHERE c.user_id = lane.user_id AND (c.id = lane.id OR c.grant_id = store_grant.grant_id
			OR c.grant_id IS NULL AND c.target_name = ANY (same_token))
		RETURNING c.target_name)
	SELECT jsonb_agg(x.target_name ORDER BY x.target_name) INTO targets FROM changed x;
	PERFORM rmsync.lanes_changed();
	PERFORM rmsync.wake();
	SELECT * INTO lane FROM rmsync.integration_configs i WHERE i.id = lane.id;
	RETURN rmsync.integration_json(lane) || jsonb_build_object('targets', targets);
END
$$;
COMMENT ON FUNCTION rmsync.store_grant(bigint, text, text, text, text, text, text[]) IS 'writes the tokens of a grant to its lanes, and to those that were connected with the same token; called by rmsync_oauth_store()';
