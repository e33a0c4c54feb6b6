-- Tokens that OAuth gave.  A grant is one row, which the lanes that use it refer
-- to; their own configurations hold no token then.  It goes with the last of
-- them.  Locks are taken in one order: lanes by id, then the grant.

CREATE FUNCTION rmsync_oauth_store(user_id bigint, target_name text, token_response jsonb) RETURNS jsonb
AS 'MODULE_PATHNAME', 'rmsync_oauth_store_sql' LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION rmsync_oauth_store(bigint, text, jsonb) IS 'stores what the service answered to the application''s OAuth callback, for this connection and the user''s others with the same grant; they go on with it, and it is renewed when needed';

-- The grant that tokens are stored for; those of the connections that come to
-- it are named by what named the ones they leave.
CREATE FUNCTION rmsync.write_grant(lane rmsync.integration_configs, service text, external_id text, workspace_id text, access text, refresh text, named text[], lanes bigint[]) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	id bigint;
	names text[];
BEGIN
	SELECT (array_agg(n.name ORDER BY n.rank, n.at DESC, n.ord))[:16] INTO names
	FROM (SELECT DISTINCT ON (x.name) x.* FROM (
			SELECT m.name, 1 AS rank, NULL::timestamptz AS at, m.ord FROM unnest(named) WITH ORDINALITY m (name, ord)
			UNION ALL
			SELECT m.name, 2, g.granted_at, m.ord FROM rmsync.oauth_grants g, unnest(g.named_tokens) WITH ORDINALITY m (name, ord)
			WHERE g.id IN (SELECT c.grant_id FROM rmsync.integration_configs c WHERE c.id = ANY (lanes))) x
		ORDER BY x.name, x.rank, x.at DESC, x.ord) n;
	-- a grant without a name is this connection's own
	UPDATE rmsync.oauth_grants g SET access_token_encrypted = access, refresh_token_encrypted = refresh,
		workspace_id = coalesce(write_grant.workspace_id, g.workspace_id), generation = g.generation + 1,
		named_tokens = names, granted_at = now(), ended_at = NULL
	WHERE g.user_id = lane.user_id AND g.service = write_grant.service
	  AND (g.external_id = write_grant.external_id
		OR write_grant.external_id IS NULL AND g.external_id IS NULL AND g.id = lane.grant_id)
	RETURNING g.id INTO id;
	IF id IS NULL THEN
		INSERT INTO rmsync.oauth_grants AS g (user_id, service, external_id, workspace_id, access_token_encrypted, refresh_token_encrypted, named_tokens)
		VALUES (lane.user_id, service, external_id, workspace_id, access, refresh, names)
		RETURNING g.id INTO id;
	END IF;
	RETURN id;
END
$$;
COMMENT ON FUNCTION rmsync.write_grant(rmsync.integration_configs, text, text, text, text, text, text[], bigint[]) IS 'writes the row of a grant; called by rmsync.store_grant()';

CREATE FUNCTION rmsync.store_grant(user_id bigint, target_name text, service text, external_id text, workspace_id text, access text, refresh text, named text[], joining text[], configs text[]) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	lane rmsync.integration_configs := rmsync.lane_of(user_id, target_name);
	lanes bigint[];
	written bigint;
	targets jsonb;
BEGIN
	-- those of a grant that has ended, in the same workspace, go on with this one
	SELECT array_agg(c.id) INTO lanes
	FROM rmsync.integration_configs c LEFT JOIN rmsync.oauth_grants g ON g.id = c.grant_id
	WHERE c.user_id = lane.user_id AND (c.target_name = ANY (joining) OR g.service = store_grant.service
		AND (g.external_id = store_grant.external_id OR g.id = lane.grant_id AND g.external_id IS NULL AND store_grant.external_id IS NULL
			OR g.ended_at IS NOT NULL AND g.workspace_id IS NOT DISTINCT FROM store_grant.workspace_id));
	written := rmsync.write_grant(lane, service, external_id, workspace_id, access, refresh, named, lanes);
	WITH changed AS (
		UPDATE rmsync.integration_configs c SET grant_id = written,
			config_encrypted = coalesce((SELECT j.config FROM unnest(joining, configs) j (target, config)
				WHERE j.target = c.target_name), c.config_encrypted),
			state = CASE c.state WHEN 'auth' THEN 'active' ELSE c.state END,
			state_reason = CASE c.state WHEN 'auth' THEN NULL ELSE c.state_reason END,
			state_since = CASE c.state WHEN 'auth' THEN now() ELSE c.state_since END,
			blocked_until = NULL, fail_streak = 0, service_limits = NULL,
			reconcile_wanted = c.reconcile_wanted OR c.state = 'auth',
			reconcile_after = CASE c.state WHEN 'auth' THEN pg_current_xact_id() ELSE c.reconcile_after END,
			updated_at = now()
		WHERE c.id = ANY (lanes)
		RETURNING c.target_name)
	SELECT jsonb_agg(x.target_name ORDER BY x.target_name) INTO targets FROM changed x;
	PERFORM rmsync.lanes_changed();
	PERFORM rmsync.wake();
	SELECT * INTO lane FROM rmsync.integration_configs i WHERE i.id = lane.id;
	RETURN rmsync.integration_json(lane) || jsonb_build_object('targets', targets);
END
$$;
COMMENT ON FUNCTION rmsync.store_grant(bigint, text, text, text, text, text, text, text[], text[], text[]) IS 'writes the tokens of a grant, and has its connections and those that join it use them; called by rmsync_oauth_store()';

-- Nobody needs the tokens of a grant that no lane uses.  Two lanes may leave at
-- once: the second one to get the lock sees that the first has gone.
CREATE FUNCTION rmsync.leave_grant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM FROM rmsync.oauth_grants g WHERE g.id = OLD.grant_id FOR UPDATE;
	DELETE FROM rmsync.oauth_grants g WHERE g.id = OLD.grant_id
		AND NOT EXISTS (SELECT FROM rmsync.integration_configs c WHERE c.grant_id = g.id);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION rmsync.leave_grant() IS 'a lane does not use its grant any more: with the last one the grant goes';
CREATE TRIGGER leave_grant_by_update AFTER UPDATE OF grant_id ON rmsync.integration_configs
	FOR EACH ROW WHEN (OLD.grant_id <> NEW.grant_id OR OLD.grant_id IS NOT NULL AND NEW.grant_id IS NULL)
	EXECUTE FUNCTION rmsync.leave_grant();
CREATE TRIGGER leave_grant_by_delete AFTER DELETE ON rmsync.integration_configs
	FOR EACH ROW WHEN (OLD.grant_id IS NOT NULL) EXECUTE FUNCTION rmsync.leave_grant();
