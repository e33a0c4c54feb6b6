/*-------------------------------------------------------------------------
 *
 * credentials.h
 *	  Master keys and Fernet tokens, made with pgcrypto's primitives.
 *
 * Keys come from rmsync.master_key_file or the server's environment variable
 * INTEGRATION_MASTER_KEY, never from a table or SQL text.  pgcrypto is called
 * through fmgr, so no key is ever part of a statement.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_CREDENTIALS_H
#define RMSYNC_CREDENTIALS_H

typedef enum RmsyncDerivation
{
	RMSYNC_DERIVE_DOCUMENT,		/* architecture.md 3.1 */
	RMSYNC_DERIVE_RMIRROR		/* the host's code, contracts/host.md 3 */
} RmsyncDerivation;

/*
 * Encrypts "plain" for a user with the first master key and the derivation of
 * rmsync.key_derivation; returns the token, palloc'd.  Needs a transaction.
 * Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE without a key.
 */
extern char *rmsync_encrypt(int64 user_id, const char *plain);

/*
 * Decrypts with any master key and either derivation; palloc'd.  Returns NULL
 * if no key opens it (wrong user, wrong key, tampered).  Needs a transaction.
 * Without any usable master key it raises as rmsync_encrypt does: that says
 * nothing about the token.
 */
extern char *rmsync_decrypt(int64 user_id, const char *token);

/* False and *why (palloc'd) if no usable master key is configured. */
extern bool rmsync_have_master_key(char **why);

#endif							/* RMSYNC_CREDENTIALS_H */
