"""Student, predictor and momentum teacher in one module."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hadis_lightly.checks import check_number
from hadis_lightly.models.checks import check_images, check_module
from hadis_lightly.models.evaluation_mode import evaluating
from hadis_lightly.models.momentum_teacher import MomentumTeacher


class HaDisModel(nn.Module):
    """Student and momentum teacher of HaDis [0], from any modules that fit.

    The student is the backbone followed by the projection head. The backbone's output
    is flattened in between, so that ``(n, d, 1, 1)`` will do. The teacher is a moving
    average of the student; only the student has the prediction head.

    Args:
        backbone: From images to features.
        projection_head: From flat features to embeddings ``(n, d)``.
        prediction_head: From embeddings ``(n, d)`` to predictions ``(n, d)``.
        latent_std: Standard deviation of the noise added to projections before the
            prediction, Eq. 2, >= 0. Paper: 0.001.

    Raises:
        TypeError: If a part is not a module, or images are not a floating point tensor.
        ValueError: If ``latent_std`` is negative or not finite.

    Example:
        >>> model = HaDisModel(nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 4))
        >>> images = torch.rand(2, 3, 2, 2)
        >>> z, p = model.forward_student(images)
        >>> t = model.forward_teacher(images)
        >>> z.shape, p.shape, t.shape, t.requires_grad
        (torch.Size([2, 4]), torch.Size([2, 4]), torch.Size([2, 4]), False)

    - [0]: HaDis, 2024, https://arxiv.org/abs/2401.14038
    """

    def __init__(
        self,
        backbone: nn.Module,
        projection_head: nn.Module,
        prediction_head: nn.Module,
        latent_std: float = 0.001,
    ) -> None:
        super().__init__()
        check_module("backbone", backbone)
        check_module("projection_head", projection_head)
        check_module("prediction_head", prediction_head)
        check_number("latent_std", latent_std, 0)
        self.student = nn.Sequential(
            OrderedDict(
                backbone=backbone,
                flatten=nn.Flatten(),
                projection_head=projection_head,
            )
        )
        self.prediction_head = prediction_head
        self.teacher = MomentumTeacher(self.student)
        self.latent_std = latent_std

    @property
    def backbone(self) -> nn.Module:
        """The backbone of the student."""
        return self.student.get_submodule("backbone")

    @property
    def projection_head(self) -> nn.Module:
        """The projection head of the student."""
        return self.student.get_submodule("projection_head")

    def forward(self, x: Tensor) -> Tensor:
        """Returns what is clustered: :meth:`embed`."""
        return self.embed(x)

    def forward_student(self, x: Tensor, diffuse: bool = True) -> tuple[Tensor, Tensor]:
        """Projects a view and predicts the teacher from the diffused projection.

        Args:
            x: One view of each image, ``(n, c, h, w)``.
            diffuse: Whether to add the noise; False during warm-up. In evaluation
                mode none is added.

        Returns:
            The projections z, without noise, and the predictions p, each ``(n, d)``.
        """
        check_images(x)
        z = self.student(x)
        diffused = z
        if diffuse and self.training and self.latent_std > 0:
            diffused = z + self.latent_std * torch.randn_like(z)  # Eq. 2
        return z, self.prediction_head(diffused)

    def forward_teacher(self, x: Tensor) -> Tensor:
        """Returns the teacher's embeddings ``(n, d)`` of a view, without a gradient."""
        check_images(x)
        t: Tensor = self.teacher(x)
        return t

    def update_teacher(self, momentum: float = 0.996) -> None:
        """Moves the teacher towards the student, see :class:`MomentumTeacher`."""
        self.teacher.update(self.student, momentum=momentum)

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Embeds plain images (under the test transform) for clustering.

        Returns:
            Embeddings by the teacher in evaluation mode, L2-normalised, ``(n, d)``.
        """
        check_images(x)
        with evaluating(self.teacher):
            return F.normalize(self.teacher(x).float(), dim=1)
