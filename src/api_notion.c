/*-------------------------------------------------------------------------
 *
 * api_notion.c
 *	  rmsync_notion_refresh() and rmsync_notion_create_database().
 *
 * Procedures like that of api_probe.c.  The first one stores what a token can
 * see; the functions rmsync_notion_databases() and rmsync_notion_pages() read
 * that.  The second one makes a database, once: see make_database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "api_grant.h"
#include "api_probe.h"
#include "credentials.h"
#include "guc.h"
#include "json.h"
#include "notion_probe.h"
#include "store.h"
#include "target_notion.h"
#include "txn.h"

PG_FUNCTION_INFO_V1(rmsync_notion_refresh_sql);
PG_FUNCTION_INFO_V1(rmsync_notion_create_sql);

#define MAX_TITLE 200 /* characters */

/* A database that is not there is looked for once more after this time. */
#define LOOK_AGAIN_MS 5000

/*
 * How long a database may still come into being: Notion gives a request up
 * after 60 s.  Counted from the intent, a limit may have been waited for before
 * the request was sent; counted from the lost answer, it was.
 */
#define OPEN_SENDING_MS 150000
#define OPEN_LOST_MS 75000

/* ---- rmsync_notion_refresh ---- */

static void
refresh(RmsyncAsk *ask, void *arg)
{
	RmsyncNotionSearch found;
	RmsyncProbe probe;
	int64 lane_id;
	char *counts;

	rmsync_txn_begin("rmsync: looking up a connection");
	lane_id = rmsync_store_notion_lane(*(int64 *) arg, "notion");
	rmsync_ask_instance();
	rmsync_txn_end(false);
	if (!rmsync_ask_open(ask, lane_id))
		return;

	rmsync_engine_probe_begin(ask->lane, &probe, ask->cxt);
	rmsync_notion_search(&probe, &found);
	if (rmsync_ask_run(ask, &probe))
	{
		rmsync_txn_begin("rmsync: storing what Notion shows");
		counts = rmsync_store_notion_objects(ask->cxt, ask->lane->info.user_id,
											 found.objects.data);
		rmsync_txn_end(true);
		probe.message =
			found.complete
				? "This is what the connection can see."
				: "The connection can see more than this: the latest are here.";
		rmsync_json_field_raw(&probe.facts, "found", counts);
		rmsync_json_field_bool(&probe.facts, "complete", found.complete);
	}
	rmsync_ask_conclude(ask, &probe);
}

/* rmsync_notion_refresh(user_id bigint, INOUT result jsonb) */
Datum
rmsync_notion_refresh_sql(PG_FUNCTION_ARGS)
{
	int64 user_id = rmsync_ask_user(fcinfo, 0);

	return rmsync_ask(fcinfo, "rmsync_notion_refresh", refresh, &user_id);
}


/* ---- rmsync_notion_create_database ---- */

typedef struct CreateCall
{
	int64 user_id;
	bool connect;
	const RmsyncTarget *target; /* that the database is for */
	RmsyncNotionCreation creation;
} CreateCall;

/* One look; false if the service did not let us, which the probe tells. */
static bool
look(RmsyncAsk *ask, CreateCall *call, RmsyncProbe *probe)
{
	rmsync_engine_probe_begin(ask->lane, probe, ask->cxt);
	rmsync_notion_look(probe, &call->creation);
	return rmsync_ask_run(ask, probe);
}

/* One that is there now and was not before; NULL if there is none. */
static char *
new_one(const CreateCall *call, Jsonb *known)
{
	ListCell *cell;

	foreach (cell, call->creation.ids)
	{
		char *id = lfirst(cell);
		bool old = id == NULL;

		for (int i = 0; i < rmsync_json_array_length(known) && !old; i++)
		{
			char *one = rmsync_json_as_string(rmsync_json_element(known, i));

			old = one != NULL && strcmp(one, id) == 0;
		}
		if (!old)
			return id;
	}
	return NULL;
}

/*
 * Looks for a database that may have been made.  As long as it may still be
 * made ("open"), a second look has a better chance; after that, what is not
 * listed was not made: the page's blocks are listed as they are.  *id is it, or
 * NULL; false if we could not look.
 */
