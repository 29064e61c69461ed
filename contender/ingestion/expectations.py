"""Great Expectations on one batch: the contract's checks as a suite, and its counts and samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contender.contracts.sections import BatchRules
from contender.errors import DataError
from contender.ingestion.row_checks import RULES, Check, unreadable_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ExpectationResult:
    """What one expectation found: how many of the measured rows fail it, and up to five of the values.

    `whole_batch` marks the expectations about the batch rather than about single rows.
    """

    expectation: str
    column: str
    holds: bool
    measured: int
    failing: int
    samples: tuple[str, ...]
    whole_batch: bool


@dataclass(frozen=True)
class BatchFacts:
    """What the batch is compared with: rows per file now and (median) before, and when it arrived."""

    rows: int
    files: int
    usual_rows_per_file: float | None
    arrived: datetime


def expect(
    rows: "DataFrame",
    checks: Sequence[Check],
    facts: BatchFacts,
    rules: BatchRules,
    *,
    time: str | None,
    clean: bool,
) -> list[ExpectationResult]:
    """What the suite finds in a conformed frame.

    Args:
        clean: no row has a reason against it. Then a yes or no per expectation will do, in one pass over the rows;
            counts and samples cost a pass for each.

    Raises:
        DataError: nothing was measured; an empty batch passes every expectation, so it is not asked.
    """
    if facts.rows == 0:
        raise DataError("The batch holds no rows, so there is nothing to check; land a file with rows.")
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_or_update_spark("lake", persist=False)
    batch = source.add_dataframe_asset("batch").add_batch_definition_whole_dataframe("rows")
    suite = context.suites.add_or_update(
        gx.ExpectationSuite(
            name="contract",
            expectations=[
                *_batch_expectations(facts, rules, time),
                *row_expectations(checks, clean=clean),
            ],
        )
    )
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name="batch", data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add_or_update(
        gx.Checkpoint(
            name="landed",
            validation_definitions=[definition],
            result_format="BOOLEAN_ONLY" if clean else {"result_format": "SUMMARY", "partial_unexpected_count": 5},
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": rows})
    (validation,) = outcome.run_results.values()
    if clean and not outcome.success:
        return expect(rows, checks, facts, rules, time=time, clean=False)
    broken = [result for result in validation.results if (result.exception_info or {}).get("raised_exception")]
    if broken:
        raise DataError(f"Great Expectations could not measure a column of the batch: {broken[0].exception_info}")
    return [_finding(result, facts.rows) for result in validation.results]


def _batch_expectations(facts: BatchFacts, rules: BatchRules, time: str | None) -> list[Any]:
    from great_expectations import expectations as gxe

    if facts.usual_rows_per_file is None:
        volume = gxe.ExpectTableRowCountToBeBetween(min_value=1)
    else:
        usual = facts.usual_rows_per_file * facts.files
        volume = gxe.ExpectTableRowCountToBeBetween(
            min_value=max(1, round(usual * rules.min_volume)), max_value=max(1, round(usual * rules.max_volume))
        )
    if rules.freshness is None or time is None:
        return [volume]
    # Spark hands the newest time to Python in the machine's own zone, without naming it.
    oldest = (facts.arrived - rules.freshness).astimezone().replace(tzinfo=None)
    return [volume, gxe.ExpectColumnMaxToBeBetween(column=time, min_value=oldest)]


def row_expectations(checks: Sequence[Check], *, clean: bool = False) -> list[Any]:
    """One expectation for each check, by the same rules by which rows get their reasons.

    Args:
        clean: no row has a reason against it; then nothing is unreadable, and all is asked in one pass.
    """
    from great_expectations import expectations as gxe
    from great_expectations.expectations.row_conditions import PassThroughCondition

    unreadable, found = unreadable_of(checks), []
    for check in checks:
        rule, more = RULES[check.kind], dict[str, Any]()
        if rule.limit:
            more[rule.limit] = list(check.limit) if isinstance(check.limit, tuple) else check.limit
        if check.kind == "present" and check.column in unreadable and not clean:
            more["row_condition"] = PassThroughCondition(pass_through_filter=f"`{unreadable[check.column]}` IS NULL")
        found.append(getattr(gxe, rule.expectation)(column=check.measured, **more))
    return found


_OF_THE_BATCH = ("expect_table_row_count_to_be_between", "expect_column_max_to_be_between")


def _finding(result: Any, rows: int) -> ExpectationResult:
    config, found = result.expectation_config, result.result
    column = config.kwargs.get("column", "")
    whole_batch = config.type in _OF_THE_BATCH
    samples = [found.get("observed_value")] if whole_batch else found.get("partial_unexpected_list", [])
    return ExpectationResult(
        expectation=config.type.removeprefix("expect_").replace("_", " "),
        column=column,
        holds=bool(result.success),
        measured=int(found.get("element_count", rows)),
        failing=int(found.get("unexpected_count", 0 if result.success else rows)),
        samples=tuple(str(sample) for sample in samples[:5]),
        whole_batch=whole_batch,
    )
