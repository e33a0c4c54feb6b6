#!/bin/bash
#
# The part of test/bench/run inside the scratch copy: an optimized build, and
# the measurements.
set -uo pipefail

stage=$RMSYNC_TEST_WORK/stage
cd "$RMSYNC_TEST_WORK/tree" || exit 1
# shellcheck source-path=SCRIPTDIR source=../stage.sh
. test/stage.sh

if ! { stage_build '' && stage_conf; } >"$RMSYNC_TEST_WORK/logs/build.log" 2>&1; then
	tail -n 40 "$RMSYNC_TEST_WORK/logs/build.log"
	echo 'bench: the build failed'
	exit 1
fi
exec python3 test/bench/bench.py --stage "$stage" --scratch "$RMSYNC_TEST_WORK" "$@"
