# rmsync: built with PGXS against PostgreSQL 15 to 18.
#
#   make && sudo make install      build and install
#   make demo                      see it work, on a throw-away server
#   make test                      every test, on throw-away servers

EXTENSION   = rmsync
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" rmsync.control)
MODULE_big  = rmsync
OBJS = \
	src/api.o \
	src/api_adopt.o \
	src/api_credentials.o \
	src/api_fingerprint.o \
	src/api_grant.o \
	src/api_markdown.o \
	src/api_notion.o \
	src/api_oauth.o \
	src/api_preview.o \
	src/api_probe.o \
	src/api_process.o \
	src/api_sync.o \
	src/api_webhook.o \
	src/credentials.o \
	src/dbhook.o \
	src/engine.o \
	src/engine_job.o \
	src/engine_limit.o \
	src/engine_load.o \
	src/engine_oauth.o \
	src/engine_probe.o \
	src/engine_record.o \
	src/engine_suspect.o \
	src/engine_trouble.o \
	src/engine_work.o \
	src/fernet.o \
	src/fingerprint.o \
	src/guc.o \
	src/http.o \
	src/http_message.o \
	src/http_policy.o \
	src/http_sockets.o \
	src/http_transfer.o \
	src/intake.o \
	src/intake_spec.o \
	src/item.o \
	src/json.o \
	src/lane.o \
	src/launcher.o \
	src/lookup.o \
	src/markdown.o \
	src/markdown_build.o \
	src/markdown_entity.o \
	src/markdown_link.o \
	src/markdown_source.o \
	src/netguard.o \
	src/notion_adopt.o \
	src/notion_align.o \
	src/notion_api.o \
	src/notion_blocks.o \
	src/notion_compact.o \
	src/notion_compose.o \
	src/notion_config.o \
	src/notion_copies.o \
	src/notion_create.o \
	src/notion_discover.o \
	src/notion_done.o \
	src/notion_edit.o \
	src/notion_edit_plan.o \
	src/notion_edit_worth.o \
	src/notion_find.o \
	src/notion_imagine.o \
	src/notion_late.o \
	src/notion_late_look.o \
	src/notion_ledger.o \
	src/notion_link.o \
	src/notion_lost.o \
	src/notion_match.o \
	src/notion_note.o \
	src/notion_notebook.o \
	src/notion_oauth.o \
	src/notion_order.o \
	src/notion_pack.o \
	src/notion_page.o \
	src/notion_part.o \
	src/notion_part_page.o \
	src/notion_plan.o \
	src/notion_poll.o \
	src/notion_poll_part.o \
	src/notion_print.o \
	src/notion_probe.o \
	src/notion_properties.o \
	src/notion_resolve.o \
	src/notion_row.o \
	src/notion_search.o \
	src/notion_slot.o \
	src/notion_text.o \
	src/notion_title.o \
	src/notion_todo.o \
	src/notion_write.o \
	src/ratelearn.o \
	src/ratelimit.o \
	src/recorder.o \
	src/retry.o \
	src/rmsync.o \
	src/secret_file.o \
	src/shmem.o \
	src/shmem_limit.o \
	src/shmem_worker.o \
	src/store_config.o \
	src/store_item.o \
	src/store_oauth.o \
	src/store_outcome.o \
	src/store_probe.o \
	src/store_queue.o \
	src/store_record.o \
	src/target.o \
	src/target_notion.o \
	src/target_notion_todos.o \
	src/target_util.o \
	src/target_webhook.o \
	src/txn.o \
	src/webhook_config.o \
	src/webhook_ping.o \
	src/worker.o

SQL_PARTS  := $(sort $(wildcard sql/[0-9][0-9]_*.sql))
DATA_built  = rmsync--$(EXTVERSION).sql
DATA        = $(wildcard sql/rmsync--*--*.sql)
PG_CPPFLAGS = -I$(srcdir)/src $(shell curl-config --cflags) -DRMSYNC_VERSION='"$(EXTVERSION)"'
SHLIB_LINK  = $(shell curl-config --libs) -lmd4c

INSTANCE       = --temp-config=test/regress.conf
REGRESS        = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS   = --inputdir=test --temp-instance=tmp_regress $(INSTANCE) --load-extension=pgcrypto --load-extension=rmsync
ISOLATION      = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --temp-instance=tmp_isolation $(INSTANCE) --load-extension=pgcrypto --load-extension=rmsync
TAP_TESTS      = 1
PROVE_TESTS   ?= test/t/*.pl
EXTRA_CLEAN    = tmp_regress tmp_isolation tmp_stage

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Must follow the include: Makefile.global resets it.
PROVE_FLAGS += -I $(srcdir)/test/perl

rmsync--$(EXTVERSION).sql: $(SQL_PARTS) rmsync.control
	cat $(SQL_PARTS) > $@

# PGXS as Debian ships it tracks no headers.
$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

.PHONY: test demo lint
test:
	test/run
demo:
	test/demo
lint:
	test/lint
