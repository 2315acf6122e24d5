"""What a stage's work reads: the run's settings, the models and files of the stages before it."""

from pathlib import Path
from random import Random

from verl_rzero import settings
from verl_rzero.data import records, run_dir
from verl_rzero.data.anchors import Anchor
from verl_rzero.data.anchors import load as load_anchors
from verl_rzero.data.outputs import model_of
from verl_rzero.engine.engines import Engines
from verl_rzero.methods.policies import policies
from verl_rzero.settings import Settings


class StageInputs:
    """What a stage needs to know: the run's settings, where it stands, where its inputs are, and the engines that
    stages before it have left running in this process.
    """

    def __init__(self, run: Path, stage_id: str, engines: Engines | None = None) -> None:
        self.run, self.id = run, stage_id
        self.engines = engines or Engines()
        self.dir = run / stage_id
        self.settings: Settings = settings.read(run / run_dir.SETTINGS)
        where, self.kind = stage_id.split("/")
        self.round = 0 if where == "base" else int(where.removeprefix("round_"))

    def input(self, kind: str) -> Path:
        """Directory of another stage of this round."""
        return self.run / f"round_{self.round}" / kind

    def earlier(self, kind: str) -> list[Path]:
        """Directories of the same kind of stage in the rounds before."""
        return [self.run / f"round_{t}" / kind for t in range(1, self.round)]

    def model(self, role: str) -> Path | str:
        """The model of a role as it is when this stage begins (`policies.Policy.at`)."""
        return model_of(self.run / policies(self.settings)[role].at(self.round, self.kind))

    @property
    def anchors(self) -> list[Anchor]:
        """The run's human examples; mostly none."""
        path = self.settings.anchors.path
        return load_anchors(Path(path).expanduser()) if path is not None else []


def remembered(stage: StageInputs) -> list[str]:
    """Well-formed questions of the rounds before, drawn evenly, at most `repetition_memory` of them."""
    asked = [records.read(path / "questions.parquet", records.Question) for path in stage.earlier("questions")]
    texts = [[str(item.question) for item in part if item.well_formed] for part in asked]
    most, rng = stage.settings.challenger.repetition_memory, Random(f"memory {stage.settings.seed} {stage.round}")
    share = [rng.sample(part, min(len(part), most // len(texts))) for part in texts]
    return [text for part in share for text in part]
