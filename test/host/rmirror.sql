-- The host application's schema as its own migrations leave it (head
-- b7c8d9e0f1a2): the tables rmsync reads, and the three of its own sync that
-- carry the same names as ours.  Names are unqualified: the tables go to the
-- first schema of search_path.  pg_trgm must be there.

CREATE TABLE users (
	id serial CONSTRAINT users_pkey PRIMARY KEY,
	email varchar(255) NOT NULL,
	hashed_password varchar(255),
	full_name varchar(255),
	subscription_tier varchar(20) NOT NULL,
	subscription_expires_at timestamp,
	api_key_hash varchar(255),
	is_active boolean NOT NULL,
	is_verified boolean NOT NULL,
	created_at timestamp NOT NULL,
	updated_at timestamp NOT NULL,
	last_login_at timestamp,
	clerk_user_id varchar(255),
	onboarding_state varchar(30) NOT NULL DEFAULT 'signed_up',
	onboarding_started_at timestamp,
	onboarding_completed_at timestamp,
	agent_downloaded_at timestamp,
	agent_first_connected_at timestamp,
	first_notebook_synced_at timestamp,
	first_ocr_completed_at timestamp,
	notion_connected_at timestamp,
	onboarding_dismissed boolean NOT NULL DEFAULT false,
	drip_emails_sent varchar(255) NOT NULL DEFAULT '',
	tos_accepted_at timestamp,
	tos_version varchar(20),
	privacy_accepted_at timestamp,
	privacy_version varchar(20),
	is_beta_user boolean NOT NULL DEFAULT false,
	beta_enrolled_at timestamp
);
CREATE UNIQUE INDEX ix_users_email ON users (email);
CREATE UNIQUE INDEX ix_users_clerk_user_id ON users (clerk_user_id);
CREATE INDEX ix_users_api_key_hash ON users (api_key_hash);
CREATE INDEX ix_users_id ON users (id);

CREATE TABLE notebooks (
	id serial CONSTRAINT notebooks_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_uuid varchar(255) NOT NULL,
	visible_name varchar(500) NOT NULL,
	document_type varchar(20) NOT NULL,
	title varchar(500),
	author varchar(255),
	s3_key varchar(500),
	file_hash varchar(64),
	file_size integer,
	metadata_json text,
	created_at timestamp NOT NULL,
	updated_at timestamp NOT NULL,
	last_synced_at timestamp,
	parent_uuid varchar(255),
	full_path varchar(2000),
	notebook_pdf_s3_key varchar(500),
	publisher varchar(255),
	publication_date varchar(50),
	pinned boolean NOT NULL DEFAULT false,
	deleted boolean NOT NULL DEFAULT false,
	version integer,
	last_opened timestamp,
	last_opened_page integer,
	content_json text,
	obsidian_content_hash varchar(64)
);
CREATE INDEX ix_notebooks_id ON notebooks (id);
CREATE INDEX ix_notebooks_user_id ON notebooks (user_id);
CREATE INDEX ix_notebooks_notebook_uuid ON notebooks (notebook_uuid);
CREATE INDEX ix_notebooks_parent_uuid ON notebooks (parent_uuid);
CREATE INDEX idx_notebooks_user_deleted_updated ON notebooks (user_id, updated_at DESC) WHERE deleted = false;
CREATE INDEX idx_notebooks_visible_name_trgm ON notebooks USING gin (visible_name gin_trgm_ops);

CREATE TABLE pages (
	id serial CONSTRAINT pages_pkey PRIMARY KEY,
	notebook_id integer NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
	page_uuid varchar(255),
	s3_key varchar(500),
	file_hash varchar(64),
	ocr_status varchar(20) NOT NULL,
	ocr_text text,
	ocr_error text,
	created_at timestamp NOT NULL,
	updated_at timestamp NOT NULL,
	ocr_completed_at timestamp,
	pdf_s3_key varchar(500)
);
CREATE INDEX ix_pages_id ON pages (id);
CREATE INDEX ix_pages_notebook_id ON pages (notebook_id);
CREATE INDEX ix_pages_file_hash ON pages (file_hash);
CREATE INDEX ix_pages_ocr_status ON pages (ocr_status);
CREATE INDEX idx_pages_ocr_text_trgm ON pages USING gin (ocr_text gin_trgm_ops);

CREATE TABLE notebook_pages (
	id serial CONSTRAINT notebook_pages_pkey PRIMARY KEY,
	notebook_id integer NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
	page_id integer NOT NULL REFERENCES pages (id) ON DELETE CASCADE,
	page_number integer NOT NULL,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	CONSTRAINT uq_notebook_page UNIQUE (notebook_id, page_id),
	CONSTRAINT uq_notebook_page_number UNIQUE (notebook_id, page_number)
);
CREATE INDEX ix_notebook_pages_id ON notebook_pages (id);
CREATE INDEX ix_notebook_pages_notebook_id ON notebook_pages (notebook_id);
CREATE INDEX ix_notebook_pages_page_id ON notebook_pages (page_id);