static bool
find_made(RmsyncAsk *ask, CreateCall *call, const char *intent, bool open,
		  RmsyncProbe *probe, char **id)
{
	Jsonb *known = rmsync_json_parse(intent, strlen(intent));

	if (!look(ask, call, probe))
		return false;
	*id = new_one(call, known);
	if (*id != NULL || !open)
		return true;
	rmsync_engine_pause(ask->engine, LOOK_AGAIN_MS);
	if (!look(ask, call, probe))
		return false;
	*id = new_one(call, known);
	return true;
}

/* What is there now, as it is noted with the intent. */
static char *
known_ids(const CreateCall *call)
{
	StringInfoData buf;
	ListCell *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	foreach (cell, call->creation.ids)
	{
		if (lfirst(cell) == NULL)
			continue;
		if (buf.len > 1)
			appendStringInfoChar(&buf, ',');
		rmsync_json_string(&buf, lfirst(cell));
	}
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

/*
 * The intent of an earlier call, or NULL, and how long it is open; and with
 * "set", a new one.
 */
static char *
intent_of(RmsyncAsk *ask, CreateCall *call, const char *set, int *open_ms)
{
	char *intent;

	rmsync_txn_begin("rmsync: noting a database to be made");
	intent =
		rmsync_store_notion_intent(ask->cxt, ask->lane->info.user_id,
								   call->target->name, call->creation.parent_id,
								   call->creation.title, set, open_ms);
	rmsync_txn_end(set != NULL);
	return intent;
}

static void
drop_intent(RmsyncAsk *ask, CreateCall *call)
{
	rmsync_txn_begin("rmsync: a database was not made");
	rmsync_store_notion_forget(ask->lane->info.user_id, call->target->name,
							   call->creation.parent_id, call->creation.title);
	rmsync_txn_end(true);
}

/* Notes that it may be made, for so long, and what is there already. */
static void
set_intent(RmsyncAsk *ask, CreateCall *call, const char *known, int open_ms)
{
	open_ms = (int) (open_ms * rmsync_backoff_scale);
	(void) intent_of(ask, call, known, &open_ms);
}

/* It is not there, and may still be made: nobody must make another one. */
static void
refuse_open(RmsyncAsk *ask, CreateCall *call)
{
	int open_ms = 0;
	int seconds;

	(void) intent_of(ask, call, NULL, &open_ms);
	seconds = Max((open_ms + 999) / 1000, 1);
	rmsync_ask_refuse(ask, "unknown_outcome",
					  "Notion did not say whether it made the database, and it is not there yet.",
					  psprintf("Call again in %d seconds: until then Notion may still make it, and no other one is made.",
							   seconds));
	rmsync_json_field_int(&ask->result, "retry_after", seconds);
}

/*
 * The request, between two looks: before it what is there is noted with the
 * intent, and after a lost answer that tells which one is new.  False if there
 * is no database, which the result tells then.
 */
static bool
create_anew(RmsyncAsk *ask, CreateCall *call, bool looked)
{
	RmsyncProbe probe;
	char *intent;

	if (!looked && !look(ask, call, &probe))
	{
		rmsync_ask_conclude(ask, &probe);
		return false;
	}
	intent = known_ids(call);
	set_intent(ask, call, intent, OPEN_SENDING_MS);

	rmsync_engine_probe_begin(ask->lane, &probe, ask->cxt);
	rmsync_notion_create(&probe, &call->creation);
	if (!rmsync_ask_run(ask, &probe))
	{
		/* refused, or never sent */
		drop_intent(ask, call);
		rmsync_ask_conclude(ask, &probe);
		return false;
	}
	if (!call->creation.unknown)
		return true;
	set_intent(ask, call, intent, OPEN_LOST_MS);
	if (find_made(ask, call, intent, true, &probe, &call->creation.id) &&
		call->creation.id != NULL)
		return true;
	refuse_open(ask, call);
	return false;
}

/*
 * One database, however often this is called after a lost answer: an intent of
 * an earlier call is settled first, and as long as Notion may still be at it,
 * nothing is sent.
 */
static bool
make_database(RmsyncAsk *ask, CreateCall *call)
{
	int open_ms = 0;
	char *intent = intent_of(ask, call, NULL, &open_ms);
	RmsyncProbe probe;

	if (intent == NULL)
		return create_anew(ask, call, false);
	if (!find_made(ask, call, intent, open_ms > 0, &probe, &call->creation.id))
	{
		rmsync_ask_conclude(ask, &probe);
		return false;
	}
	if (call->creation.id != NULL)
	{
		rmsync_json_field_bool(&ask->result, "found", true);
		return true;
	}
	if (open_ms > 0)
	{
		refuse_open(ask, call);
		return false;
	}
	return create_anew(ask, call, true);
}

/*
 * The configuration with the new database in it.  That of another target
 * lends what says who connects, and nothing else.
 */
static char *
config_with(RmsyncAsk *ask, CreateCall *call, Jsonb *old, bool own)
{
	static const char *const lent[] = { "api_token", "access_token",
										"notion_token", "base_url", "app_url" };
	static const char *const gone[] = { "data_source_id", "database_title",
										"available_properties" };
	StringInfoData buf;
	Jsonb *extra;
	char *text;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	rmsync_json_field(&buf, "database_id", call->creation.id);
	for (int i = 0; !own && i < lengthof(lent); i++)
	{
		char *value = rmsync_json_get_string(old, lent[i], NULL);

		if (value != NULL)
			rmsync_json_field(&buf, lent[i], value);
	}
	appendStringInfoChar(&buf, '}');
	extra = rmsync_json_parse(buf.data, buf.len);
	for (int i = 0; own && i < lengthof(gone); i++)
		old =
			DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(old),
											   CStringGetTextDatum(gone[i])));
	if (own)
		extra = rmsync_json_merge(old, extra);
	text = rmsync_json_text(extra);
	explicit_bzero(extra, VARSIZE(extra));
	explicit_bzero(buf.data, buf.len);
	return text;
}

