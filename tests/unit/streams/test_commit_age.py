from streams.faust_driver import CommitAge


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_age_runs_from_the_oldest_acknowledgement_that_is_not_committed() -> None:
    clock = Clock()
    age = CommitAge(clock)
    assert age.seconds() == 0
    age.acknowledged()
    clock.now = 103
    age.acknowledged()
    assert age.seconds() == 3


def test_a_commit_of_everything_resets_the_age() -> None:
    clock = Clock()
    age = CommitAge(clock)
    age.acknowledged()
    clock.now = 105
    age.committed(started=104, pending=False)
    assert age.seconds() == 0


def test_what_was_acknowledged_during_a_commit_counts_from_its_start() -> None:
    clock = Clock()
    age = CommitAge(clock)
    age.acknowledged()
    clock.now = 110
    age.committed(started=108, pending=True)
    assert age.seconds() == 2


def test_commits_that_never_end_let_the_age_grow() -> None:
    clock = Clock()
    age = CommitAge(clock)
    age.acknowledged()
    for second in range(1, 60):
        clock.now = 100 + second
        assert age.seconds() == second
