/*-------------------------------------------------------------------------
 *
 * notion_imagine.c
 *	  Answers Notion would give if all went well, for rmsync_preview().
 *
 * A database nothing is known of is imagined to have no columns but its
 * title, so that those we would add are shown; a page that is listed has the
 * blocks that the ledger says.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "target_notion.h"

static char *
imagined_id(int n)
{
	return psprintf("00000000-0000-4000-8000-%012d", n);
}

/* {"results":[...]} with n new objects. */
static char *
new_objects(int n)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"results\":[");
	for (int i = 0; i < n; i++)
		appendStringInfo(&buf, "%s{\"id\":\"%s\"}", i > 0 ? "," : "",
						 imagined_id(i + 1));
	appendStringInfoString(&buf, "]}");
	return buf.data;
}

/* The blocks of the part that is listed, as far as they are known. */
static char *
known_blocks(NotionJob *nj)
{
	StringInfoData buf;
	const char *comma = "";

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"results\":[");
	for (int i = 0; i < nj->nslots; i++)
	{
		if (nj->slots[i].block_id == NULL || nj->slots[i].part != nj->listing)
			continue;
		appendStringInfo(&buf, "%s{", comma);
		rmsync_json_field(&buf, "id", nj->slots[i].block_id);
		appendStringInfoChar(&buf, '}');
		comma = ",";
	}
	appendStringInfoString(&buf, "],\"has_more\":false}");
	return buf.data;
}

/* The data source with its title, and, with "all", every column of ours. */
static char *
schema(NotionJob *nj, bool all)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf,
						   "{\"properties\":{\"Name\":{\"id\":\"title\",\"type\":\"title\"}");
	for (int role = NOTION_ID; all && role < nj->kind->nroles; role++)
	{
		const NotionRoleInfo *info = &nj->kind->roles[role];

		if (info->schema == NULL)
			continue;
		rmsync_json_key(&buf, info->name);
		appendStringInfoChar(&buf, '{');
		rmsync_json_field(&buf, "id", info->name);
		rmsync_json_field(&buf, "type", info->type);
		appendStringInfoChar(&buf, '}');
	}
	appendStringInfoString(&buf, "}}");
	return buf.data;
}

const char *
rmsync_notion_imagine(RmsyncJob *job, const RmsyncHttpRequest *request)
{
	NotionJob *nj = job->state;

	switch (nj->state)
	{
		case NOTION_DATABASE:
			return psprintf("{\"data_sources\":[{\"id\":\"%s\"}]}",
							imagined_id(1));
		case NOTION_SOURCE:
		case NOTION_CHECK_SOURCE:
			return schema(nj, false);
		case NOTION_COLUMNS:
			return schema(nj, true);
		case NOTION_FIND:
		case NOTION_LATE_FIND:
		case NOTION_LATE_LIST:
			return new_objects(0);
		case NOTION_LIST:
			return known_blocks(nj);
		case NOTION_PART_LOOK:
			return new_objects(0);
		case NOTION_PART_CREATE:
			return psprintf("{\"id\":\"%s\"}", imagined_id(1000 + nj->nparts));
		case NOTION_EDIT_LIST:
			return rmsync_notion_edit_imagine(nj);
		case NOTION_APPEND:
			return new_objects(nj->nbatch);
		case NOTION_DEEP_APPEND:
			return new_objects(nj->nopen);
		default:
			return psprintf("{\"id\":\"%s\"}", imagined_id(1));
	}
}
