"""Scores of the record log in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from statistics import fmean, pvariance

from airboss.domain.ports import ScoreStats
from airboss.domain.record import InferenceRecord
from airboss.domain.score import Score, ScoreSource, ScoreValue, as_number, latest
from airboss.store.evaluated import may_be_of
from airboss.store.opinions import REVIEWS, has_words, reviewed, settle, wordless
from airboss.store.score_rows import check


class Scores:
    """Scores by their id: `kept` ones belong to records, others wait. The caller holds a lock."""

    def __init__(self) -> None:
        self.kept: dict[str, Score] = {}
        self._waiting: dict[str, tuple[datetime, Score]] = {}

    def put(self, scores: Sequence[Score], records: Mapping[str, InferenceRecord]) -> int:
        """As `RecordLog.put_scores`."""
        check(scores)
        new = list({score.id: score for score in scores if score.id not in self.kept}.values())
        settled = settle(new, self.of_records(reviewed(new)))
        for score_id in settled.gone:
            del self.kept[score_id]
        kept = [score for score in settled.kept if score.subject_id in records]
        self.kept.update({score.id: score for score in kept})
        return len(kept)

    def take(self, scores: Sequence[Score], moved_at: datetime) -> None:
        """Let feedback wait for its record."""
        check(scores)
        self._waiting.update({score.id: (moved_at, score) for score in scores if score.id not in self.kept})

    def attach(self, records: Mapping[str, InferenceRecord]) -> None:
        """Give records what waits for them and is of their key."""
        for score_id, (_, score) in list(self._waiting.items()):
            record = records.get(score.subject_id)
            if record is not None and record.key == score.by:
                self.kept[score_id] = score
                del self._waiting[score_id]

    def of_records(self, record_ids: Collection[str]) -> list[Score]:
        """Every score of these records, the oldest first."""
        found = [score for score in self.kept.values() if score.subject_id in set(record_ids)]
        return sorted(found, key=lambda score: (score.at, score.id))

    def shown(self, by: Collection[ScoreSource] = ()) -> dict[str, dict[str, ScoreValue | None]]:
        """What records show of their scores, by record; with `by`, of those by these sources alone."""
        by_record: defaultdict[str, list[Score]] = defaultdict(list)
        for score in self.kept.values():
            if not by or score.source in by:
                by_record[score.subject_id].append(score)
        return {record_id: latest(scores) for record_id, scores in by_record.items()}

    def stray(self, before: datetime, open_calls: Collection[str], limit: int) -> list[Score]:
        """As `RecordLog.stray_scores`."""
        found = [
            score
            for _, (moved_at, score) in sorted(self._waiting.items())
            if moved_at < before and score.subject_id not in open_calls
        ]
        return found[:limit]

    def erase(self, user: str, record_ids: Collection[str]) -> int:
        """Take a person out of the scores of these records and of all that they gave; returns how many."""
        found = 0
        for score_id, score in self.kept.items():
            if _tells_of(score, user, record_ids):
                self.kept[score_id] = wordless(score)
                found += 1
        for score_id, (moved_at, score) in self._waiting.items():
            if _tells_of(score, user, record_ids):
                self._waiting[score_id] = (moved_at, wordless(score))
                found += 1
        return found

    def expire(self, record_id: str) -> None:
        """The record is gone, and with it what was thought of it."""
        self.kept = {key: score for key, score in self.kept.items() if score.subject_id != record_id}

    def drop(self, score_ids: Collection[str]) -> None:
        """As `RecordLog.drop_scores`."""
        for score_id in score_ids:
            self._waiting.pop(score_id, None)


def stats_of_scores(given: Iterable[tuple[Score, InferenceRecord]]) -> list[ScoreStats]:
    """As `RecordLog.score_stats`, of scores with their records."""
    groups: defaultdict[tuple[str, str, str], defaultdict[str, list[Score]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for score, record in given:
        groups[record.deployment, record.release, score.name][record.id].append(score)
    found = []
    for (deployment, release, name), by_record in sorted(groups.items()):
        values = [latest(scores)[name] for scores in by_record.values()]
        numbers = [number for number in map(as_number, values) if number is not None]
        judged = [
            number
            for scores in by_record.values()
            for value in latest(each for each in scores if each.source == "scorer").values()
            if (number := as_number(value)) is not None
        ]
        found.append(
            ScoreStats(
                deployment=deployment,
                release=release,
                name=name,
                n=len(numbers),
                mean=sum(numbers) / len(numbers) if numbers else None,
                labelled=sum(isinstance(value, str) for value in values),
                unscored=sum(value is None for value in values),
                judged=len(judged),
                judge_mean=fmean(judged) if judged else None,
                judge_variance=pvariance(judged) if judged else None,
                reviewed=sum(any(each.source in REVIEWS for each in scores) for scores in by_record.values()),
            )
        )
    return found


def _tells_of(score: Score, user: str, record_ids: Collection[str]) -> bool:
    """Whether there is anything of this person's in it."""
    return (may_be_of(score, record_ids) or score.user == user) and has_words(score)
