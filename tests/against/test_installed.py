"""lossact against where `pip install -e .` has put the working tree on the import path."""

import json
from pathlib import Path

import pytest

from tests.against.environments import Environment
from tests.against.projects import Project
from tests.processes import Start

SECONDS = 600
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "own-networks"
version = "0.1"

[tool.setuptools]
packages = ["own"]
package-dir = {package_dir}
"""
SOURCES_ON_THE_PATH = '{"" = "src"}'
EACH_PACKAGE_MAPPED = '{"own" = "src/own"}'


def installed(project: Project, environment: Environment, package_dir: str, *options: str, has_init: bool) -> None:
    """Make the project a package and install it as an editable one."""
    (project.folder / "pyproject.toml").write_text(PYPROJECT.replace("{package_dir}", package_dir))
    (project.folder / ".gitignore").write_text(".lossact/\nignored/\nbuild/\n*.egg-info\n")
    if has_init:
        (project.code.parent / "__init__.py").write_text("")
    project.commit()
    environment.install_editable(project.folder, *options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package_dir", "has_init", "brought", "environment_in"),
    [
        (SOURCES_ON_THE_PATH, True, "/src", "project/ignored"),
        (EACH_PACKAGE_MAPPED, True, "_finder.install()", "project/ignored"),
        (EACH_PACKAGE_MAPPED, False, "_finder.install()", "."),
    ],
    ids=["a folder on the path", "a finder of packages", "a finder of namespaces"],
)
def test_the_revisions_files_are_compared_and_not_the_installed_ones(
    tmp_path: Path, start: Start, package_dir: str, has_init: bool, brought: str, environment_in: str
) -> None:
    project = Project(tmp_path / "project", source="src/own", module="own.nets")
    environment = Environment(tmp_path / environment_in / "environment")
    installed(project, environment, package_dir, has_init=has_init)
    (path_file,) = environment.packages.glob("__editable__*.pth")
    assert path_file.read_text().strip().endswith(brought)

    def learning_rates(revision: str) -> tuple[list[str], int]:
        process = environment.against(start, project.folder, revision, "--max-replicas", "16", "--json", "-")
        printed, errors = process.communicate(timeout=SECONDS)
        assert process.returncode in {0, 1, 3}, errors
        document = json.loads(printed)
        own = {condition["name"]: condition for condition in document["conditions"]}["own"]
        assert own["same_key"] == (not own["changes"])
        return own["changes"], document["trained_replicas"]

    project.edit("RATE = 0.3", "RATE = 0.15")
    changes = ["optimizer.learning_rate 0.3 → 0.15"]
    assert learning_rates("HEAD") == (changes, 16 + 16 + 64)
    project.commit()
    assert learning_rates("HEAD") == ([], 0)  # what is installed is the commit now
    assert learning_rates("HEAD~1") == (changes, 0)


@pytest.mark.slow
def test_an_installation_of_links_is_one_error(tmp_path: Path, start: Start) -> None:
    project = Project(tmp_path / "project", source="src/own", module="own.nets")
    environment = Environment(tmp_path / "environment")
    installed(project, environment, SOURCES_ON_THE_PATH, "--config-settings=editable_mode=strict", has_init=True)
    process = environment.against(start, project.folder, "HEAD")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert errors.startswith("lossact against: revision HEAD: ")
    assert errors.endswith("(pip install -e with editable_mode=strict); install it by pip install -e . alone\n")
