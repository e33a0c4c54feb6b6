/*-------------------------------------------------------------------------
 *
 * webhook_config.c
 *	  Configuration of target 'webhook': reading and checking it.
 *
 * Called by target_webhook.c and, through its vtable, by rmsync_connect().
 * A message made here may name a field, never its value: fields are secrets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/base64.h"

#include "json.h"
#include "target_util.h"
#include "target_webhook.h"

#define MIN_SECRET 24 /* bytes */
#define MAX_IN_FLIGHT 64
#define DEFAULT_APP_URL "https://rmirror.io"

static const char *const webhook_keys[] = {
	"url",		  "secret",		   "secrets",  "mode",	  "types", "headers",
	"rate_limit", "max_in_flight", "base_url", "app_url", NULL
};

/* Headers the transport or the signature owns. */
static const char *const webhook_reserved[] = { "content-type",
												"content-length",
												"host",
												"connection",
												"transfer-encoding",
												"expect",
												"upgrade",
												"te",
												"trailer",
												"keep-alive",
												"proxy-connection",
												"proxy-authorization",
												NULL };

const char rmsync_webhook_config_schema[] =
	"{\"type\":\"object\",\"additionalProperties\":false,"
	"\"required\":[\"url\"],\"properties\":{"
	"\"url\":{\"type\":\"string\",\"format\":\"uri\","
	"\"title\":\"Address that receives the events\"},"
	"\"secret\":{\"type\":\"string\",\"pattern\":\"^whsec_\","
	"\"writeOnly\":true,\"title\":\"Signing secret\"},"
	"\"secrets\":{\"type\":\"array\",\"minItems\":1,\"maxItems\":4,"
	"\"writeOnly\":true,\"items\":{\"type\":\"string\","
	"\"pattern\":\"^whsec_\"},"
	"\"title\":\"Signing secrets while one is being replaced\"},"
	"\"mode\":{\"enum\":[\"full\",\"thin\"],\"default\":\"full\"},"
	"\"types\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"enum\":["
	"\"notebook_metadata\",\"page_text\",\"todo\",\"highlight\"]}},"
	"\"headers\":{\"type\":\"object\",\"maxProperties\":11,"
	"\"additionalProperties\":{\"type\":\"string\"}},"
	"\"rate_limit\":{\"type\":\"number\",\"exclusiveMinimum\":0,"
	"\"title\":\"Events per second\"},"
	"\"max_in_flight\":{\"type\":\"integer\",\"minimum\":1,"
	"\"maximum\":64,\"default\":5},"
	"\"base_url\":{\"type\":\"string\"},"
	"\"app_url\":{\"type\":\"string\",\"format\":\"uri\"}}}";


/*
 * Decodes one "whsec_..." into the next slot.  Returns NULL or what is wrong,
 * to follow the field's name.
 */
static const char *
add_secret(WebhookConfig *config, const char *text)
{
	WebhookSecret *secret;
	char buf[256];
	int len;

	if (config->nsecrets == RMSYNC_WEBHOOK_MAX_SECRETS)
		return "holds more than 4 secrets";
	if (text == NULL || strncmp(text, "whsec_", 6) != 0)
		return "must begin with \"whsec_\"";
	text += 6;

	/* the cast hides that the buffer's type changed in PostgreSQL 18 */
	len = strlen(text);
	if (len > 128)
		return "must hold 24 to 64 bytes in base64";
	len = pg_b64_decode(text, len, (void *) buf, sizeof(buf));
	if (len < 0)
		return "is not valid base64 after \"whsec_\"";
	if (len < MIN_SECRET || len > RMSYNC_WEBHOOK_MAX_SECRET)
		return "must hold 24 to 64 bytes in base64";

	secret = &config->secrets[config->nsecrets++];
	memcpy(secret->key, buf, len);
	secret->len = len;
	explicit_bzero(buf, sizeof(buf));
	return NULL;
}

static const char *
read_secrets(WebhookConfig *config, const JsonbValue *value)
{
	Jsonb *array = rmsync_config_container(value);
	int n = array ? rmsync_json_array_length(array) : -1;

	if (n < 1)
		return "must be an array of one to four secrets";
	for (int i = 0; i < n; i++)
	{
		Jsonb *element = rmsync_json_element(array, i);
		const char *why = add_secret(config, rmsync_json_as_string(element));

		if (why != NULL)
			return why;
	}
	return NULL;
}

static const char *
read_types(WebhookConfig *config, const JsonbValue *value)
{
	Jsonb *array = rmsync_config_container(value);
	int n = array ? rmsync_json_array_length(array) : -1;

	if (n < 1)
		return "must be an array of item types";
	config->types = 0;
	for (int i = 0; i < n; i++)
	{
		char *name = rmsync_json_as_string(rmsync_json_element(array, i));
		int type = name ? rmsync_item_type_parse(name) : -1;

		if (type < 0)
			return "must hold only \"notebook_metadata\", \"page_text\", "
				   "\"todo\" and \"highlight\"";
		config->types |= RMSYNC_TYPE_BIT(type);
	}
	return NULL;
}

static bool
header_name_allowed(const char *name)
{
	static const char token_chars[] =
		"!#$%&'*+-.^_`|~0123456789"
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	if (*name == '\0' || strspn(name, token_chars) != strlen(name))
		return false;
	if (pg_strncasecmp(name, "webhook-", 8) == 0)
		return false;
	for (int i = 0; webhook_reserved[i] != NULL; i++)
	{
		if (pg_strcasecmp(name, webhook_reserved[i]) == 0)
			return false;
	}
	return true;
}

