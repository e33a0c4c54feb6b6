/*-------------------------------------------------------------------------
 *
 * fingerprint.h
 *	  SHA-256 fingerprints of items: the document's JSON form (S), the host
 *	  application's own forms (F1, F2, F4), and rmsync's content hashes.
 *
 * Pure: palloc and common/cryptohash only.  All strings are UTF-8 and
 * NUL-terminated; results are 64 lower-case hex digits, palloc'd or written
 * into a buffer of RMSYNC_HASH_LEN + 1.
 *
 *-------------------------------------------------------------------------
 */
#ifndef RMSYNC_FINGERPRINT_H
#define RMSYNC_FINGERPRINT_H

#include "item.h"
#include "lib/stringinfo.h"

/* SHA-256 of bytes as hex into out[RMSYNC_HASH_LEN + 1]. */
extern void rmsync_sha256_hex(const void *data, size_t len, char *out);

/* SHA-256 of bytes into out[32]; HMAC-SHA256 likewise. */
extern void rmsync_sha256(const void *data, size_t len, uint8 *out);
extern void rmsync_hmac_sha256(const void *key, size_t key_len,
							   const void *data, size_t len, uint8 *out);

/*
 * Python's str.strip(): returns the start and sets *len, no copy.  The set is
 * the 29 code points of contracts/host.md section 2.
 */
extern const char *rmsync_py_strip(const char *text, size_t *len);

/* Appends text as json.dumps(ensure_ascii=True) would, with the quotes. */
extern void rmsync_py_json_string(StringInfo buf, const char *text, size_t len);

/*
 * rmsync's own hashes, kept in the ledger.  Content: what the reader sees
 * (page: SHA-256 of the stripped text, which for a text without outer white
 * space is the host's F2).  Placement: where it stands.  They differ from the
 * documented fingerprints, which mix both.
 */
extern void rmsync_item_hashes(RmsyncItem *item);

#endif							/* RMSYNC_FINGERPRINT_H */
