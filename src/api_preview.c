/*-------------------------------------------------------------------------
 *
 * api_preview.c
 *	  rmsync_preview(): the requests a job would send, without sending any.
 *
 * The same loading and the same target code as a real delivery; only the
 * transport is replaced by answers the target imagines.  Writes nothing.
 * Headers are not shown (they carry credentials), nor the query of a URL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "engine_internal.h"
#include "json.h"
#include "lane.h"
#include "store.h"
#include "target.h"

PG_FUNCTION_INFO_V1(rmsync_preview_sql);

/* A job longer than this is shown up to here. */
#define MAX_STEPS 2000

static void
show_request(ReturnSetInfo *rsinfo, int step, const RmsyncHttpRequest *request)
{
	Datum values[4];
	bool nulls[4] = { false };
	char *url = pstrdup(request->url);
	char *query = strchr(url, '?');
	Jsonb *body = NULL;

	if (query != NULL)
		*query = '\0';
	if (request->body != NULL)
		body = rmsync_json_parse(request->body, request->body_len);
	values[0] = Int32GetDatum(step);
	values[1] = CStringGetTextDatum(request->method);
	values[2] = CStringGetTextDatum(url);
	nulls[3] = body == NULL;
	values[3] = JsonbPGetDatum(body);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Walks a job to its end with imagined answers. */
static void
walk_job(ReturnSetInfo *rsinfo, const RmsyncTarget *target, RmsyncJob *job,
		 int *step)
{
	bool open = false;

	for (int i = 0; i < job->nitems; i++)
		open = !rmsync_item_settled(target, job->lane, job->items[i]) || open;
	if (!open)
		return;
	target->begin(job);
	for (int steps = 0; steps < MAX_STEPS; steps++)
	{
		RmsyncHttpRequest request = { 0 };
		RmsyncHttpResponse response = { 0 };
		const char *body = NULL;

		CHECK_FOR_INTERRUPTS();
		switch (target->next(job, &request))
		{
			case RMSYNC_STEP_DONE:
				return;
			case RMSYNC_STEP_COMMIT:
			case RMSYNC_STEP_DELAY:
				continue;
			case RMSYNC_STEP_REQUEST:
				break;
		}
		show_request(rsinfo, ++*step, &request);
		if (target->imagine != NULL)
			body = target->imagine(job, &request);
		response.status = 200;
		response.body = body ? body : "{}";
		response.body_len = strlen(response.body);
		response.retry_after_ms = -1;
		target->response(job, &response);
		if (job->fail.scope != RMSYNC_FAIL_NONE)
			return;
	}
}

/* Texts of an array argument. */
static int
text_array(Datum array, char ***texts)
{
	Datum *elems;
	bool *nulls;
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, &nulls, &n);
	*texts = palloc0(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*texts)[i] = nulls[i] ? NULL : TextDatumGetCString(elems[i]);
	return n;
}

/* The items of one job: one, or all of the first one's notebook. */
static RmsyncJob *
build_job(RmsyncLane *lane, char **types, char **ids, char **notebooks, int n)
{
	RmsyncJob *job = palloc0(sizeof(RmsyncJob));

	job->cxt = CurrentMemoryContext;
	job->lane = &lane->info;
	job->group_key = notebooks[0] ? notebooks[0] : ids[0];
	job->items = palloc0(sizeof(RmsyncItem *) * n);
	for (int i = 0; i < n; i++)
	{
		RmsyncItem *item = palloc0(sizeof(RmsyncItem));

		item->type = (RmsyncItemType) rmsync_item_type_parse(types[i]);
		item->id = ids[i];
		item->notebook_uuid = notebooks[i];
		item->version = 1;
		job->items[job->nitems++] = item;
	}
	rmsync_store_load(CurrentMemoryContext, &lane->info, job->items, job->nitems);
	return job;
}

static void
place_in_notebook(RmsyncLane *lane, RmsyncJob *job)
{
	job->notebook =
		rmsync_store_notebook(CurrentMemoryContext, &lane->info, job->group_key,
							  &job->siblings, &job->nsiblings);
	for (int i = 0; i < job->nitems; i++)
	{
		if (job->items[i]->type == RMSYNC_NOTEBOOK)
			job->notebook = job->items[i];
	}
	rmsync_job_match(job);
}

/*
 * rmsync.preview_requests(lane, types[], ids[], notebooks[]): rows must be
 * ordered so that those of one notebook are together.
 */
Datum
rmsync_preview_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RmsyncLane lane = { 0 };
	RmsyncLease lease = { 0 };
	RmsyncLaneRow row;
	char **types;
	char **ids;
	char **notebooks;
	int n = text_array(PG_GETARG_DATUM(1), &types);
	int step = 0;

	(void) text_array(PG_GETARG_DATUM(2), &ids);
	(void) text_array(PG_GETARG_DATUM(3), &notebooks);
	InitMaterializedSRF(fcinfo, 0);
	lane.lane_id = PG_GETARG_INT64(0);
	SPI_connect();
	if (rmsync_store_lane(CurrentMemoryContext, lane.lane_id, &row))
	{
		lease.target = rmsync_target_find(row.target_name);
		lane.lease = &lease;
	}
	if (lease.target == NULL || !rmsync_lane_refresh(&lane, 1) ||
		lane.info.config == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("connection cannot be used for a preview"),
						errhint("rmsync_status() tells its state.")));
	for (int i = 0; i < n;)
	{
		bool grouped = lease.target->granularity == RMSYNC_PER_NOTEBOOK;
		int count = 1;
		RmsyncJob *job;

		while (grouped && i + count < n && notebooks[i] != NULL &&
			   notebooks[i + count] != NULL &&
			   strcmp(notebooks[i], notebooks[i + count]) == 0)
			count++;
		job = build_job(&lane, &types[i], &ids[i], &notebooks[i], count);
		if (grouped)
			place_in_notebook(&lane, job);
		walk_job(rsinfo, lease.target, job, &step);
		i += count;
	}
	rmsync_lane_clear(&lane);
	SPI_finish();
	return (Datum) 0;
}