static const char *
read_headers(WebhookConfig *config, const JsonbValue *value)
{
	Jsonb *object = rmsync_config_container(value);
	RmsyncConfigField *fields;
	int n = object ? rmsync_config_fields(object, &fields) : -1;

	if (n < 0)
		return "must be an object of strings";
	if (n > RMSYNC_WEBHOOK_MAX_CUSTOM)
		return "holds more than 11 headers";
	for (int i = 0; i < n; i++)
	{
		char *text = rmsync_config_string(&fields[i].value);

		if (!header_name_allowed(fields[i].key))
			return "holds a header name that is malformed or reserved";
		if (text == NULL)
			return "must be an object of strings";
		for (char *p = text; *p != '\0'; p++)
		{
			if (((unsigned char) *p < ' ' && *p != '\t') || *p == '\x7f')
				return "holds a header value with a control character";
		}
		config->custom[config->ncustom].name = fields[i].key;
		config->custom[config->ncustom++].value = text;
	}
	return NULL;
}

static const char *
read_url(char **url, const JsonbValue *value)
{
	*url = rmsync_config_string(value);
	if (*url == NULL)
		return "must be a string";
	return rmsync_config_url_problem(*url);
}

/* Paths are appended with a slash of their own. */
static const char *
read_app_url(WebhookConfig *config, const JsonbValue *value)
{
	const char *why = read_url(&config->app_url, value);
	size_t len;

	if (why != NULL)
		return why;
	len = strlen(config->app_url);
	while (len > 0 && config->app_url[len - 1] == '/')
		config->app_url[--len] = '\0';
	return NULL;
}

/*
 * Reads one known field.  Returns NULL or what is wrong with it.
 */
static const char *
read_field(WebhookConfig *config, const RmsyncConfigField *field)
{
	const JsonbValue *value = &field->value;
	const char *key = field->key;

	if (strcmp(key, "url") == 0)
		return read_url(&config->url, value);
	if (strcmp(key, "app_url") == 0)
		return read_app_url(config, value);
	if (strcmp(key, "secret") == 0)
		return add_secret(config, rmsync_config_string(value));
	if (strcmp(key, "secrets") == 0)
		return read_secrets(config, value);
	if (strcmp(key, "types") == 0)
		return read_types(config, value);
	if (strcmp(key, "headers") == 0)
		return read_headers(config, value);
	if (strcmp(key, "mode") == 0)
	{
		char *mode = rmsync_config_string(value);

		config->thin = mode != NULL && strcmp(mode, "thin") == 0;
		if (!config->thin && (mode == NULL || strcmp(mode, "full") != 0))
			return "must be \"full\" or \"thin\"";
	}
	if (strcmp(key, "rate_limit") == 0 &&
		(!rmsync_config_number(value, &config->rate_limit) ||
		 config->rate_limit <= 0))
		return "must be a number greater than 0";
	if (strcmp(key, "max_in_flight") == 0)
	{
		double number;

		if (!rmsync_config_number(value, &number) || number < 1 ||
			number > MAX_IN_FLIGHT || number != (int) number)
			return "must be a whole number from 1 to 64";
		config->max_in_flight = (int) number;
	}
	return NULL;
}

/*
 * Reads the configuration.  Returns NULL or a palloc'd message that names the
 * field and never shows a value.
 */
char *
rmsync_webhook_read_config(Jsonb *json, WebhookConfig *config, char **hint)
{
	RmsyncConfigField *fields;
	const char *unknown;
	int n = rmsync_config_fields(json, &fields);

	memset(config, 0, sizeof(*config));
	config->types = (1 << RMSYNC_ITEM_TYPES) - 1;
	config->max_in_flight = RMSYNC_WEBHOOK_DEFAULT_IN_FLIGHT;
	config->app_url = pstrdup(DEFAULT_APP_URL);

	if (n < 0)
		return pstrdup("The configuration must be a JSON object.");
	unknown = rmsync_config_unknown(fields, n, webhook_keys);
	if (unknown != NULL)
	{
		if (hint != NULL)
			*hint = pstrdup(
				"Fields are url, secret, secrets, mode, types, headers, rate_limit, max_in_flight and app_url.");
		return psprintf("Unrecognized field \"%s\".", unknown);
	}
	for (int i = 0; i < n; i++)
	{
		const char *why = read_field(config, &fields[i]);

		if (why != NULL)
			return psprintf("Field \"%s\" %s.", fields[i].key, why);
	}

	if (config->url == NULL)
		return pstrdup("Field \"url\" is required.");
	if (config->nsecrets == 0)
	{
		if (hint != NULL)
			*hint = pstrdup(
				"Generate one with SELECT 'whsec_' || encode(gen_random_bytes(32), 'base64').");
		return pstrdup("Field \"secret\" is required.");
	}
	return NULL;
}

char *
rmsync_webhook_check_config(Jsonb *json, char **hint)
{
	WebhookConfig config;
	char *why = rmsync_webhook_read_config(json, &config, hint);

	explicit_bzero(config.secrets, sizeof(config.secrets));
	return why;
}

int
rmsync_webhook_wanted_types(Jsonb *json)
{
	WebhookConfig config;
	char *why = rmsync_webhook_read_config(json, &config, NULL);

	explicit_bzero(config.secrets, sizeof(config.secrets));
	return why == NULL ? config.types : 0;
}

void
rmsync_webhook_lane_limits(Jsonb *json, const char *remote,
						   RmsyncTargetLimits *limits)
{
	WebhookConfig config;

	if (rmsync_webhook_read_config(json, &config, NULL) == NULL)
	{
		limits->jobs_per_lane = config.max_in_flight;
		limits->rate = rmsync_rate_per_second(config.rate_limit);
	}
	explicit_bzero(config.secrets, sizeof(config.secrets));
}
