"""What a run leaves when it has ended: its files and its summary."""

from __future__ import annotations

from typing import Any

from hadis_lightly.artifacts.assignments import assignments_of, write_assignments
from hadis_lightly.artifacts.named_images import NamedImages
from hadis_lightly.artifacts.results import (
    RunResult,
    describe_labelled,
    split_scores,
    write_embeddings,
    write_results,
)
from hadis_lightly.data import ImageSource
from hadis_lightly.progress import StepProgress
from hadis_lightly.report.run_figures import draw_figures
from hadis_lightly.runs.pixel_scores import pixel_scores
from hadis_lightly.runs.summary import say, scores_line, summary
from hadis_lightly.settings.sections import Settings
from hadis_lightly.training.clustering_callback import ClusteringCallback


def write_files(
    result: RunResult,
    settings: Settings,
    source: ImageSource,
    callback: ClusteringCallback[Any],
    named: NamedImages | None = None,
) -> None:
    """Writes the files of a run; figures last: a failure there loses nothing else."""
    folder = result.output_dir
    table = assignments_of(source, callback)
    write_assignments(folder, table)
    if named is not None:
        named.write(folder, callback, table)
    embeddings, folded = callback.embeddings_.numpy(), source.folded
    if folded is not None:
        embeddings = folded.unfold(embeddings)
    write_embeddings(folder, embeddings)
    write_results(result, settings)
    if settings.clustering.pixel_baseline:
        result.pixel_scores = pixel_scores(source, settings, callback.n_clusters)
    external, _ = split_scores(result.scores)
    title = ", ".join(filter(None, [result.method, scores_line(external)]))
    if note := describe_labelled(result.num_labelled, result.num_images):
        title += f"\n{note}"
    with StepProgress("drawing figures", settings.trainer.progress_bar) as progress:
        result.figures = draw_figures(
            folder, source, callback, title, settings.seed, progress=progress
        )
    write_results(result, settings)
    say(settings, summary(result))
