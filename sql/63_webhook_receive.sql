-- Webhooks from a service: what changed there.  The application receives them
-- and hands over headers and body as they came.

CREATE FUNCTION rmsync_webhook_verification(user_id bigint, target_name text, token text) RETURNS void
AS 'MODULE_PATHNAME', 'rmsync_webhook_verification_sql' LANGUAGE C SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION rmsync_webhook_verification(bigint, text, text) IS 'stores the verification token that came with a webhook''s handshake; user_id NULL: one subscription for all users of the application';

CREATE FUNCTION rmsync.webhook_signed(user_id bigint, token text, signature text, body bytea) RETURNS boolean
AS 'MODULE_PATHNAME', 'rmsync_webhook_signed' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION rmsync.webhook_signed(bigint, text, text, bytea) IS 'the signature is that of the body, made with an encrypted verification token';

CREATE FUNCTION rmsync.parse_json(body bytea) RETURNS jsonb
AS 'MODULE_PATHNAME', 'rmsync_parse_json' LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION rmsync.parse_json(bytea) IS 'bytes from outside as jsonb, NULL if they are not JSON';

-- Targets of the same service share a subscription.
CREATE FUNCTION rmsync.same_service(a text, b text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT split_part(a, '-', 1) = split_part(b, '-', 1)
$$;
COMMENT ON FUNCTION rmsync.same_service(text, text) IS 'two targets are at the same service: notion and notion-todos';

-- Ids of columns are percent-encoded, and not always in the same way.
CREATE FUNCTION rmsync.url_decode(id text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(string_agg(CASE WHEN m.part[1] ~ '^%[2-7][0-9A-Fa-f]$' THEN chr(('x' || substr(m.part[1], 2))::bit(8)::int) ELSE m.part[1] END,
		'' ORDER BY m.n), '')
	FROM regexp_matches(id, '%[2-7][0-9A-Fa-f]|.', 'g') WITH ORDINALITY AS m (part, n)
$$;
COMMENT ON FUNCTION rmsync.url_decode(text) IS 'the id of a column without percent-encoding';

-- What the ledger has of an object at a service.  A page that is a part of a
-- large notebook (its metadata name them) is the notebook's.
CREATE FUNCTION rmsync.records_of(object text) RETURNS SETOF rmsync.sync_records
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT * FROM rmsync.sync_records r WHERE r.external_id = object AND r.item_type <> 'page_text'
	UNION ALL
	SELECT * FROM rmsync.sync_records r
	WHERE r.item_type = 'notebook_metadata' AND r.metadata_json ? 'parts'
	  AND r.metadata_json -> 'parts' @> jsonb_build_array(jsonb_build_object('id', object))
$$;
COMMENT ON FUNCTION rmsync.records_of(text) IS 'ledger entries of an object at a service, or of the notebook that it is a part of';

-- Is there anything to be done about an event?  Nothing is, if all its authors
-- are ourselves, as far as the ledger knows who we are, and if it is about what
-- belongs to the reader: the texts between ours, columns of his own.  Columns
-- of ours are put right at once only if a person has changed them: an answer
-- to what we have written ourselves could go on for ever.  A part of a notebook
-- has none.
CREATE FUNCTION rmsync.is_news(c rmsync.integration_configs, r rmsync.sync_records, event jsonb) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN jsonb_typeof(event -> 'authors') = 'array' AND NOT EXISTS (
			SELECT FROM jsonb_array_elements(event -> 'authors') a
			WHERE lower(a ->> 'id') IS DISTINCT FROM lower(coalesce(r.metadata_json ->> 'bot', (SELECT g.external_id FROM rmsync.oauth_grants g WHERE g.id = c.grant_id))))
			AND event -> 'authors' <> '[]' THEN false
		WHEN event ->> 'type' = 'page.content_updated' THEN c.two_way AND r.item_type = 'notebook_metadata'
		WHEN event ->> 'type' <> 'page.properties_updated' THEN true
		WHEN r.item_type = 'todo' THEN c.two_way
		ELSE r.item_type = 'notebook_metadata' AND r.external_id = lower(event #>> '{entity,id}')
			AND event @> '{"authors": [{"type": "person"}]}'
			AND EXISTS (SELECT FROM jsonb_array_elements_text(CASE jsonb_typeof(event #> '{data,updated_properties}') WHEN 'array' THEN event #> '{data,updated_properties}' ELSE '[]' END) p,
				jsonb_each_text(CASE jsonb_typeof(c.remote -> 'columns') WHEN 'object' THEN c.remote -> 'columns' ELSE '{}' END) k
				WHERE rmsync.url_decode(p) = rmsync.url_decode(k.value))
		END
$$;
COMMENT ON FUNCTION rmsync.is_news(rmsync.integration_configs, rmsync.sync_records, jsonb) IS 'a webhook event about an object of ours calls for something';

-- What is known of an event's object is marked; how many lanes know it, and how
-- many of them have something to do.  An event says that something changed, not
-- what: it is always read anew.
CREATE FUNCTION rmsync.mark_remote(owner bigint, target text, event jsonb, OUT known int, OUT marked int)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	change text := event ->> 'type';
	entity text := lower(event #>> '{entity,id}');
BEGIN
	IF change LIKE 'data\_source.%' OR change LIKE 'database.%' THEN
		WITH lanes AS (
			SELECT c.id, c.user_id, c.target_name, rmsync.is_news(c, r, event) AS news
			FROM rmsync.integration_configs c
			-- any object that we have made tells who we are
			LEFT JOIN LATERAL (SELECT * FROM rmsync.sync_records s
				WHERE s.lane_id = c.id AND s.metadata_json ? 'bot' LIMIT 1) r ON true
			WHERE (owner = 0 OR c.user_id = owner) AND rmsync.same_service(c.target_name, target)
			  AND jsonb_typeof(c.remote) = 'object'
			  AND entity IN (lower(c.remote ->> 'data_source_id'), lower(c.remote ->> 'database_id'))
		), stale AS (
			-- the target keeps what it knows of the columns but looks at them again
			UPDATE rmsync.integration_configs c SET remote = c.remote || '{"stale": true}'
			FROM lanes l WHERE l.id = c.id AND l.news
		), ins AS (
			INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind)
			SELECT l.user_id, l.target_name, entity, change FROM lanes l WHERE l.news
			ON CONFLICT ON CONSTRAINT remote_changes_pkey DO UPDATE SET at = excluded.at
			RETURNING 1
		)
		SELECT (SELECT count(*) FROM lanes), (SELECT count(*) FROM ins) INTO known, marked;
	ELSE
		WITH lanes AS (
			SELECT r.user_id, r.target_name, bool_or(rmsync.is_news(c, r, event)) AS news
			FROM rmsync.records_of(entity) r JOIN rmsync.integration_configs c ON c.id = r.lane_id
			WHERE (owner = 0 OR r.user_id = owner) AND rmsync.same_service(r.target_name, target)
			GROUP BY r.user_id, r.target_name
		), ins AS (
			INSERT INTO rmsync.remote_changes (user_id, target_name, external_id, kind)
			SELECT l.user_id, l.target_name, entity, change FROM lanes l WHERE l.news
			ON CONFLICT ON CONSTRAINT remote_changes_pkey DO UPDATE SET at = excluded.at
			RETURNING 1
		)
		SELECT (SELECT count(*) FROM lanes), (SELECT count(*) FROM ins) INTO known, marked;
	END IF;
END
$$;
COMMENT ON FUNCTION rmsync.mark_remote(bigint, text, jsonb) IS 'marks what a webhook event is about, where a lane knows it and has something to do';

CREATE FUNCTION rmsync_webhook_receive(target text, headers jsonb, body bytea) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	u bigint := rmsync.effective_user(NULL);
	event jsonb := rmsync.parse_json(body);
	signature text;
	owner bigint;
	secret_of text;
	m record;
BEGIN
	IF target IS NULL OR headers IS NULL OR body IS NULL OR jsonb_typeof(headers) <> 'object' THEN
		RAISE EXCEPTION 'rmsync_webhook_receive() takes a target, an object of headers and a body'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF event IS NULL OR jsonb_typeof(event) <> 'object' THEN
		RETURN jsonb_build_object('accepted', false, 'reason', 'not_json');
	END IF;
	IF jsonb_typeof(event -> 'verification_token') = 'string' AND NOT event ? 'type' THEN
		-- not signed by anything we know: somebody must look at it and decide
		RETURN jsonb_build_object('accepted', true, 'reason', 'handshake',
			'verification_token', event ->> 'verification_token');
	END IF;

	SELECT h.value INTO signature FROM jsonb_each_text(headers) h WHERE lower(h.key) = 'x-notion-signature' LIMIT 1;
	IF signature IS NULL THEN
		RETURN jsonb_build_object('accepted', false, 'reason', 'not_signed');
	END IF;
	-- the subscription named is believed as a hint only
	SELECT s.user_id, s.target_name INTO owner, secret_of
	FROM (SELECT * FROM rmsync.webhook_secrets w
		WHERE rmsync.same_service(w.target_name, target) AND (u IS NULL OR w.user_id = u)
		  AND coalesce(w.subscription_id = event ->> 'subscription_id', true)
		ORDER BY w.subscription_id NULLS LAST, w.created_at DESC LIMIT 1000) s
	WHERE rmsync.webhook_signed(s.user_id, s.token_encrypted, signature, body) LIMIT 1;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('accepted', false, 'reason', 'bad_signature');
	END IF;
	UPDATE rmsync.webhook_secrets w SET subscription_id = event ->> 'subscription_id'
	WHERE w.user_id = owner AND w.target_name = secret_of AND w.subscription_id IS NULL AND event ->> 'subscription_id' IS NOT NULL;

	IF event ->> 'id' IS NULL OR event ->> 'type' IS NULL THEN
		RETURN jsonb_build_object('accepted', false, 'reason', 'not_an_event');
	END IF;
	INSERT INTO rmsync.webhook_events (user_id, target_name, event_id) VALUES (owner, secret_of, event ->> 'id')
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('accepted', true, 'reason', 'duplicate');
	END IF;
	IF event ->> 'type' NOT IN ('page.properties_updated', 'page.content_updated', 'page.deleted', 'page.undeleted',
		'page.moved', 'data_source.schema_updated', 'data_source.deleted', 'data_source.undeleted', 'data_source.moved',
		'database.schema_updated', 'database.deleted', 'database.undeleted', 'database.moved')
	THEN
		RETURN jsonb_build_object('accepted', false, 'reason', 'unknown_event');
	END IF;
	SELECT * INTO m FROM rmsync.mark_remote(owner, target, event);
	IF m.known = 0 THEN
		RETURN jsonb_build_object('accepted', false, 'reason', 'unknown_object');
	ELSIF m.marked = 0 THEN
		RETURN jsonb_build_object('accepted', true, 'reason', 'nothing_to_do');
	END IF;
	PERFORM rmsync.wake();
	RETURN jsonb_build_object('accepted', true, 'reason', 'marked');
END
$$;
COMMENT ON FUNCTION rmsync_webhook_receive(text, jsonb, bytea) IS 'takes a webhook delivery of a service, headers and raw body; checks its signature and marks what is to be looked at; the HTTP answer is 200 whatever it returns';

-- Events are delivered for a day; marks nobody looked at are no longer news.
CREATE FUNCTION rmsync.trim_webhooks() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM rmsync.webhook_events e WHERE e.received_at < now() - interval '7 days';
	DELETE FROM rmsync.remote_changes c WHERE c.at < now() - interval '7 days';
$$;
COMMENT ON FUNCTION rmsync.trim_webhooks() IS 'removes webhook events and marks older than a week';
