/*-------------------------------------------------------------------------
 *
 * notion_config.c
 *	  Configuration of the Notion targets: reading and checking it.
 *
 * Called by target_notion.c and, through the vtables, by rmsync_connect().
 * A message made here may name a field, never the token's value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"
#include "target_util.h"

#define DEFAULT_BASE_URL "https://api.notion.com/v1"
#define DEFAULT_APP_URL "https://rmirror.io"
#define DEFAULT_PAGE_TITLE "\xF0\x9F\x93\x84 Page {n}"
#define MAX_PAGE_TITLE 200

/*
 * A page that was just created may show in a query late; nobody has measured
 * how late (contracts/notion.md 4.3).
 */
static const int default_delays[] = { 2000, 10000, 60000, 300000 };

#define DEFAULT_APPEND_DELAY 5000

/* What was looked for in vain and made again may come all the same. */
static const int default_late_delays[] = { 120000, 600000 };

/* The last ones are the host's; taken and ignored. */
#define SHARED_KEYS \
	"api_token", "access_token", "notion_token", "database_id", \
		"data_source_id", "base_url", "app_url", "resolve_delays_ms", \
		"late_delays_ms", "requests_per_minute", "workspace_id", \
		"workspace_name", "database_title", "available_properties", "verify_ssl"

const char *const rmsync_notion_config_keys[] = {
	SHARED_KEYS, "page_order",	"page_title", "highlights", "todos", "layout",
	"two_way",	 "split_pages", "lost_page",  "edits",		NULL
};
const char *const rmsync_notion_todos_config_keys[] = { SHARED_KEYS,
														"use_status_property",
														"two_way", NULL };

#define TWO_WAY_SCHEMA \
	"\"two_way\":{\"type\":\"boolean\",\"default\":false," \
	"\"title\":\"Take over what is ticked in Notion\"}}}"

#define SHARED_SCHEMA \
	"{\"type\":\"object\",\"additionalProperties\":false," \
	"\"anyOf\":[{\"required\":[\"api_token\"]}," \
	"{\"required\":[\"access_token\"]},{\"required\":[\"notion_token\"]}]," \
	"\"properties\":{" \
	"\"api_token\":{\"type\":\"string\",\"writeOnly\":true," \
	"\"title\":\"Token of the Notion connection\"}," \
	"\"access_token\":{\"type\":\"string\",\"writeOnly\":true}," \
	"\"notion_token\":{\"type\":\"string\",\"writeOnly\":true}," \
	"\"data_source_id\":{\"type\":\"string\"," \
	"\"title\":\"Data source, if the database has several\"}," \
	"\"base_url\":{\"type\":\"string\",\"format\":\"uri\"}," \
	"\"app_url\":{\"type\":\"string\",\"format\":\"uri\"}," \
	"\"resolve_delays_ms\":{\"type\":\"array\",\"maxItems\":8," \
	"\"items\":{\"type\":\"integer\",\"minimum\":0}}," \
	"\"late_delays_ms\":{\"type\":\"array\",\"maxItems\":8," \
	"\"items\":{\"type\":\"integer\",\"minimum\":0}}," \
	"\"requests_per_minute\":{\"type\":\"integer\",\"minimum\":10," \
	"\"maximum\":600,\"default\":180," \
	"\"title\":\"Requests a minute that the workspace's plan allows\"}," \
	"\"workspace_id\":{},\"workspace_name\":{},\"database_title\":{}," \
	"\"available_properties\":{},\"verify_ssl\":{},"

const char rmsync_notion_config_schema[] = SHARED_SCHEMA
	"\"database_id\":{\"type\":\"string\","
	"\"title\":\"Database that receives the notebooks\"},"
	"\"page_order\":{\"enum\":[\"notebook\",\"newest_first\"],"
	"\"default\":\"notebook\"},"
	"\"page_title\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":200,"
	"\"default\":\"\xF0\x9F\x93\x84 Page {n}\"},"
	"\"highlights\":{\"enum\":[\"callout\",\"quote\",\"off\"],"
	"\"default\":\"callout\"},"
	"\"lost_page\":{\"enum\":[\"recreate\",\"stop\"],"
	"\"default\":\"recreate\","
	"\"title\":\"When a notebook's page is gone or unshared\"},"
	"\"edits\":{\"enum\":[\"in_place\",\"fewest_requests\"],"
	"\"default\":\"in_place\","
	"\"title\":\"When the text of a page changes\"},"
	"\"todos\":{\"enum\":[\"blocks\",\"off\"],\"default\":\"off\"},"
	"\"layout\":{\"enum\":[\"full\",\"compact\"],\"default\":\"full\","
	"\"title\":\"compact: a page is one block, its text as Markdown\"},"
	"\"split_pages\":{\"type\":\"integer\",\"minimum\":0,"
	"\"title\":\"Pages after which a notebook goes on in a sub-page, 0 = never\"}," TWO_WAY_SCHEMA;

