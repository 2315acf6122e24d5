"""Which hardware group is taken when none is named."""

import pytest

from verl_rzero.settings import machine


@pytest.mark.parametrize(
    ("gpus", "group"),
    [(0, "cpu"), (1, "1gpu"), (2, "2gpu"), (3, "2gpu"), (4, "4gpu"), (7, "4gpu"), (8, "8gpu"), (16, "8gpu")],
)
@pytest.mark.parametrize("words", [["votes=3"], ["hardware=auto", "votes=3"]])
def test_the_machine_decides_where_nothing_else_does(gpus, group, words):
    overrides, sentence = machine.with_hardware(words, gpus)
    assert overrides == ["votes=3", f"hardware={group}"]
    assert sentence.startswith(f"hardware={group}: this machine has ")


@pytest.mark.parametrize(
    ("gpus", "gib", "words"),
    [
        (1, 24, ["hardware=24gb"]),
        (1, 22, ["hardware=24gb"]),
        (3, 24, ["hardware=24gb", "hardware.gpus_per_node=2"]),
        (1, 40, ["hardware=1gpu"]),
        (8, 80, ["hardware=8gpu"]),
        (0, None, ["hardware=cpu"]),
    ],
)
def test_small_gpus_have_a_group_of_their_own(gpus, gib, words):
    memory = gib and gib * 2**30
    overrides, sentence = machine.with_hardware(["votes=3"], gpus, memory=memory)
    assert overrides == ["votes=3", *words]
    assert sentence.startswith(" ".join(words))
    assert (f" of {gib} GiB" in sentence) == (words[0] == "hardware=24gb")


def test_what_is_said_of_small_gpus_stays():
    said = ["hardware.gpus_per_node=4"]
    assert machine.with_hardware(said, 8, memory=24 * 2**30)[0] == [*said, "hardware=24gb"]
    assert machine.with_hardware(["hardware=1gpu"], 8, memory=24 * 2**30)[0] == ["hardware=1gpu"]


def test_the_number_of_machines_is_the_clusters_unless_it_is_given():
    overrides, sentence = machine.with_hardware(["votes=3"], gpus=8, nodes=4)
    assert overrides == ["votes=3", "hardware=8gpu", "hardware.nodes=4"]
    assert "4 machines with 8 NVIDIA GPUs" in sentence
    assert machine.with_hardware(["hardware.nodes=2"], gpus=8, nodes=4)[0] == ["hardware.nodes=2", "hardware=8gpu"]


def test_the_user_decides_first():
    assert machine.with_hardware(["hardware=cpu"], gpus=8)[0] == ["hardware=cpu"]


@pytest.mark.parametrize(("allowed", "count"), [(None, 3), ("", 0), ("1", 1), ("0,1,2,3", 3)])
def test_gpus_that_are_hidden_do_not_count(tmp_path, monkeypatch, allowed, count):
    smi = tmp_path / "nvidia-smi"
    smi.write_text('#!/bin/sh\necho "GPU 0: a"\necho "GPU 1: a"\necho "GPU 2: a"\n')
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert machine.visible_gpus() == count
