"""The command line as people meet it: help, exit codes, errors without tracebacks, imports kept light."""

import json
import subprocess
import sys

import pytest

from catransformers.cli import VERBS, main
from catransformers.workloads.zoo import named_spec

ACCELERATOR = "cores=1,pe_x=256,pe_y=8,local_kib=64,local_bandwidth=128,global_mib=2"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_help_names_every_verb(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert len(out.splitlines()) > 4


def test_an_unknown_verb_offers_the_nearest(capsys):
    code, _, err = run(capsys, "serch")
    assert code == 2
    assert "did you mean 'search'?" in err


def test_an_unknown_option_is_bad_input(capsys):
    code, _, err = run(capsys, "estimate", "--modle", "x")
    assert code == 2
    assert "--model" in err


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["estimate", "--hardware", ACCELERATOR, "--model", "ViT-B-16", "--json"]],
)
def test_light_verbs_import_neither_torch_nor_plots(arguments):
    code = (
        "import sys\n"
        "from catransformers.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'botorch', 'ax', 'plotly', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


def test_estimate_of_vit_b_16(capsys):
    code, out, _ = run(capsys, "estimate", "--model", "ViT-B-16", "--hardware", ACCELERATOR, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["params"] == 149_620_737
    assert result["macs"] == pytest.approx(20.54e9, rel=1e-3)
    assert result["latency_s"] >= result["macs"] / (256 * 8 * 500e6)
    assert result["tops"] == pytest.approx(2 * 256 * 8 * 500e6 / 1e12)
    rows = result["breakdown"]
    assert sum(row["latency_s"] for row in rows) == pytest.approx(result["latency_s"], rel=1e-9)
    assert sum(row["energy_j"] for row in rows) == pytest.approx(result["energy_j"], rel=1e-9)
    for row in rows:
        assert sum(row["energy_split_j"].values()) == pytest.approx(row["energy_j"], rel=1e-9)
    footprint = result["footprint"]
    assert footprint["total_kg"] == pytest.approx(
        footprint["embodied_kg"]["total"] + footprint["operational_kg"], rel=1e-12
    )
    assert footprint["total_kg_p5"] < footprint["total_kg"] < footprint["total_kg_p95"]


def test_estimate_is_the_library_function(capsys):
    import catransformers

    _, out, _ = run(
        capsys, "estimate", "--set", "text.layers=3", "--hardware", ACCELERATOR, "--scenario", "always-on", "--json"
    )
    spec = named_spec("embedded").with_dimensions({"text.layers": 3})
    assert json.loads(out) == catransformers.estimate(spec, ACCELERATOR, scenario="always-on").to_dict()


def test_estimate_in_words(capsys):
    code, out, _ = run(capsys, "estimate", "--model", "ViT-B/16", "--hardware", ACCELERATOR, "--scenario", "paper")
    assert code == 0
    for word in ("latency", "energy", "die", "DRAM", "use", "ffn_up", "bound by", "California"):
        assert word in out


def test_every_mistake_of_an_estimate_is_told_at_once(capsys):
    code, out, err = run(
        capsys,
        "estimate",
        "--model",
        "ViTB16",
        "--set",
        "text.layers=many",
        "--hardware",
        "cores=0,pex=3",
        "--technology",
        "default-22",
        "--scenario",
        "alwayson",
    )
    assert code == 2
    assert not out
    for expected in ("'ViT-B-16'", "text.layers=many", "cores", "'pe_x'", "'default-22nm'", "'always-on'"):
        assert expected in err
    assert "Traceback" not in err


def test_a_scenario_file(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "default"\nuse_region = "FR"\nlifetime_years = 4\n')
    code, out, _ = run(capsys, "estimate", "--hardware", ACCELERATOR, "--scenario", str(path), "--json")
    assert code == 0
    assert json.loads(out)["scenario"]["lifetime_years"] == 4
    path.write_text('base = "default"\nuse_regon = "FR"\nlifetime_years = -1\n')
    code, _, err = run(capsys, "estimate", "--hardware", ACCELERATOR, "--scenario", str(path))
    assert code == 2
    assert "use_region" in err
    assert "lifetime_years" in err


def test_doctor_examines_this_environment(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    found = {item["item"]: item for item in json.loads(out)["findings"]}
    assert code == 0
    assert found["torch"]["state"] == "ok"
    assert found["embedded model"]["state"] == "ok"
    assert run(capsys, "doctor")[0] == 0


def test_a_scenario_that_is_no_table(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("scenario = 3\n")
    code, _, err = run(capsys, "estimate", "--hardware", ACCELERATOR, "--scenario", str(path))
    assert code == 2
    assert "3 is not a table" in err


def test_what_the_file_system_refuses_is_a_message(capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "runs/demo/study.toml")

    monkeypatch.setattr("catransformers.designs.estimate.estimate", full)
    code, _, err = run(capsys, "estimate", "--hardware", ACCELERATOR)
    assert code == 1
    assert err == "error: runs/demo/study.toml: No space left on device\n"