/*
 * Stores a configuration with the new database; "token" is the stored one, which
 * has no token of its own if it is that of a grant.
 * Returns what is wrong with it, or NULL.  Inside a transaction.
 */
static const char *
store_config(RmsyncAsk *ask, CreateCall *call, const char *token,
			 int64 grant_id, bool own, bool backup)
{
	int64 user_id = ask->lane->info.user_id;
	char *plain = rmsync_decrypt(user_id, token);
	Jsonb *config;
	char *text;
	const char *problem;

	if (plain == NULL)
		return "The stored configuration cannot be decrypted.";
	config = rmsync_json_parse(plain, strlen(plain));
	explicit_bzero(plain, strlen(plain));
	if (config == NULL || !JB_ROOT_IS_OBJECT(config))
		return "The stored configuration is not an object.";
	text = config_with(ask, call, config, own);
	explicit_bzero(config, VARSIZE(config));
	config = rmsync_json_parse(text, strlen(text));
	if (grant_id != 0)
		config = rmsync_grant_shown(config);
	problem = call->target->check_config(config, NULL);
	if (problem == NULL)
		(void) rmsync_store_connect(user_id, call->target->name,
									rmsync_encrypt(user_id, text),
									call->target->wanted_types
										? call->target->wanted_types(config)
										: call->target->item_types,
									call->target->granularity == RMSYNC_PER_ITEM
										? 'i'
										: 'n',
									!backup, backup,
									call->target->two_way != NULL &&
										call->target->two_way(config),
									grant_id);
	explicit_bzero(text, strlen(text));
	explicit_bzero(config, VARSIZE(config));
	return problem;
}

/*
 * The lane's destination from now on, as rmsync_connect() would do it; with
 * the user's first lane of this target made after the other's likeness.
 */
static const char *
connect_database(RmsyncAsk *ask, CreateCall *call)
{
	RmsyncLaneRow row;
	RmsyncConnection *locked;
	const char *problem;
	bool own = strcmp(ask->lane->info.target_name, call->target->name) == 0;

	/* its grant must still be there when we refer to it */
	(void) rmsync_store_connections(CurrentMemoryContext,
									ask->lane->info.user_id, &locked);
	if (!rmsync_store_lane(CurrentMemoryContext, ask->lane->lane_id, &row))
		return "The connection is gone.";
	problem = store_config(ask, call, row.config, row.grant_id, own, false);
	if (problem == NULL && own && row.backup != NULL)
		problem = store_config(ask, call, row.backup, 0, own, true);
	return problem;
}

