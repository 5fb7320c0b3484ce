"""The loss of HaDis for one batch."""

import torch

from hadis_lightly.loss import HaDisLoss


def main(n=64, d=256):
    student = torch.randn(n, d, requires_grad=True)
    prediction = torch.randn(n, d, requires_grad=True)
    teacher, labels = torch.randn(n, d), torch.randint(10, (n,))

    terms = HaDisLoss(n_clusters=10)(
        student=student, prediction=prediction, teacher=teacher, labels=labels
    )
    terms.loss.backward()
    return terms


if __name__ == "__main__":
    print(main())