const char rmsync_notion_todos_config_schema[] = SHARED_SCHEMA
	"\"database_id\":{\"type\":\"string\","
	"\"title\":\"Database that receives the to-dos\"},"
	"\"use_status_property\":{\"type\":\"boolean\",\"default\":true,"
	"\"title\":\"Use the database's status column, if it has one\"}," TWO_WAY_SCHEMA;

/* An absolute URL, without the slashes at its end. */
static const char *
read_url(char **url, const JsonbValue *value)
{
	const char *why;
	size_t len;

	*url = rmsync_config_string(value);
	if (*url == NULL)
		return "must be a string";
	why = rmsync_config_url_problem(*url);
	if (why != NULL)
		return why;
	if (strchr(*url, '?') != NULL)
		return "must not contain a query";
	len = strlen(*url);
	while (len > 0 && (*url)[len - 1] == '/')
		(*url)[--len] = '\0';
	return NULL;
}

/* 32 hex digits with or without dashes; stored with them, as Notion does. */
char *
rmsync_notion_dashed_id(const char *text)
{
	char out[37];
	int n = 0;

	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p == '-')
			continue;
		if (strchr("0123456789abcdefABCDEF", *p) == NULL || n == 36)
			return NULL;
		if (n == 8 || n == 13 || n == 18 || n == 23)
			out[n++] = '-';
		out[n++] = pg_ascii_tolower((unsigned char) *p);
	}
	if (n != 36)
		return NULL;
	out[n] = '\0';
	return pstrdup(out);
}

static const char *
read_id(char **id, const JsonbValue *value)
{
	char *text = rmsync_config_string(value);

	if (value->type == jbvNull)
		return NULL;
	*id = text ? rmsync_notion_dashed_id(text) : NULL;
	return *id ? NULL
			   : "must be the id of a Notion object: 32 hexadecimal digits";
}

/* A database may be chosen later; until then it is null, not forgotten. */
static const char *
read_database(NotionConfig *config, const JsonbValue *value)
{
	config->undecided = value->type == jbvNull;
	return read_id(&config->database_id, value);
}

static const char *
read_lost_page(NotionConfig *config, const JsonbValue *value)
{
	char *policy = rmsync_config_string(value);

	if (policy == NULL ||
		(strcmp(policy, "recreate") != 0 && strcmp(policy, "stop") != 0))
		return "must be \"recreate\" or \"stop\"";
	config->stop_if_lost = strcmp(policy, "stop") == 0;
	return NULL;
}

static const char *
read_edits(NotionConfig *config, const JsonbValue *value)
{
	char *edits = rmsync_config_string(value);

	if (edits == NULL || (strcmp(edits, "in_place") != 0 &&
						  strcmp(edits, "fewest_requests") != 0))
		return "must be \"in_place\" or \"fewest_requests\"";
	config->fewest_requests = strcmp(edits, "fewest_requests") == 0;
	return NULL;
}

/* The token becomes a header value: nothing else may get in there. */
static const char *
read_token(NotionConfig *config, const JsonbValue *value)
{
	char *token = rmsync_config_string(value);
	const char *why = NULL;

	if (token == NULL || *token == '\0' || strlen(token) > 4000)
		return "must be a non-empty string";
	for (char *p = token; *p != '\0'; p++)
	{
		if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7f)
			why = "contains a blank or a special character";
	}
	if (why == NULL && config->authorization == NULL)
		config->authorization = psprintf("Bearer %s", token);
	explicit_bzero(token, strlen(token));
	return why;
}

static const char *
read_delays(int *delays, int *ndelays, const JsonbValue *value)
{
	static const char problem[] =
		"must be an array of up to eight numbers of milliseconds";
	Jsonb *array = rmsync_config_container(value);
	int n = rmsync_json_array_length(array);

	if (n < 1 || n > RMSYNC_NOTION_MAX_DELAYS)
		return problem;
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&array->root, i);
		double ms;

		if (!rmsync_config_number(element, &ms) || ms < 0 || ms > 3600000)
			return problem;
		delays[i] = (int) ms;
	}
	*ndelays = n;
	return NULL;
}

static const char *
read_page_order(NotionConfig *config, const JsonbValue *value)
{
	char *order = rmsync_config_string(value);

	if (order != NULL && strcmp(order, "newest_first") == 0)
		config->newest_first = true;
	else if (order == NULL || strcmp(order, "notebook") != 0)
		return "must be \"notebook\" or \"newest_first\"";
	return NULL;
}

