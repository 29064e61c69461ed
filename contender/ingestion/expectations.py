"""Great Expectations on one batch: the contract's checks as a suite, and its counts and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contender import column_names
from contender.contracts.sections import BatchRules
from contender.errors import DataError
from contender.ingestion.row_checks import RULES, Check, unreadable_of
from contender.values import ROW

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

_SMALL_CELLS = 5_000_000
"""So many are looked at in this process, in less than a gibibyte: Spark plans longer for a column than pandas looks."""


@dataclass(frozen=True)
class ExpectationResult:
    """What one expectation found: how many of the measured rows fail it, and up to five of the values.

    `whole_batch` marks the expectations about the batch rather than about single rows; what they allow is from and to
    `limits`.
    """

    expectation: str
    column: str
    holds: bool
    measured: int
    failing: int
    samples: tuple[str, ...]
    whole_batch: bool
    limits: tuple[object, object] = (None, None)


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
    """What the suite finds in a conformed frame: in this process where it is small, else on Spark.

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

    measured = Measured.of(checks, time)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    frame: Any = measured.on_spark(rows)
    small = facts.rows * max(1, len(measured.names)) <= _SMALL_CELLS
    if small:
        frame = measured.in_process(frame)
        source: Any = context.data_sources.add_or_update_pandas("lake")
    else:
        source = context.data_sources.add_or_update_spark("lake", persist=False)
    batch = source.add_dataframe_asset("batch").add_batch_definition_whole_dataframe("rows")
    suite = context.suites.add_or_update(
        gx.ExpectationSuite(
            name="contract",
            expectations=[
                *_batch_expectations(facts, rules, measured.names.get(time or ""), with_zone=small),
                *row_expectations(checks, measured, clean=clean),
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
    outcome = checkpoint.run(batch_parameters={"dataframe": frame})
    (validation,) = outcome.run_results.values()
    if clean and not outcome.success:
        return expect(rows, checks, facts, rules, time=time, clean=False)
    broken = [result for result in validation.results if (result.exception_info or {}).get("raised_exception")]
    if broken:
        raise DataError(f"Great Expectations could not measure a column of the batch: {broken[0].exception_info}")
    return [_finding(result, facts.rows, measured) for result in validation.results]


@dataclass(frozen=True)
class Measured:
    """The columns that checks look at, each with a name that any engine can have in an expression."""

    names: Mapping[str, str]

    @classmethod
    def of(cls, checks: Sequence[Check], time: str | None) -> "Measured":
        every = dict.fromkeys([*(check.measured for check in checks), *([time] if time else [])])
        return cls({name: f"c{place}" for place, name in enumerate(every)})

    def name_of(self, safe: str) -> str:
        """The column's own name."""
        return next((name for name, given in self.names.items() if given == safe), safe)

    def on_spark(self, rows: "DataFrame") -> "DataFrame":
        """The measured columns of a conformed frame, and the rows' numbers."""
        from pyspark.sql import functions as F

        found = [F.col(f"`{name}`").alias(safe) for name, safe in self.names.items()]
        return rows.select(F.col(ROW), *found)

    def in_process(self, frame: "DataFrame") -> "pd.DataFrame":
        """The same on the driver: whole numbers stay exact, and times are UTC."""
        import pandas as pd
        import pyarrow as pa

        exact = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        found: pd.DataFrame = frame.toArrow().to_pandas(types_mapper=exact.get)
        return found


def _batch_expectations(facts: BatchFacts, rules: BatchRules, time: str | None, *, with_zone: bool) -> list[Any]:
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
    oldest = facts.arrived - rules.freshness
    if not with_zone:
        # Spark hands the newest time to Python in the machine's own zone, without naming it.
        oldest = oldest.astimezone().replace(tzinfo=None)
    return [volume, gxe.ExpectColumnMaxToBeBetween(column=time, min_value=oldest)]


def row_expectations(checks: Sequence[Check], measured: Measured, *, clean: bool = False) -> list[Any]:
    """One expectation for each check, by the same rules by which rows get their reasons.

    Args:
        clean: no row has a reason against it; then nothing is unreadable, and all is asked in one pass.
    """
    from great_expectations import expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    unreadable, found = unreadable_of(checks), []
    for check in checks:
        rule, more = RULES[check.kind], dict[str, Any]()
        if rule.limit:
            more[rule.limit] = list(check.limit) if isinstance(check.limit, tuple) else check.limit
        if check.kind == "present" and check.column in unreadable and not clean:
            more["row_condition"] = Column(measured.names[unreadable[check.column]]).is_null()
        found.append(getattr(gxe, rule.expectation)(column=measured.names[check.measured], **more))
    return found


_OF_THE_BATCH = ("expect_table_row_count_to_be_between", "expect_column_max_to_be_between")


def _finding(result: Any, rows: int, measured: Measured) -> ExpectationResult:
    config, found = result.expectation_config, result.result
    column = column_names.exact(measured.name_of(config.kwargs.get("column", "")))
    whole_batch = config.type in _OF_THE_BATCH
    samples = found.get("partial_unexpected_list", [])
    if whole_batch and found.get("observed_value") is not None:
        samples = [found["observed_value"]]
    return ExpectationResult(
        expectation=config.type.removeprefix("expect_").replace("_", " "),
        column=column,
        holds=bool(result.success),
        measured=int(found.get("element_count", rows)),
        failing=int(found.get("unexpected_count", 0 if result.success else rows)),
        samples=tuple(str(sample) for sample in samples[:5]),
        whole_batch=whole_batch,
        limits=(config.kwargs.get("min_value"), config.kwargs.get("max_value")) if whole_batch else (None, None),
    )
