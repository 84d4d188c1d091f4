"""What was found or chosen of the model is said before anything is computed, stored, and shown."""

from __future__ import annotations

import json

import keras

SEEN = "head: softmax; preprocessing: none; CAM methods look at conv_b; input: 32 x 32 x 3"


def test_run_says_head_preprocessing_layer_and_accuracy_first(evalkit, workplace):
    options = ("--data", "labels.csv", "--model", "tiny.keras", "--explainers", "center", "--metrics", "sparseness")
    done = evalkit("run", *options, "--output", "out", "--format", "json")
    assert done.code == 0, done.err
    (line,) = (line for line in done.err.splitlines() if line.startswith("tiny.keras: "))
    found = json.loads(done.out)
    right = f"right on {found['model']['n_right']} of 6 images looked at"
    assert line == f"tiny.keras: {SEEN}; {right}"
    assert found["model"]["head"] == "softmax"
    assert found["data"]["class_order"] == "class_index"
    shown = " ".join(evalkit("show", "out", "--all").out.split())
    assert "Head: softmax; preprocessing: none; CAM methods look at conv_b; input: 32 x 32 x 3; class order:" in shown
    again = evalkit("run", *options, "--output", "out")
    assert "images looked at" not in again.err  # nothing is computed


def test_validate_says_the_same(evalkit, workplace):
    done = evalkit("validate", "--data", "labels.csv", "--model", "tiny.keras", "--format", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["model"]["facts"] == SEEN
    table = evalkit("validate", "--data", "labels.csv", "--model", "tiny.keras").out
    for words in ("head", "softmax", "preprocessing", "look at conv_b", "32 x 32 x 3", "class order"):
        assert words in table


def test_single_probabilities_at_their_limit_are_counted(evalkit, workplace):
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    logit = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(400.0), name="logit")(pooled)
    keras.Model(inputs, keras.ops.clip(keras.ops.sigmoid(logit), 0.0, 1.0)).save("sure.keras")
    (workplace / "two.csv").write_text("image,class_index\nphoto0.png,1\nphoto1.png,1\n")
    options = ("--data", "two.csv", "--model", "sure.keras", "--explainers", "center", "--metrics", "deletion")
    done = evalkit("run", *options, "--output", "sure")
    assert done.code == 0, done.err
    assert "head: sigmoid: one probability (seen), no logit, float32 resolution" in done.err
    assert "the probability is 0 or 1 in float32 on 2 images" in " ".join(evalkit("show", "sure", "--all").out.split())


def test_where_there_is_no_logit_the_gradient_is_named(evalkit, workplace):
    inputs = keras.Input((32, 32, 3))
    hidden = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    pooled = keras.layers.GlobalAveragePooling2D()(hidden)
    scores = [keras.layers.Dense(3, activation="softmax")(pooled) for _ in range(2)]
    keras.Model(inputs, keras.layers.Average()(scores)).save("two.keras")
    said = "CAM methods look at conv, by gradients of log p - log(1 - p)"
    options = ("--model", "two.keras", "--data", "labels.csv", "--explainers", "gradcam", "--metrics", "sparseness")
    done = evalkit("run", *options, "--output", "two")
    assert done.code == 0, done.err
    assert f"head: probabilities (seen), no logit; preprocessing: none; {said}" in done.err
    assert said in " ".join(evalkit("show", "two", "--all").out.split())
    explained = evalkit("explain", "photo0.png", "--model", "two.keras", "--explainer", "gradcam", "--output", "ex")
    assert said in explained.err
