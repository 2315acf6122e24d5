"""Uploading an export to the Hugging Face Hub. Nothing else in this package ever sends anything."""

import re
from pathlib import Path

import httpx
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from verl_rzero.base.errors import UserError, refusal

MARK = "rzero_export.json"
"""In each directory that an export made: what is in it, and the hash of its card."""

OWN_FILES = {".gitattributes"}
"""What the Hub puts into a new repository."""

OF_AN_EXPORT = ["model*.safetensors", "model*.safetensors.index.json", "*/round_*.parquet"]
"""What an export before may have had more of: shards of the model, rounds. What a user has added stays."""


def checked_name(name: str) -> str:
    """A name on the Hub; raises UserError when it can't be one."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) or name.startswith(("./", "../")):
        raise refusal("to", name, "with push=true this must be a name on the Hub", "Write to=owner/name.")
    return name


def check_login() -> None:
    """Raises UserError when the Hub can't be asked or doesn't know who is asking."""
    if get_token() is None:
        raise UserError("push=true: you are not logged in to the Hub. Run `hf auth login`, or set HF_TOKEN.")
    try:
        HfApi().whoami()
    except OfflineModeIsEnabled as error:
        raise UserError("push=true: HF_HUB_OFFLINE is set. Unset it, or leave push out.") from error
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(f"push=true: the Hub did not accept the login: {error}") from error


def push(folder: Path, repo: str, kind: str, private: bool) -> str:
    """Upload `folder` and return its address. `kind` is "model" or "dataset"; a new repository is made `private`.

    Raises UserError when the repository holds something that wasn't uploaded by this function, or the Hub refuses.
    """
    api = HfApi()
    try:
        if api.repo_exists(repo, repo_type=kind):
            files = {*api.list_repo_files(repo, repo_type=kind)}
            if MARK not in files and files - OWN_FILES:
                why = f"there is a {kind} of this name already, with other things in it"
                raise refusal("to", repo, why, "Write another name.")
        else:
            api.create_repo(repo, repo_type=kind, private=private)
        api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            commit_message="verl_rzero.export",
            delete_patterns=OF_AN_EXPORT,
        )
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise UserError(f"to={repo}: the upload failed: {error}. {folder} is complete; try again.") from error
    return f"pushed   {api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
