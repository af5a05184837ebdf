"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Task = Annotated[str | None, typer.Option(help="What to learn, where the data would serve for several.")]
Recipe = Annotated[Path | None, typer.Option(help="A TOML file laid over the plan.")]
Truth = Annotated[str | None, typer.Option(help="The folder or file that is the truth.")]
Roi = Annotated[str | None, typer.Option(help="The folder or file of the region that counts.")]
Labels = Annotated[str | None, typer.Option(help="The labels to look for, with commas; the others are background.")]
Split = Annotated[Path | None, typer.Option(help="A file that says who trains and who judges.")]
Val = Annotated[str | None, typer.Option(help="The cases to judge on: names or patterns, with commas.")]
Seed = Annotated[int, typer.Option(help="The seed of all chance.")]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1.")]
Threads = Annotated[int, typer.Option(min=0, help="Processor threads to use; 0: as many as others leave free.")]
AllowLeak = Annotated[bool, typer.Option("--allow-leak", help="Go on in spite of a leak; the report says so.")]
UntilPlateau = Annotated[bool, typer.Option("--until-plateau", help="Learn until it stops helping.")]
