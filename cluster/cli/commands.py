"""Puts the commands together; each group lives in a module of its own and imports what it needs when it runs."""

from __future__ import annotations

import typer

from cluster.cli import (
    alert_commands,
    channel_commands,
    content_command,
    data_commands,
    demo_command,
    doctor_command,
    forecast_commands,
    job_commands,
    key_commands,
    lifecycle,
    model_commands,
    outlook_commands,
    report_commands,
    rollout_commands,
    study_commands,
    version_commands,
)

app = typer.Typer(
    name="analyticbot",
    help="Analytics for channels, with models that keep themselves right, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(lifecycle.up)
app.command()(lifecycle.down)
app.command()(lifecycle.status)
app.command()(lifecycle.plan)
app.command()(doctor_command.doctor)
app.command("import")(data_commands.import_data)
app.command()(data_commands.simulate)
app.command()(data_commands.channels)
app.command()(channel_commands.analyze)
app.command()(study_commands.posts)
app.command()(study_commands.mix)
app.command()(study_commands.ads)
app.command()(study_commands.quality)
app.command()(study_commands.trend)
app.command()(study_commands.percentiles)
app.command()(study_commands.compare)
app.command()(study_commands.competitors)
app.command()(study_commands.report)
app.command()(channel_commands.anomalies)
app.command()(forecast_commands.forecast)
app.command()(outlook_commands.best_times)
app.command()(outlook_commands.seasonality)
app.command()(outlook_commands.context)
app.command()(outlook_commands.scenario)
app.command()(outlook_commands.cross_channel)
app.command()(outlook_commands.influence)
app.command()(outlook_commands.mention_lift)
app.command()(channel_commands.predict)
app.command()(content_command.content)
app.command()(alert_commands.live)
app.command()(model_commands.train)
app.command()(model_commands.tune)
app.command()(model_commands.tasks)
app.command()(model_commands.workflows)
app.command()(model_commands.loop)
app.command()(model_commands.drift)
app.command()(demo_command.demo)
app.add_typer(alert_commands.alerts, name="alerts")
app.add_typer(report_commands.reports, name="reports")
app.add_typer(data_commands.db, name="db")
app.add_typer(version_commands.models, name="models")
app.add_typer(rollout_commands.rollout, name="rollout")
app.add_typer(job_commands.jobs, name="jobs")
app.add_typer(key_commands.keys, name="keys")
app.add_typer(study_commands.watch_lists, name="watch-lists")