CREATE TABLE todos (
	id serial CONSTRAINT todos_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_id integer NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
	page_id integer REFERENCES pages (id) ON DELETE SET NULL,
	page_number integer,
	page_uuid varchar(36),
	title varchar(200) NOT NULL,
	text text NOT NULL,
	completed boolean NOT NULL,
	source_file varchar(255),
	confidence float8,
	date_extracted timestamp,
	bounding_box text,
	created_at timestamp NOT NULL,
	updated_at timestamp NOT NULL,
	content_hash varchar(64),
	fuzzy_signature varchar(100)
);
CREATE UNIQUE INDEX idx_todos_fuzzy ON todos (fuzzy_signature, notebook_id, user_id);
CREATE INDEX ix_todos_id ON todos (id);
CREATE INDEX ix_todos_user_id ON todos (user_id);
CREATE INDEX ix_todos_notebook_id ON todos (notebook_id);
CREATE INDEX ix_todos_page_uuid ON todos (page_uuid);

CREATE TABLE highlights (
	id serial CONSTRAINT highlights_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_id integer NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
	page_id integer REFERENCES pages (id) ON DELETE SET NULL,
	page_number integer,
	original_text text NOT NULL,
	corrected_text text,
	note text,
	source_type varchar(20) NOT NULL,
	extraction_method varchar(50),
	confidence_score float8,
	match_score float8,
	position_data text,
	content_hash varchar(64),
	created_at timestamp NOT NULL,
	updated_at timestamp NOT NULL,
	highlighted_at timestamp
);
CREATE INDEX ix_highlights_id ON highlights (id);
CREATE INDEX ix_highlights_user_id ON highlights (user_id);
CREATE INDEX ix_highlights_notebook_id ON highlights (notebook_id);
CREATE INDEX ix_highlights_content_hash ON highlights (content_hash);

CREATE TABLE deleted_notebooks (
	id serial CONSTRAINT deleted_notebooks_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_uuid varchar(255) NOT NULL,
	visible_name varchar(500) NOT NULL,
	deleted_at timestamp NOT NULL,
	CONSTRAINT uq_deleted_notebook_user_uuid UNIQUE (user_id, notebook_uuid)
);

CREATE TABLE quota_usage (
	id serial CONSTRAINT quota_usage_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	quota_type varchar(20) NOT NULL DEFAULT 'ocr',
	"limit" integer NOT NULL DEFAULT 30,
	used integer NOT NULL DEFAULT 0,
	reset_at timestamp NOT NULL,
	period_start timestamp NOT NULL DEFAULT now(),
	created_at timestamp NOT NULL DEFAULT now(),
	updated_at timestamp NOT NULL DEFAULT now(),
	CONSTRAINT uq_user_quota_type UNIQUE (user_id, quota_type)
);

-- The host's own sync: live tables with live workers on them.
CREATE TABLE integration_configs (
	id serial CONSTRAINT integration_configs_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	target_name varchar(50) NOT NULL,
	is_enabled boolean NOT NULL DEFAULT true,
	config_encrypted text NOT NULL,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	last_synced_at timestamp,
	api_key_hash varchar(64)
);
CREATE UNIQUE INDEX idx_integration_user_target ON integration_configs (user_id, target_name);
CREATE INDEX ix_integration_configs_user_id ON integration_configs (user_id);
CREATE INDEX ix_integration_configs_target_name ON integration_configs (target_name);
CREATE INDEX ix_integration_configs_api_key_hash ON integration_configs (api_key_hash);

CREATE TABLE sync_records (
	id serial CONSTRAINT sync_records_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	content_hash varchar(64) NOT NULL,
	target_name varchar(50) NOT NULL,
	external_id varchar(500) NOT NULL,
	item_type varchar(50) NOT NULL,
	item_id varchar(500),
	status varchar(20) NOT NULL,
	error_message text,
	retry_count integer NOT NULL DEFAULT 0,
	metadata_json text,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	synced_at timestamp,
	page_uuid varchar(255),
	notebook_uuid varchar(255),
	page_number integer
);
CREATE INDEX idx_sync_content_target ON sync_records (content_hash, target_name, user_id);
CREATE INDEX idx_sync_content_target_item ON sync_records (content_hash, target_name, item_id);
CREATE INDEX idx_sync_notebook_page ON sync_records (notebook_uuid, page_number);
CREATE INDEX ix_sync_records_content_hash ON sync_records (content_hash);
CREATE INDEX ix_sync_records_item_id ON sync_records (item_id);
CREATE INDEX ix_sync_records_status ON sync_records (status);
CREATE INDEX ix_sync_records_target_name ON sync_records (target_name);
CREATE INDEX ix_sync_records_user_id ON sync_records (user_id);

CREATE TABLE sync_queue (
	id serial CONSTRAINT sync_queue_pkey PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	item_type varchar(50) NOT NULL,
	item_id varchar(255) NOT NULL,
	content_hash varchar(64) NOT NULL,
	page_uuid varchar(255),
	notebook_uuid varchar(255),
	page_number integer,
	target_name varchar(50) NOT NULL,
	status varchar(20) NOT NULL DEFAULT 'pending',
	priority integer NOT NULL DEFAULT 5,
	retry_count integer NOT NULL DEFAULT 0,
	error_message text,
	metadata_json text,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	scheduled_at timestamp,
	started_at timestamp,
	completed_at timestamp
);
CREATE INDEX idx_queue_user ON sync_queue (user_id);
CREATE INDEX idx_queue_status ON sync_queue (status);
CREATE INDEX idx_queue_target ON sync_queue (target_name);
CREATE INDEX idx_queue_scheduled ON sync_queue (scheduled_at);
CREATE INDEX idx_queue_priority_status ON sync_queue (priority, status, scheduled_at);
CREATE INDEX idx_queue_dedup ON sync_queue (content_hash, target_name, user_id, status);
