"""`catransformers carbon …`: figures, syntax of designs, and what is wrong told all at once."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from catransformers.carbon.scenario import SCENARIO_NAMES
from catransformers.cli import main
from catransformers.cli.carbon import carbon

SMALL = "cores=1,pe_x=16,pe_y=8,local_kib=4,local_bandwidth=32,global_mib=1"
OTHER = "cores=1,pe_x=32,pe_y=16,local_kib=4,local_bandwidth=32,global_mib=1"
PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["carbon", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code, out, err


def answer(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def keys_of(value):
    """Every key in nested data."""
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_of(inner)}
    if isinstance(value, list):
        return {key for inner in value for key in keys_of(inner)}
    return set()


def assert_documented(value):
    assert [key for key in keys_of(value) if f"`{key}`" not in PAGE] == []


def test_the_group_lists_its_commands(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in carbon.commands)


@pytest.mark.parametrize("name", list(carbon.commands))
def test_every_command_has_help_with_an_example(capsys, name):
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"catransformers carbon {name}" in out


def test_an_unknown_command_offers_the_nearest(capsys):
    code, _, err = run(capsys, "dye")
    assert code == 2
    assert "did you mean 'die'?" in err


@pytest.mark.parametrize(
    "arguments",
    [["die", "--area-mm2", "10"], ["regions"], ["scenarios"], ["compare", f"embedded@{SMALL}", f"embedded@{OTHER}"]],
    ids=lambda arguments: arguments[0],
)
def test_the_commands_import_neither_torch_nor_plots(arguments):
    code = (
        "import sys\n"
        "from catransformers.cli import main\n"
        f"try: main({['carbon', *arguments, '--json']!r})\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'botorch', 'ax', 'plotly', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


# --- die -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kg"),
    [
        (("--yield", "0.875"), 0.1576816),
        (("--yield", "0.875", "--fab", "642"), 0.1576816),
        (("--yield", "0.875", "--abatement", "97"), 0.1532085),
        (("--yield", "0.875", "--abatement", "99"), 0.1487353),
        (("--yield", "0.875", "--fab", "583"), 0.1504195),
        (("--yield", "negative-binomial"), 0.1390781),
        (("--yield", "0.875", "--node", "3"), 0.3493143),
        (("--yield", "0.875", "--node", "28"), 0.1431771),
    ],
)
def test_ten_square_millimetres(capsys, options, kg):
    found = answer(capsys, "die", "--area-mm2", "10", *options)
    assert found["total_kg"] == pytest.approx(kg, abs=6e-8)
    assert sum(found["split_kg"].values()) == pytest.approx(found["total_kg"], rel=1e-12)
    assert found["g_per_cm2"] == pytest.approx(found["total_kg"] * 1e4)
    assert found["total_kg_p5"] < found["total_kg"] < found["total_kg_p95"]
    assert found["total_kg_p5"] < found["total_kg_p50"] < found["total_kg_p95"]
    assert_documented(found)


def test_a_large_die(capsys):
    found = answer(capsys, "die", "--area-mm2", "400")
    assert found["total_kg"] == pytest.approx(7.480, abs=5e-4)
    assert found["yield"] == {
        "model": "negative-binomial",
        "fraction": pytest.approx((1 + 0.32 / 3) ** -3),
        "defect_density_per_cm2": pytest.approx(0.08),
        "bonding": 1,
    }


def test_several_dies_their_package_and_the_wafer(capsys):
    common = ("die", "--area-mm2", "100", "--node", "7")
    one = answer(capsys, *common, "--wafer-mm", "300")
    assert one["wafer"]["dies_per_wafer"] == pytest.approx(640.2149, rel=1e-6)
    assert one["total_kg"] == pytest.approx(answer(capsys, *common)["total_kg"] * 706.8583 / 640.2149, rel=1e-6)
    four = answer(capsys, *common, "--dies", "4", "--bonding-yield", "0.99", "--package", "per-package")
    die = answer(capsys, *common)["total_kg"]
    assert four["total_kg"] == pytest.approx((4 * die + 0.15) / 0.99**4)
    assert four["split_kg"]["package"] == pytest.approx(0.15)
    assert four["split_kg"]["bonding_loss"] == pytest.approx((4 * die + 0.15) * (1 / 0.99**4 - 1))
    by_area = answer(capsys, *common, "--dies", "4", "--package", "50")
    assert by_area["split_kg"]["package"] == pytest.approx(4 * 0.050)
    assert by_area["package"] == "per-area"


def test_other_yields_and_defects(capsys):
    def total(*options):
        return answer(capsys, "die", "--area-mm2", "200", *options)["total_kg"]

    assert total("--yield", "seeds") < total("--yield", "negative-binomial") < total("--yield", "murphy")
    assert total("--yield", "murphy") < total("--yield", "poisson")
    assert total("--defects", "0.2") > total()
    assert total("--node", "5", "--defects", "0.2") > 0


def test_an_interpolated_node_says_so(capsys):
    assert answer(capsys, "die", "--area-mm2", "10", "--node", "16")["node_interpolated_from"] == [14, 20]
    assert "interpolated between 14 and 20" in run(capsys, "die", "--area-mm2", "10", "--node", "16")[1]


def test_a_die_in_words(capsys):
    code, out, _ = run(capsys, "die", "--area-mm2", "10", "--yield", "0.875", "--wafer-mm", "300")
    assert code == 0
    for word in ("fab energy", "gases", "materials", "yield loss", "total", "Taiwan", "lifecycle", "a wafer of 300 mm"):
        assert word in out


def test_every_mistake_of_a_die_at_once(capsys):
    code, out, err = run(
        capsys, "die", "--area-mm2", "-1", "--node", "2", "--fab", "Tiwan", "--abatement", "96", "--yield", "poison",
        "--defects", "x", "--wafer-mm", "0", "--dies", "1.5", "--bonding-yield", "2", "--package", "big",
    )  # fmt: skip
    assert (code, out) == (2, "")
    wheres = [line.split(": ")[1] for line in err.splitlines()]
    assert wheres == [
        "--area-mm2",
        "--node",
        "--fab",
        "--abatement",
        "--yield",
        "--defects",
        "--wafer-mm",
        "--dies",
        "--bonding-yield",
        "--package",
    ]
    assert "did you mean 'Taiwan'" in err
    assert "did you mean 'poisson'" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--area-mm2: missing"),
        (("--area-mm2", "nan"), "not a finite number"),
        (("--area-mm2", "1e9"), "out of range"),
        (("--area-mm2", "10", "--node", "5"), "none is known at 5 nm"),
        (("--area-mm2", "10", "--package", "-3"), "--package"),
        (("--area-mm2", "70000", "--wafer-mm", "100"), "does not fit a wafer"),
        (("--area-mm2", "10", "--fab", "-5"), "not a grid intensity"),
        (("--area-mm2", "10", "--fab", ""), "unknown region"),
    ],
)
def test_a_die_that_cannot_be(capsys, options, said):
    code, _, err = run(capsys, "die", *options)
    assert code == 2
    assert said in err


# --- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kg"),
    [
        (("--kind", "lpddr4", "--gb", "1"), 0.0548571),
        (("--kind", "lpddr3_20nm", "--gb", "1"), 0.2102857),
        (("--kind", "ddr4_10nm", "--gb", "1", "--yield", "0.9"), 0.0722222),
        (("--class", "ssd", "--kind", "nand_20nm", "--gb", "512"), 512 * 0.015 / 0.875),
        (("--class", "hdd", "--kind", "exosx16", "--gb", "1000"), 1.334),
    ],
)
def test_memory(capsys, options, kg):
    found = answer(capsys, "memory", *options)
    assert found["total_kg"] == pytest.approx(kg, abs=6e-8)
    assert found["total_kg_low"] <= found["total_kg"] <= found["total_kg_high"]
    assert found["source"]
    assert_documented(found)
    assert "CO₂e" in run(capsys, "memory", *options)[1]


def test_every_mistake_of_a_memory_at_once(capsys):
    code, _, err = run(capsys, "memory", "--kind", "lpddr5", "--gb", "-1", "--yield", "0")
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == ["--kind", "--gb", "--yield"]
    assert "did you mean 'lpddr4'" in err
    code, _, err = run(capsys, "memory", "--class", "drum")
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == ["--class", "--kind", "--gb"]


# --- regions and scenarios -----------------------------------------------------------------------------------------


def test_regions(capsys):
    found = answer(capsys, "regions", "--search", "cal")["regions"]
    assert {grid["code"] for grid in found} == {"US-CA", "US-CA-paper", "NCL"}
    california = next(grid for grid in found if grid["code"] == "US-CA" and "lifecycle" in grid["basis"])
    assert california["g_per_kwh"] == 199.57
    assert california["low_g_per_kwh"] < 199.57 < california["high_g_per_kwh"]
    assert california["other_impacts_per_kwh"]["water"]["value"] == 5.189329
    assert california["other_impacts_per_kwh"]["minerals"]["place"] == "USA"
    assert_documented(found)


def test_all_countries_are_listed(capsys):
    found = answer(capsys, "regions")["regions"]
    assert len([grid for grid in found if len(grid["code"]) == 3 and "lifecycle" in grid["basis"]]) >= 212
    fabs = answer(capsys, "regions", "--for", "fab", "--search", "taiwan")["regions"]
    assert fabs[0]["g_per_kwh"] == 642


def test_regions_in_words(capsys):
    _, out, _ = run(capsys, "regions", "--search", "Texas")
    assert "US-TX" in out
    assert "direct" in out
    assert "of the whole country" in out
    code, out, _ = run(capsys, "regions", "--search", "Germny")
    assert code == 0
    assert "did you mean 'Germany'" in out
    code, _, err = run(capsys, "regions", "--for", "fabs")
    assert code == 2
    assert "did you mean 'fab'" in err


def test_scenarios(capsys, tmp_path):
    found = answer(capsys, "scenarios")["scenarios"]
    assert [scenario["name"] for scenario in found] == list(SCENARIO_NAMES)
    assert_documented(found)
    _, out, _ = run(capsys, "scenarios")
    for word in ("lifetime_years", "94,608,000", "negative-binomial", "lpddr3_20nm"):
        assert word in out
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "paper"\nuse_intensity_g_per_kwh_by_year = [224, 200]\nuse_basis = "lifecycle"\n')
    one = answer(capsys, "scenarios", mine)["scenarios"][0]
    assert one["use_intensity_g_per_kwh_by_year"] == [224, 200]
    assert one["use_intensity_g_per_kwh"] == pytest.approx((224 + 200 + 200) / 3)


def test_every_mistake_of_scenarios_at_once(capsys, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('lifetime_year = 3\nuse_region = "US-NY"\n')
    code, _, err = run(capsys, "scenarios", "pper", mine)
    assert code == 2
    for said in ("did you mean 'paper'", "did you mean 'lifetime_years'", "mixes bases"):
        assert said in err


# --- compare -------------------------------------------------------------------------------------------------------


def test_compare(capsys):
    found = answer(
        capsys, "compare", f"embedded@{SMALL}", f"embedded:text.layers=3,vision.layers=4@{SMALL}",
        "--scenario", "always-on", "--samples", "500",
    )  # fmt: skip
    whole, pruned = found["designs"]
    assert pruned["footprint"]["total_kg"] < whole["footprint"]["total_kg"]
    assert found["probability_first_emits_less"] == 0
    assert found["difference_kg_p5"] <= found["difference_kg_p50"] <= found["difference_kg_p95"]
    for design in found["designs"]:
        made = design["footprint"]["embodied_kg"]
        assert sum(design["embodied_split_kg"].values()) == pytest.approx(made["total"])
        assert made["die"] + made["dram"] + made["package"] == pytest.approx(made["total"])
        assert design["life_energy_j"] > design["energy_j"]
        assert design["metrics"]["tcdp"] == pytest.approx(design["footprint"]["total_kg"] * design["latency_s"])
    assert found["scenario"]["name"] == "always-on"
    assert_documented(found)


def test_a_design_is_what_estimate_says(capsys, tmp_path):
    """Text, a file of `estimate --json`, and a report's design.json: the same figures."""
    with pytest.raises(SystemExit):
        main(["estimate", "--model", "embedded", "--set", "text.layers=3", "--hardware", OTHER, "--json"])
    estimate = json.loads(capsys.readouterr().out)
    path, design = tmp_path / "a.json", tmp_path / "design.json"
    path.write_text(json.dumps(estimate))
    design.write_text(json.dumps({"schema": 1, "estimate": estimate}))
    text = f"embedded:text.layers=3@{OTHER}"
    for pair in ((text, path), (path, design)):
        found = answer(capsys, "compare", *pair, "--samples", "100")
        one, other = found["designs"]
        assert found["probability_first_emits_less"] == 0.5
        assert {**one, "design": ""} == {**other, "design": ""}
        assert one["footprint"]["total_kg"] == pytest.approx(estimate["footprint"]["total_kg"], rel=1e-12)
        assert one["life_energy_j"] == pytest.approx(estimate["life_energy_j"], rel=1e-12)


