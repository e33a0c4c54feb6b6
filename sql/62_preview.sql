-- Dry run: the plan of a delivery, nothing sent.

CREATE FUNCTION rmsync.preview_requests(lane bigint, types text[], items text[], notebooks text[],
	OUT step int, OUT method text, OUT url text, OUT body jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'rmsync_preview_sql' LANGUAGE C STRICT;
COMMENT ON FUNCTION rmsync.preview_requests(bigint, text[], text[], text[]) IS 'requests that delivering these items would take';

CREATE FUNCTION rmsync_preview(target_name text, user_id bigint DEFAULT NULL, notebook_uuid text DEFAULT NULL, max_items int DEFAULT 100)
RETURNS TABLE (connection_user bigint, step int, method text, url text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(rmsync_preview.user_id);
	c rmsync.integration_configs;
	types text[];
	items text[];
	notebooks text[];
BEGIN
	FOR c IN SELECT * FROM rmsync.integration_configs i
		WHERE i.target_name = rmsync_preview.target_name AND (u IS NULL OR i.user_id = u) ORDER BY i.user_id
	LOOP
		SELECT array_agg(w.t ORDER BY w.n, w.t, w.i), array_agg(w.i ORDER BY w.n, w.t, w.i), array_agg(w.n ORDER BY w.n, w.t, w.i)
		INTO types, items, notebooks
		FROM (SELECT x.* FROM (
				SELECT 'notebook_metadata' AS t, s.item_id AS i, s.item_id AS n
				FROM rmsync.source_notebook s
				WHERE s.user_id = c.user_id AND s.live AND c.item_types & 1 <> 0
				UNION ALL
				SELECT d.item_type, d.item_id, s.item_id
				FROM (SELECT b.item_id FROM rmsync.source_notebook b WHERE b.user_id = c.user_id AND b.live
					  UNION
					  SELECT r.notebook_uuid FROM rmsync.sync_records r WHERE r.lane_id = c.id AND r.notebook_uuid IS NOT NULL) s
				CROSS JOIN LATERAL rmsync.notebook_difference(c.id, c.user_id, c.item_types, c.config_epoch, s.item_id) d) x
			WHERE rmsync_preview.notebook_uuid IS NULL OR x.n = rmsync_preview.notebook_uuid
			ORDER BY x.n, x.t, x.i LIMIT max_items) w;
		IF items IS NOT NULL THEN
			RETURN QUERY SELECT c.user_id, p.step, p.method, p.url, p.body
				FROM rmsync.preview_requests(c.id, types, items, notebooks) p;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION rmsync_preview(text, bigint, text, int) IS 'the requests a delivery would send now, without sending any';
