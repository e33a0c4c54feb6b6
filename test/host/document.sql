-- The schema of architecture.md: the page number is a column of pages (its
-- section 3.3), to-dos name their notebook by uuid and highlights their
-- source file (section 4.2).  Names are unqualified, as in rmirror.sql.

CREATE TABLE users (
	id serial PRIMARY KEY,
	email varchar(255) NOT NULL UNIQUE,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE notebooks (
	id serial PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_uuid varchar(255) NOT NULL,
	visible_name varchar(500) NOT NULL,
	document_type varchar(20) NOT NULL DEFAULT 'notebook',
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_notebooks_user ON notebooks (user_id);
CREATE INDEX idx_notebooks_uuid ON notebooks (notebook_uuid);

CREATE TABLE pages (
	id serial PRIMARY KEY,
	notebook_id integer NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
	page_uuid varchar(255),
	page_number integer NOT NULL,
	file_hash varchar(64),
	ocr_status varchar(20) NOT NULL DEFAULT 'pending',
	ocr_text text,
	confidence_score float8,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_pages_notebook ON pages (notebook_id);

CREATE TABLE notebook_pages (
	id serial PRIMARY KEY,
	notebook_id integer NOT NULL REFERENCES notebooks (id) ON DELETE CASCADE,
	page_id integer NOT NULL REFERENCES pages (id) ON DELETE CASCADE,
	UNIQUE (notebook_id, page_id)
);
CREATE INDEX idx_notebook_pages_page ON notebook_pages (page_id);

CREATE TABLE todos (
	id serial PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_uuid varchar(255) NOT NULL,
	page_number integer,
	text text NOT NULL,
	completed boolean NOT NULL DEFAULT false,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_todos_notebook ON todos (notebook_uuid);

CREATE TABLE highlights (
	id serial PRIMARY KEY,
	user_id integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	notebook_uuid varchar(255),
	page_number integer,
	source_file varchar(255),
	original_text text NOT NULL,
	corrected_text text,
	note text,
	created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_highlights_notebook ON highlights (notebook_uuid);