/* The database is there: the lane learns of it, and the intent is settled. */
static void
settle(RmsyncAsk *ask, CreateCall *call)
{
	StringInfo buf = &ask->result;
	const char *problem = NULL;

	rmsync_txn_begin("rmsync: a database was made");
	rmsync_store_notion_made(ask->lane->info.user_id, call->target->name,
							 call->creation.parent_id, call->creation.title,
							 call->creation.id);
	if (call->connect)
		problem = connect_database(ask, call);
	if (problem != NULL)
		problem = MemoryContextStrdup(ask->cxt, problem);
	rmsync_txn_end(true);

	rmsync_json_field(buf, "database_id", call->creation.id);
	rmsync_json_field_bool(buf, "connected", call->connect && problem == NULL);
	if (problem != NULL)
	{
		rmsync_ask_refuse(ask, "invalid_config", problem,
						  "The database is there: name it in rmsync_connect().");
		return;
	}
	rmsync_json_field_bool(buf, "ok", true);
	rmsync_json_field(buf, "message",
					  call->connect ? "The database is there and connected."
									: "The database is there.");
	rmsync_json_field_int(buf, "requests", ask->requests);
}

static void
create_database(RmsyncAsk *ask, void *arg)
{
	CreateCall *call = arg;
	char *lock;
	int64 lane_id;

	rmsync_txn_begin("rmsync: looking up a connection");
	lane_id = rmsync_store_notion_lane(call->user_id, call->target->name);
	rmsync_ask_instance();
	rmsync_txn_end(false);

	rmsync_json_field(&ask->result, "target", call->target->name);
	if (!rmsync_ask_open(ask, lane_id))
		return;
	lock = psprintf("notion databases of " INT64_FORMAT, ask->lane->info.user_id);
	if (!rmsync_store_lease(lock))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("a database is being made for user " INT64_FORMAT
							   " by another session",
							   ask->lane->info.user_id)));
	PG_TRY();
	{
		if (make_database(ask, call))
			settle(ask, call);
	}
	PG_FINALLY();
	{
		rmsync_store_unlease(lock);
	}
	PG_END_TRY();
}

/* Text arguments that may not be NULL. */
static char *
text_arg(FunctionCallInfo fcinfo, int i, const char *name)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static void
invalid_argument(const char *message, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("%s", message), hint ? errhint("%s", hint) : 0));
}

/*
 * rmsync_notion_create_database(parent_page_id text, title text, kind text,
 *								 user_id bigint, connect boolean,
 *								 INOUT result jsonb)
 */
Datum
rmsync_notion_create_sql(PG_FUNCTION_ARGS)
{
	CreateCall call = { 0 };
	char *title = text_arg(fcinfo, 1, "title");
	char *kind = text_arg(fcinfo, 2, "kind");

	call.creation.parent_id =
		rmsync_notion_dashed_id(text_arg(fcinfo, 0, "parent_page_id"));
	if (call.creation.parent_id == NULL)
		invalid_argument("parent_page_id is not the id of a Notion page",
						 "It has 32 hexadecimal digits; rmsync_notion_pages() lists those that the connection can see.");
	if (strcmp(kind, "notebooks") == 0)
		call.target = &rmsync_target_notion;
	else if (strcmp(kind, "todos") == 0)
		call.target = &rmsync_target_notion_todos;
	else
		invalid_argument("kind must be \"notebooks\" or \"todos\"", NULL);
	if (title[strspn(title, " \t\r\n")] == '\0' || pg_mbstrlen(title) > MAX_TITLE)
		invalid_argument("title must have 1 to 200 characters", NULL);
	call.creation.title = title;
	call.creation.todos = call.target == &rmsync_target_notion_todos;
	call.user_id = rmsync_ask_user(fcinfo, 3);
	call.connect = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);
	return rmsync_ask(fcinfo, "rmsync_notion_create_database", create_database,
					  &call);
}
