/*-------------------------------------------------------------------------
 *
 * secret_file.c
 *	  Files that hold secrets: master keys, the secret of an OAuth client.
 *
 * Read anew whenever one is needed: a change of the file needs no reload, and
 * no secret stays in memory.  Messages do not name the path, as the settings
 * are hidden from ordinary users who may see errors.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "secret_file.h"
#include "storage/fd.h"

/* Is the open file one that only the server's owner can have written? */
static bool
check_file(int fd, const char *what, RmsyncFileProblem *problem)
{
	struct stat st;

	problem->hint = NULL;
	if (fstat(fd, &st) != 0)
		problem->detail = psprintf("Could not stat the %s: %m.", what);
	else if (!S_ISREG(st.st_mode))
		problem->detail = psprintf("The %s is not a regular file.", what);
	else if (st.st_uid != geteuid() && st.st_uid != 0)
		problem->detail = psprintf("The %s is owned by another user.", what);
	else if (st.st_mode & (S_IRWXG | S_IRWXO) &&
			 !(st.st_uid == 0 &&
			   (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) == 0))
	{
		/* The exception for root is core's rule for TLS keys. */
		problem->detail = psprintf("The %s has group or world access.", what);
	}
	else if (st.st_size > RMSYNC_MAX_SECRET_FILE)
	{
		problem->detail = psprintf("The %s is too large.", what);
		return false;
	}
	else
		return true;

	problem->hint = "It must be a regular file with permissions u=rw (0600) "
					"or less if owned by the database user, or u=rw,g=r "
					"(0640) or less if owned by root.";
	return false;
}

int
rmsync_read_secret_file(const char *path, const char *what, const char *setting,
						char *buf, RmsyncFileProblem *problem)
{
	/* O_NONBLOCK: a FIFO must not stop the server. */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	int len = 0;

	if (fd < 0)
	{
		problem->detail = psprintf("Could not open the %s: %m.", what);
		problem->hint = psprintf("Check the setting \"%s\".", setting);
		return -1;
	}
	if (!check_file(fd, what, problem))
		len = -1;
	while (len >= 0 && len < RMSYNC_MAX_SECRET_FILE)
	{
		int n = (int) read(fd, buf + len, RMSYNC_MAX_SECRET_FILE - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			problem->detail = psprintf("Could not read the %s: %m.", what);
			problem->hint = NULL;
			len = -1;
		}
		if (n <= 0)
			break;
		len += n;
	}
	CloseTransientFile(fd);
	return len;
}

char *
rmsync_read_secret(const char *path, const char *what, const char *setting,
				   RmsyncFileProblem *problem)
{
	char buf[RMSYNC_MAX_SECRET_FILE];
	int len = rmsync_read_secret_file(path, what, setting, buf, problem);
	int start = 0;
	char *secret = NULL;

	if (len < 0)
		return NULL;
	while (start < len && isspace((unsigned char) buf[start]))
		start++;
	while (len > start && isspace((unsigned char) buf[len - 1]))
		len--;
	if (len > start && memchr(buf + start, '\n', len - start) == NULL &&
		memchr(buf + start, '\0', len - start) == NULL)
		secret = pnstrdup(buf + start, len - start);
	else
	{
		problem->detail = psprintf("There is not one line in the %s.", what);
		problem->hint = NULL;
	}
	explicit_bzero(buf, sizeof(buf));
	return secret;
}