def test_compare_in_words(capsys):
    code, out, _ = run(capsys, "compare", f"embedded@{SMALL}", f"embedded@{OTHER}", "--samples", "200")
    assert code == 0
    for word in ("emits less than", "of 200 draws", "SCI", "tCDP", "C²EP", "water", "overtakes", "California", SMALL):
        assert word in out


def test_same_seed_same_comparison(capsys):
    def found(seed):
        return answer(capsys, "compare", f"embedded@{SMALL}", f"embedded@{OTHER}", "--samples", "200", "--seed", seed)

    assert found(1) == found(1)
    assert found(1)["difference_kg_p5"] != found(2)["difference_kg_p5"]


def test_every_mistake_of_a_comparison_at_once(capsys, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text(f'{{"area_mm2": -1, "energy_j": "x", "latency_s": {10**400}, "weights_on_chip": 1}}')
    code, out, err = run(
        capsys, "compare", "embeded:text.layers=many@cores=0,pex=3", bad, "--scenario", "alwayson",
        "--technology", "default-22", "--samples", "1", "--seed", "x",
    )  # fmt: skip
    assert (code, out) == (2, "")
    for said in (
        "did you mean 'embedded'",
        "text.layers=many",
        "did you mean 'pe_x'",
        "area_mm2: -1",
        "energy_j: 'x'",
        "latency_s: 1000",
        "idle_w: missing",
        "needed_bytes: missing",
        "weights_on_chip",
        "did you mean 'always-on'",
        "did you mean 'default-22nm'",
        "--samples: 1 is out of range",
        "--seed: 'x'",
    ):
        assert said in err, err


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("embedded", "not a design"),
        ("none.json", "cannot be read"),
        (f"embedded:text.layrs=3@{SMALL}", "did you mean 'text.layers'"),
    ],
)
def test_what_is_no_design(capsys, first, said):
    code, _, err = run(capsys, "compare", first, f"embedded@{SMALL}")
    assert code == 2
    assert said in err


