"The files in .github are valid, and agree with the Makefile and the package"

import re

import pytest
import yaml
from conftest import ROOT, run

GITHUB = ROOT / ".github"
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yaml"))


def check(schema: str, *files) -> None:
    "Compare files with a schema that check-jsonschema brings along, so without a network"
    done = run("check-jsonschema", "--builtin-schema", schema, *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_fit_their_schema():
    check("vendor.github-workflows", *WORKFLOWS)


def test_dependabot_fits_its_schema():
    check("vendor.dependabot", GITHUB / "dependabot.yml")


def test_citation_fits_its_schema():
    check("vendor.citation-file-format", ROOT / "CITATION.cff")


def test_issue_forms_fit_their_schema():
    forms = sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml"))
    check("vendor.github-issue-config", *[path for path in forms if path.stem == "config"])
    check("vendor.github-issue-forms", *[path for path in forms if path.stem != "config"])


def test_a_broken_workflow_would_be_noticed(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        "on: push\njobs:\n  test:\n    steps: [{run: make test}]\n"
    )  # on which machine?
    assert (
        run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", broken).returncode
        == 1
    )


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request) -> dict:
    return yaml.safe_load(request.param.read_text(encoding="utf-8"))


def test_workflows_are_careful(workflow):
    assert workflow["permissions"] == {"contents": "read"}, "no job can write unless it says so"
    for name, job in workflow["jobs"].items():
        assert job.get("timeout-minutes"), f"{name} could hang for six hours"
        assert set(job.get("needs", "").split()) <= set(workflow["jobs"])
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w./-]+@\S+", step["uses"])
            assert "${{ github.event" not in step.get("run", ""), "words of strangers in a command"


def test_workflows_call_targets_that_exist(workflow):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    called = {
        target
        for job in workflow["jobs"].values()
        for step in job["steps"]
        for target in re.findall(r"^make ([a-z]+)", step.get("run", ""), re.M)
    }
    assert called <= targets


def test_tests_run_on_every_python_that_the_package_names():
    jobs = yaml.safe_load((GITHUB / "workflows" / "test.yaml").read_text(encoding="utf-8"))["jobs"]
    named = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "setup.py").read_text())
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
