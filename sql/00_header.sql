-- rmsync: install script, concatenated from sql/NN_*.sql by make.
\echo Use "CREATE EXTENSION rmsync CASCADE" to load this file. \quit

-- Functions that people call stay in the extension's own schema (the one
-- CREATE EXTENSION chose); everything else lives in schema rmsync, which must
-- not exist yet: nobody may plant objects in it beforehand.
CREATE SCHEMA rmsync;
COMMENT ON SCHEMA rmsync IS 'rmsync: lanes, queue, ledger, log and source views';
