/*-------------------------------------------------------------------------
 *
 * secret_file.h
 *	  Files that hold secrets: master keys, the secret of an OAuth client.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_SECRET_FILE_H
#define RMSYNC_SECRET_FILE_H

#define RMSYNC_MAX_SECRET_FILE 16384

/* Why there is no secret: full sentences. */
typedef struct RmsyncFileProblem
{
	char	   *detail;
	const char *hint;			/* NULL = none */
} RmsyncFileProblem;

/*
 * Reads a file into buf[RMSYNC_MAX_SECRET_FILE], which the caller wipes.
 * Returns the number of bytes, or -1 with *problem set if it cannot be used:
 * "what" names the file there ("master key file"), "setting" says where its
 * path is from.  Raises nothing that a wrong file can cause.
 */
extern int	rmsync_read_secret_file(const char *path, const char *what,
									const char *setting, char *buf,
									RmsyncFileProblem *problem);

/*
 * The one line of a file, palloc'd (the caller wipes it), without blanks at
 * its ends; NULL with *problem set if it cannot be used.
 */
extern char *rmsync_read_secret(const char *path, const char *what,
								const char *setting,
								RmsyncFileProblem *problem);

#endif							/* RMSYNC_SECRET_FILE_H */
