"""The likelihood of the order from the left, against one probability after the other."""

import math

import pytest

from diffutron.diffusion.likelihood.left_to_right import left_to_right


@pytest.mark.parametrize("batch_rows", [1, 2, 9])
def test_each_token_is_seen_with_masks_after_it(make_table, batch_rows) -> None:
    table = make_table(5)
    context, ids = [1, 0], [3, 0, 2, 2]
    found = left_to_right(
        table.logits_fn, context, ids, mask_token_id=4, batch_rows=batch_rows, top=2
    )
    for place, token in enumerate(ids):
        row = [*context, *ids[:place], *[4] * (len(ids) - place)]
        probs = table.probs(row, len(context) + place)
        assert float(found.logprobs[place]) == pytest.approx(math.log(probs[token]), abs=1e-9)
        best = probs.topk(2)
        assert found.top_tokens[place].tolist() == best.indices.tolist()
        assert found.top_logprobs[place].tolist() == pytest.approx(best.values.log().tolist())


def test_it_is_a_distribution_over_texts(make_table) -> None:
    table = make_table(4)
    texts = [[a, b] for a in range(3) for b in range(3)]
    total = sum(
        math.exp(
            float(
                left_to_right(
                    table.logits_fn, [1], text, mask_token_id=3, batch_rows=8
                ).logprobs.sum()
            )
        )
        for text in texts
    )
    assert total == pytest.approx(1.0, abs=1e-9)


def test_an_empty_text(make_table) -> None:
    table = make_table(4)
    found = left_to_right(table.logits_fn, [1], [], mask_token_id=3, batch_rows=8, top=3)
    assert (found.logprobs.shape, found.top_tokens.shape) == ((0,), (0, 3))