static const char *
read_highlights(NotionConfig *config, const JsonbValue *value)
{
	char *type = rmsync_config_string(value);

	if (type != NULL && strcmp(type, "callout") == 0)
		config->highlights = "callout";
	else if (type != NULL && strcmp(type, "quote") == 0)
		config->highlights = "quote";
	else if (type != NULL && strcmp(type, "off") == 0)
		config->highlights = NULL;
	else
		return "must be \"callout\", \"quote\" or \"off\"";
	return NULL;
}

static const char *
read_layout(NotionConfig *config, const JsonbValue *value)
{
	char *layout = rmsync_config_string(value);

	if (layout == NULL ||
		(strcmp(layout, "full") != 0 && strcmp(layout, "compact") != 0))
		return "must be \"full\" or \"compact\"";
	config->compact = strcmp(layout, "compact") == 0;
	return NULL;
}

static const char *
read_todos(NotionConfig *config, const JsonbValue *value)
{
	char *todos = rmsync_config_string(value);

	if (todos == NULL ||
		(strcmp(todos, "blocks") != 0 && strcmp(todos, "off") != 0))
		return "must be \"blocks\" or \"off\"";
	config->todos = strcmp(todos, "blocks") == 0;
	return NULL;
}

static const char *
read_rate(NotionConfig *config, const JsonbValue *value)
{
	double n;

	if (!rmsync_config_number(value, &n) || n < 10 || n > 600)
		return "must be a number from 10 to 600";
	config->requests_per_minute = (int) n;
	return NULL;
}

static const char *
read_split(NotionConfig *config, const JsonbValue *value)
{
	double n;

	if (!rmsync_config_number(value, &n) || n > 1000000 || (n != 0 && n < 2))
		return "must be 0 or a number from 2 to 1000000";
	config->split_pages = (int) n;
	return NULL;
}

static const char *
read_source(NotionConfig *config, const JsonbValue *value)
{
	return read_id(&config->data_source_id, value);
}

static const char *
read_base_url(NotionConfig *config, const JsonbValue *value)
{
	return read_url(&config->base_url, value);
}

static const char *
read_app_url(NotionConfig *config, const JsonbValue *value)
{
	return read_url(&config->app_url, value);
}

static const char *
read_boolean(bool *result, const JsonbValue *value)
{
	if (value->type != jbvBool)
		return "must be true or false";
	*result = value->val.boolean;
	return NULL;
}

static const char *
read_two_way(NotionConfig *config, const JsonbValue *value)
{
	return read_boolean(&config->two_way, value);
}

static const char *
read_use_status(NotionConfig *config, const JsonbValue *value)
{
	bool use = true;
	const char *why = read_boolean(&use, value);

	config->no_status = !use;
	return why;
}

static const char *
read_late_delays(NotionConfig *config, const JsonbValue *value)
{
	return read_delays(config->late_delays, &config->nlate_delays, value);
}

static const char *
read_resolve_delays(NotionConfig *config, const JsonbValue *value)
{
	const char *why = read_delays(config->delays, &config->ndelays, value);

	config->append_delay = config->delays[0];
	return why;
}

static const char *
read_page_title(NotionConfig *config, const JsonbValue *value)
{
	config->page_title = rmsync_config_string(value);
	if (config->page_title == NULL ||
		strlen(config->page_title) > MAX_PAGE_TITLE ||
		strspn(config->page_title, " \t\r\n") == strlen(config->page_title))
		return "must be a string of at most 200 bytes that is not blank";
	return NULL;
}

/* How fields are read; those that are not here say nothing to us. */
static const struct
{
	const char *key;
	const char *(*read)(NotionConfig *config, const JsonbValue *value);
} readers[] = { { "api_token", read_token },
				{ "access_token", read_token },
				{ "notion_token", read_token },
				{ "database_id", read_database },
				{ "data_source_id", read_source },
				{ "page_order", read_page_order },
				{ "page_title", read_page_title },
				{ "highlights", read_highlights },
				{ "todos", read_todos },
				{ "layout", read_layout },
				{ "split_pages", read_split },
				{ "edits", read_edits },
				{ "lost_page", read_lost_page },
				{ "two_way", read_two_way },
				{ "use_status_property", read_use_status },
				{ "requests_per_minute", read_rate },
				{ "base_url", read_base_url },
				{ "app_url", read_app_url },
				{ "late_delays_ms", read_late_delays },
				{ "resolve_delays_ms", read_resolve_delays } };

/* Reads one known field.  Returns NULL or what is wrong with it. */
static const char *
read_field(NotionConfig *config, const RmsyncConfigField *field)
{
	for (int i = 0; i < lengthof(readers); i++)
	{
		if (strcmp(field->key, readers[i].key) == 0)
			return readers[i].read(config, &field->value);
	}
	return NULL;
}

/*
 * Reads the configuration.  Returns NULL or a palloc'd message that names the
 * field.
 */
