"""Flags given several times: added up, joined, or refused; the last never wins in silence."""

import argparse

import pytest

from centerkp.cli.commands import COMMANDS, build_parser, main

NEEDED = {"merge": ["a.json", "--out", "x"], "export": ["m", "--format", "onnx"], "eval": ["m", "--coco", "a.json"]}
ADD_UP = (argparse._AppendAction, argparse._HelpAction)


def parse(*words):
    return build_parser().parse_args(words)


def actions_of(command):
    return build_parser()._subparsers._group_actions[0].choices[command]._actions


def test_files_are_a_list_and_lists_with_commas_are_one():
    words = "--coco a --coco b --images A --images B --val c --val d --val-images C --val-images D --flip-pairs l:r"
    more = "--flip-pairs x:y --oks-sigmas l=0.1 --oks-sigmas r=0.2 --loss-weights box_size=1 --loss-weights center_offset=2"
    options = parse("train", *words.split(), *more.split(), "--map-keypoint", "a=b", "--map-keypoint", "c=d")
    assert (options.coco, options.images) == (["a", "b"], ["A", "B"])
    assert (options.val, options.val_images) == (["c", "d"], ["C", "D"])
    assert (options.flip_pairs, options.oks_sigmas) == ("l:r,x:y", "l=0.1,r=0.2")
    assert (options.loss_weights, options.map_keypoint) == ("box_size=1,center_offset=2", "a=b,c=d")
    options = parse("eval", "m", "--coco", "a", "--coco=b", "--images", "A", "--tta", "flip", "--tta", "scale")
    assert (options.coco, options.images, options.tta) == (["a", "b"], ["A"], "flip,scale")
    options = parse("check", "a", "b", "--val", "c", "--val", "d")
    assert (options.coco, options.val) == (["a", "b"], ["c", "d"])


@pytest.mark.parametrize("command", [name.replace("_", "-") for name in COMMANDS])
def test_no_flag_of_any_command_wins_over_itself(command, capsys):
    for action in actions_of(command):
        if not action.option_strings or isinstance(action, argparse._HelpAction):
            continue
        flag, nargs = action.option_strings[-1], action.nargs
        value = [] if nargs in (0, "?") else [str(next(iter(action.choices)) if action.choices else 1)]
        value = ["0.7,1.3"] if flag in ("--scale",) else value
        words = [command, *NEEDED.get(command, [])]
        if isinstance(action, argparse._AppendAction) or type(action).__name__ == "Join":
            continue
        with pytest.raises(SystemExit) as caught:
            build_parser().parse_args([*words, flag, *value, action.option_strings[0], *value])
        error = capsys.readouterr().err
        assert caught.value.code == 2 and ": found twice, expected once" in error and action.option_strings[0] in error


def test_the_error_names_the_flag_and_a_double_dash_ends_flags(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--coco", "a.json", "--epochs", "3", "--epochs=4"])
    assert "--epochs: found twice, expected once" in capsys.readouterr().err
    assert parse("infer", "--score", "0.5", "--", "--score", "--score").sources == ["--score", "--score"]
