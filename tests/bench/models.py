"""Models for benches: the bundled one, and models of random weights in real shapes, which are made once in the
temporary folder (2.5 GB for llama1b) and stay there."""
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUNDLED = HERE.parents[1] / "deploy/models/demo/model"
FOLDER = pathlib.Path(tempfile.gettempdir()) / "tessera-bench-models"


def made(name: str, folder: pathlib.Path = FOLDER) -> pathlib.Path:
    """The model `name` of make_model.py."""
    path = folder / name
    done = path / "made"  # written last, so that a half-written model is made again
    if not done.exists():
        print(f"making {path}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, HERE / "make_model.py", folder, "--model", name], check=True, stdout=sys.stderr)
        done.touch()
    return path
