/*-------------------------------------------------------------------------
 *
 * intake.h
 *	  Marks written in the host's transactions, and the wake-up they cause.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_INTAKE_H
#define RMSYNC_INTAKE_H

/*
 * Wakes this database's worker if and when the current transaction commits.
 * Cheap and repeatable.  After a savepoint was rolled back the wake-up may be
 * for nothing, which is harmless; a prepared transaction wakes nobody, the
 * worker's timed look covers it.
 */
extern void rmsync_wake_at_commit(void);

#endif							/* RMSYNC_INTAKE_H */