@pytest.mark.parametrize("content", ["", "[]", "3", '{"estimate": 3}', "\x00"])
def test_a_file_that_is_no_estimate(capsys, tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    code, _, err = run(capsys, "compare", path, path)
    assert code == 2
    assert str(path) in err


def test_files_must_have_been_made_for_the_scenario(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["estimate", "--hardware", SMALL, "--json"])
    path = tmp_path / "a.json"
    path.write_text(capsys.readouterr().out)
    mine = tmp_path / "mine.toml"
    mine.write_text("node_nm = 7\ntexts_per_image = 2\n")
    code, _, err = run(capsys, "compare", path, path, "--scenario", mine)
    assert code == 2
    assert "scenario.node_nm: estimated with 22" in err
    assert "scenario.texts_per_image: estimated with 1" in err
    code, _, err = run(capsys, "compare", path, f"embedded@{SMALL}", "--scenario", mine)
    assert "is 22 nm" in err


def test_a_design_that_cannot_keep_up_is_told(capsys):
    """A whole ViT-H-14 on a tiny array, once a second."""
    text = f"ViT-H-14@{SMALL}"
    _, out, _ = run(capsys, "compare", text, text, "--samples", "10")
    assert re.search(r"A cannot do that.*1 inferences a second", out)
    assert "Both emit the same." in out
    assert answer(capsys, "compare", text, text, "--samples", "10")["designs"][0]["meets_rate"] is False


# --- sensitivity: what is wrong; what is right is tested with the reports --------------------------------------------


def test_every_mistake_of_a_sensitivity_at_once(capsys, tmp_path):
    code, _, err = run(capsys, "sensitivity", tmp_path, "--scenario", "nope", "--figure", "a.gif")
    assert code == 2
    for said in ("there is no study", "unknown scenario 'nope'", "--figure"):
        assert said in err
    assert list(tmp_path.iterdir()) == []
