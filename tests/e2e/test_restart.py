"""What was accepted and what was made survive the whole stack being stopped."""

from pathlib import Path

import pytest

from infra.stack import Stack
from tests.support.api import Api
from tests.support.feeds import completions


@pytest.mark.timeout(240)
def test_jobs_and_videos_survive_down_and_up(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Stack.start(data, gpus=1) as stack, Api(stack.info) as api:
        done = api.submit()
        api.await_status(done, "completed")
        video = api.video(done)
        running = api.submit(width=160, height=96, num_frames=31, num_inference_steps=60)
        waiting = api.submit()
        api.await_status(running, "processing")
    with Stack.start(data, gpus=1) as stack, Api(stack.info) as api:
        assert api.video(done) == video
        for job_id in (running, waiting):
            api.await_status(job_id, "completed", seconds=120)
        assert {completions(stack.info)[j] for j in (done, running, waiting)} == {1}