char *
rmsync_notion_read_config(const NotionKind *kind, Jsonb *json,
						  NotionConfig *config, char **hint)
{
	RmsyncConfigField *fields;
	const char *unknown;
	int n = rmsync_config_fields(json, &fields);

	memset(config, 0, sizeof(*config));
	config->page_title = pstrdup(DEFAULT_PAGE_TITLE);
	config->highlights = "callout";
	config->base_url = pstrdup(DEFAULT_BASE_URL);
	config->app_url = pstrdup(DEFAULT_APP_URL);
	memcpy(config->delays, default_delays, sizeof(default_delays));
	config->ndelays = lengthof(default_delays);
	config->append_delay = DEFAULT_APPEND_DELAY;
	memcpy(config->late_delays, default_late_delays, sizeof(default_late_delays));
	config->nlate_delays = lengthof(default_late_delays);

	if (n < 0)
		return pstrdup("The configuration must be a JSON object.");
	unknown = rmsync_config_unknown(fields, n, kind->config_keys);
	if (unknown != NULL)
	{
		if (hint != NULL)
			*hint = pstrdup(kind->config_hint);
		return psprintf("Unrecognized field \"%s\".", unknown);
	}
	for (int i = 0; i < n; i++)
	{
		const char *why = read_field(config, &fields[i]);

		if (why != NULL)
			return psprintf("Field \"%s\" %s.", fields[i].key, why);
	}

	if (config->authorization == NULL)
		return pstrdup("Field \"api_token\" is required.");
	if (config->database_id == NULL && config->data_source_id == NULL &&
		!config->undecided)
	{
		if (hint != NULL)
			*hint = pstrdup(
				"Share a database with the Notion connection and give its id.");
		return pstrdup("Field \"database_id\" is required.");
	}
	if (config->two_way && kind->type == RMSYNC_NOTEBOOK && !config->todos)
		return pstrdup(
			"Field \"two_way\" is for to-dos: it takes \"todos\": \"blocks\".");
	return NULL;
}

char *
rmsync_notion_check_config(const NotionKind *kind, Jsonb *json, char **hint)
{
	NotionConfig config;
	char *why = rmsync_notion_read_config(kind, json, &config, hint);

	if (config.authorization != NULL)
		explicit_bzero(config.authorization, strlen(config.authorization));
	return why;
}

bool
rmsync_notion_two_way(const NotionKind *kind, Jsonb *json)
{
	NotionConfig config;
	char *why = rmsync_notion_read_config(kind, json, &config, NULL);

	if (config.authorization != NULL)
		explicit_bzero(config.authorization, strlen(config.authorization));
	return why == NULL && config.two_way;
}

int
rmsync_notion_wanted_types(Jsonb *json)
{
	NotionConfig config;
	int types = RMSYNC_TYPE_BIT(RMSYNC_NOTEBOOK) | RMSYNC_TYPE_BIT(RMSYNC_PAGE);

	(void) rmsync_notion_read_config(&rmsync_notion_notebooks, json, &config,
									 NULL);
	if (config.authorization != NULL)
		explicit_bzero(config.authorization, strlen(config.authorization));
	if (config.highlights != NULL)
		types |= RMSYNC_TYPE_BIT(RMSYNC_HIGHLIGHT);
	if (config.todos)
		types |= RMSYNC_TYPE_BIT(RMSYNC_TODO);
	return types;
}

/* The token by which Notion counts requests. */
char *
rmsync_notion_credential(Jsonb *json)
{
	static const char *const keys[] = { "api_token", "access_token",
										"notion_token" };
	char *token = NULL;

	for (int i = 0; token == NULL && i < lengthof(keys); i++)
		token = rmsync_json_get_string(json, keys[i], NULL);
	return token;
}

/* The host's configurations say it, and Notion does when it is asked. */
char *
rmsync_notion_workspace(Jsonb *json, const char *remote)
{
	char *id = rmsync_json_get_string(json, "workspace_id", NULL);

	if (id != NULL || remote == NULL)
		return id;
	return rmsync_json_get_string(rmsync_json_parse(remote, strlen(remote)),
								  "workspace_id", NULL);
}

/* Who says what the plan allows is believed: nothing is tried beyond it. */
void
rmsync_notion_lane_limits(Jsonb *json, const char *remote,
						  RmsyncTargetLimits *limits)
{
	JsonbValue buf;
	double n;
	JsonbValue *value =
		getKeyJsonValueFromContainer(&json->root, "requests_per_minute",
									 strlen("requests_per_minute"), &buf);

	if (value == NULL || !rmsync_config_number(value, &n) || n < 10 || n > 600)
		return;
	limits->rate.limit = (int) n;
	limits->rate.higher = 0;
}
