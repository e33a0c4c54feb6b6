/*-------------------------------------------------------------------------
 *
 * txn.h
 *	  Short transactions for the stores, in a worker or inside CALL.
 *
 * Between rmsync_txn_begin and rmsync_txn_end SPI is connected and a snapshot
 * is active; outside, no snapshot is held (and in a worker no transaction is
 * open).  HTTP may only run outside.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_TXN_H
#define RMSYNC_TXN_H

/* In CALL rmsync_run(): the procedure's own non-atomic SPI connection. */
extern void rmsync_txn_set_foreground(bool foreground);

/*
 * In a procedure that its callers need no more than EXECUTE for: between begin
 * and end, the session has the rights of this role and a safe search path.
 * Cleared by rmsync_txn_set_foreground.
 */
extern void rmsync_txn_set_owner(Oid owner);
extern void rmsync_txn_begin(const char *activity);

/* "durable": wait for the WAL flush (intents); else asynchronous commit. */
extern void rmsync_txn_end(bool durable);

/* After an error was caught in a worker. */
extern void rmsync_txn_abort(void);
extern bool rmsync_txn_open(void);

#endif							/* RMSYNC_TXN_H */
