"""What the settings of a run say of chance in its training samples."""

from centerkp.samples.augment import Augmentation, read_compose
from centerkp.settings.training import TrainSettings


def read_augmentation(settings: TrainSettings) -> Augmentation:
    """How the settings have training samples differ from their images, with the user's own transform out of its file.

    Raises:
        FileNotFoundError, ValueError: as `read_compose`.
    """
    return Augmentation(
        flip=settings.flip,
        scale=settings.scale,
        rotation=settings.rotation,
        translation=settings.translation,
        color=settings.color,
        custom=read_compose(settings.augmentation) if settings.augmentation else None,
    )
