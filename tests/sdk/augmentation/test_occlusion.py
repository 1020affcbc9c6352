import torch
from pictures import many

from leansight.sdk.augmentation.occlusion import Erase


def test_something_in_front_is_a_rectangle_of_one_colour() -> None:
    image = torch.zeros(3, 50, 50, dtype=torch.uint8)
    shares = []
    for changed in many(Erase(share=0.2), image, 200):
        covered = (changed > 0).any(0)
        rows, columns = covered.any(1), covered.any(0)
        assert covered.sum() == rows.sum() * columns.sum()
        assert len(changed[:, covered].unique(dim=1).T) <= 1
        shares.append(float(covered.float().mean()))
    assert max(shares) <= 0.22
    assert max(shares) > 0.17
    assert min(shares) > 0.01
