-- Last: the launcher learns at commit that this database has the extension.
SELECT rmsync.wake();
